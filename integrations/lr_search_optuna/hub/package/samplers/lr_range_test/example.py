"""Searches a learning rate whose range test was recorded before, beside the width of a layer."""

from __future__ import annotations

import math

import numpy as np
import optuna
import optunahub


module = optunahub.load_module(package="samplers/lr_range_test")

# A range test: the loss of a short training whose learning rate rises at every step. Here a formula takes its place.
lr = np.logspace(-5, 1, 100)
loss = 2.3 - 1.8 / (1 + (0.02 / lr) ** 2) + (lr / 1.5) ** 3
prior = module.LRPrior.from_curves([module.LRCurve.from_arrays(lr, loss)])


def objective(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-5, 10.0, log=True)
    width = trial.suggest_int("width", 8, 128, log=True)
    return math.log10(lr / 0.03) ** 2 + 0.1 * math.log2(width / 64) ** 2


sampler = module.RangeTestSampler(prior, inner=optuna.samplers.TPESampler)
study = optuna.create_study(sampler=sampler)
study.optimize(objective, n_trials=20)
print(study.best_params)
