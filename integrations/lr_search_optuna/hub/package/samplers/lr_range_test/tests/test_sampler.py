"""Optuna's own tests of samplers; run with `pytest package/samplers/lr_range_test` from the root of the registry."""

from __future__ import annotations

from collections.abc import Callable
import math
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase
from optuna.testing.pytest_samplers import MultiObjectiveSamplerTestCase
import optunahub
import pytest


REGISTRY = Path(__file__).parents[3]
module = optunahub.load_local_module(package="samplers/lr_range_test", registry_root=str(REGISTRY))


class TestRangeTestSampler(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: module.RangeTestSampler(module.LRPrior.around(1e-3))


class TestWithAnInnerSampler(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        prior = module.LRPrior.around(1e-3)
        return lambda: module.RangeTestSampler(prior, inner=optuna.samplers.TPESampler)


def objective(trial: optuna.Trial) -> float:
    return math.log10(trial.suggest_float("lr", 1e-5, 10.0, log=True) / 0.02) ** 2


def test_the_first_trial_is_at_the_mode() -> None:
    study = optuna.create_study(sampler=module.RangeTestSampler(module.LRPrior.around(0.01)))
    study.optimize(objective, n_trials=1)
    assert study.best_params == {"lr": 0.01}


def test_the_best_is_found_in_few_trials_though_the_prior_is_a_decade_off() -> None:
    study = optuna.create_study(sampler=module.RangeTestSampler(module.LRPrior.around(0.2)))
    study.optimize(objective, n_trials=10)
    assert abs(math.log10(study.best_params["lr"] / 0.02)) < 0.2


def test_the_same_seed_tries_the_same() -> None:
    tried = []
    for _ in range(2):
        study = optuna.create_study(sampler=module.RangeTestSampler(module.LRPrior.around(0.01)))
        study.optimize(objective, n_trials=6)
        tried.append([trial.params["lr"] for trial in study.trials])
    assert tried[0] == tried[1]
