"""For people who have an Optuna objective of their own: the learning rate and its schedule beside other hyperparameters.

>>> import optuna
>>> from lr_search import LRPrior
>>> study = optuna.create_study()
>>> trial = study.ask()
>>> suggest_lr(trial, LRPrior.around(1e-3)), trial.suggest_int("width", 16, 16)
(0.001, 16)
"""

from lr_search_optuna.dashboard.publish import publish
from lr_search_optuna.objective import objective
from lr_search_optuna.report_evaluations import report_evaluations
from lr_search_optuna.seed_study import STEPS_ATTRIBUTE, seed_study
from lr_search_optuna.suggest_lr import suggest_lr
from lr_search_optuna.suggest_schedule import suggest_schedule

__all__ = [
    "STEPS_ATTRIBUTE",
    "objective",
    "publish",
    "report_evaluations",
    "seed_study",
    "suggest_lr",
    "suggest_schedule",
]
