"""RayExecutor(fused_width=): workers that train several trials together, on a real Ray."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import InvalidInputError
from lr_search_ray import RayExecutor
from tests.helpers.workloads import line, squared_error

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]
TIMES = ["seconds", "started", "ended", "worker", "device"]
SGD = {"SGD": torch.optim.SGD, "momentum": partial(torch.optim.SGD, momentum=0.9)}


def compare(workload: lrs.Workload, executor: Any, **settings: Any) -> lrs.Comparison:
    common = {"strategies": ["grid"], "schedules": ["constant"], "seeds": 1, "budget": 6, "lr_range": (1e-3, 3.0)}
    return lrs.compare(workload, executor=executor, progress=False, storage=None, **{**common, **settings})


def require_same(workload: lrs.Workload, width: int = 4, **settings: Any) -> lrs.Comparison:
    local = compare(workload, lrs.LocalExecutor(), **settings)
    found = compare(workload, RayExecutor(fused_width=width, max_concurrent_trials=1), **settings)
    frames = [each.trials.drop(columns=TIMES) for each in (found, local)]
    pd.testing.assert_frame_equal(*frames, rtol=1e-3, atol=1e-5)
    return found


def test_a_whole_comparison_is_the_same_to_rounding() -> None:
    settings = {"strategies": ["grid", "tpe"], "schedules": ["constant", "sgdr", "one_cycle"], "optimizers": SGD}
    found = require_same(line(num_steps=40, combine="mean"), confirm=1, **settings)
    assert found.trials["worker"].str.endswith("/3").any()  # it was done together
    assert {"finished", "diverged"} <= set(found.trials["outcome"])


def test_what_is_pruned_is_stopped_on_the_worker(tmp_path: Path) -> None:
    noted = tmp_path / "steps"

    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        if model.training:
            with noted.open("a") as file:
                file.write(".")
        return squared_error(model, batch)

    pruner = optuna.pruners.ThresholdPruner(upper=1e-9)  # everything, at its first report
    found = compare(
        line(loss=loss, num_steps=200, eval_every=10),
        RayExecutor(fused_width=6, max_concurrent_trials=1),
        pruner=pruner,
    )
    assert set(found.trials["outcome"]) == {"pruned"}
    assert set(found.trials["steps"]) == {10}
    waves = -(-len(found.trials) // 6)
    assert len(noted.read_text()) < waves * 100  # calls of the loss, one a step of a wave; and not 200 or more for each


def test_a_model_that_cannot_be_fused_is_told_and_trained_apart() -> None:
    class Branching(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            return y if y.sum() > 0 else y * 1.0

    with pytest.warns(UserWarning, match="fused_width needs a model and a loss that torch.func.vmap can batch"):
        found = require_same(line(model=partial(Branching, 1, 1)))
    assert not found.trials["worker"].str.contains("/").any()


def test_a_lost_worker_costs_no_trial(tmp_path: Path) -> None:
    died, driver = tmp_path / "died", os.getpid()

    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        loss.calls += os.getpid() != driver  # type: ignore[attr-defined]
        if loss.calls > 20 and not died.exists():  # type: ignore[attr-defined]
            died.touch()
            os._exit(1)
        return squared_error(model, batch)

    loss.calls = 0  # type: ignore[attr-defined]
    found = compare(line(loss=loss), RayExecutor(fused_width=3, max_concurrent_trials=1))
    assert died.exists()
    expected = compare(line(), lrs.LocalExecutor())
    pd.testing.assert_series_equal(found.trials["objective"], expected.trials["objective"], rtol=1e-3)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "auto"])
def test_the_width_must_be_a_whole_number(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"fused_width must be a whole number(, at least 1)?, but got"):
        RayExecutor(fused_width=wrong)
