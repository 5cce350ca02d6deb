"""An Optuna objective of your own: a width and a weight decay beside the learning rate, for optuna-dashboard to show.

Run it as `python examples/optuna_study.py [TRIALS]`, then `optuna-dashboard sqlite:///optuna_study.db`.
"""

import sys
from functools import partial

import optuna
import torch
from torch import nn

import lr_search as lrs
from lr_search.demo import digits
from lr_search_optuna import publish, report_evaluations, seed_study, suggest_lr

torch.set_num_threads(1)  # so small a network gains nothing from more
train, valid = digits()


def workload(width=32, weight_decay=1e-4):
    def model():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    sgd = partial(torch.optim.SGD, momentum=0.9, weight_decay=weight_decay)
    return lrs.classification(model=model, optimizer=sgd, train=train, valid=valid, batch_size=32, num_steps=300)


def objective(trial):
    width = trial.suggest_int("width", 8, 128, log=True)
    work = workload(width, weight_decay=trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True))
    schedule = lrs.schedules.by_name("cosine", suggest_lr(trial), work.num_steps)
    return report_evaluations(trial, lrs.train(work, schedule))


study = optuna.create_study(storage="sqlite:///optuna_study.db", study_name="digits", load_if_exists=True)
seed_study(study, workload(), schedule="cosine")
study.optimize(objective, n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 20)
publish(study)
print(study.best_params)
