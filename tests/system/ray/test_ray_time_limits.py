"""Trials on workers that never end: each is failed where it runs, or all are put back when the time is over."""

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
import pytest
import torch

import lr_search as lrs
from lr_search.testing.small_comparisons import compared, states
from lr_search_ray import RayExecutor
from tests.helpers.workloads import data, line

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


NOW = {"lr": 0.0}  # at which this process trains


@dataclass(frozen=True)
class Endless:
    """A pass over them ends, but on a worker in a training above that LR."""

    above: float
    driver: int

    def __iter__(self) -> Iterator[torch.Tensor]:
        endless = NOW["lr"] > self.above and os.getpid() != self.driver
        return itertools.cycle(list(data())) if endless else iter(list(data()))


def look(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    NOW["lr"] = optimizer.param_groups[0]["lr"]


def sgd(params: Any, lr: float) -> torch.optim.SGD:
    """SGD that says at which LR it trains."""
    NOW["lr"] = 0.0  # the first evaluation comes before a step
    optimizer = torch.optim.SGD(params, lr=lr)
    optimizer.register_step_pre_hook(look)
    return optimizer


def hanging(above: float) -> lrs.Workload:
    """A workload whose validation is endless above that LR."""
    return line(valid_data=partial(Endless, above, os.getpid()), optimizer=sgd)


def test_endless_validation_data_fail_their_trial_and_none_that_was_trained_with_it() -> None:
    executor = RayExecutor(trial_seconds=4, max_concurrent_trials=1, fused_width=2)
    three = {"a": 0.01, "high": 0.3, "c": 0.02}
    begun = time.monotonic()
    found = compared(hanging(0.1), executor, strategies=three, budget=1)
    assert time.monotonic() - begun < 60
    trials = found.trials.set_index("strategy")
    assert trials["state"].to_dict() == {"a": "COMPLETE", "high": "FAIL", "c": "COMPLETE"}
    assert trials["steps"]["high"] == 10
    assert trials["reason"]["high"].startswith("TrialTimeoutError: longer than trial_seconds=4 (")


def test_a_worker_that_hangs_is_ended_with_the_time_budget(caplog: pytest.LogCaptureFixture) -> None:
    storage = optuna.storages.InMemoryStorage()
    begun = time.monotonic()
    compared(hanging(1e-4), RayExecutor(time_budget_seconds=6, max_concurrent_trials=1), storage=storage)
    assert time.monotonic() - begun < 60
    assert "The time budget of 6 s is over; 1 trial was put back. The same call goes on with it." in caplog.messages
    assert set(states(storage)) == {"WAITING"}
