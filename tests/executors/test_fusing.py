"""FusedExecutor where trials cannot be fused, or not to the end: none is lost, and the answers stay the same."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import TrialsFailedError
from lr_search.fused import trials as fused_training
from lr_search.fused.losses import FusedLoss
from tests.helpers.comparing import (
    LAST,
    STEPS,
    TAME,
    Breaking,
    CutAbove,
    compared,
    require_same,
    widths,
)
from tests.helpers.workloads import line, shuffled, squared_error

__all__ = ["widths"]
TOLERANCE = 1e-3
SETTINGS: dict[str, Any] = {"strategies": {"low": 0.01, "high": 0.1}, "seeds": 2, **TAME}
LBFGS = partial(torch.optim.LBFGS, max_iter=2)


# what cannot be fused


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.out = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.out(self.cells(inputs.unsqueeze(1))[0][:, -1])
        return found


class Counting(nn.Module):
    """Its answers depend on how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls = nn.Linear(1, 1), 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        found: torch.Tensor = self.linear(inputs) * (1 + 1 / self.calls)
        return found


def branching(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    error = squared_error(model, batch)
    return error if error > 1 else 2 * error


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": Recurrent}, "cells"),
        ({"loss": branching}, "data-dependent control flow"),
        ({"optimizer": LBFGS}, "an optimizer that needs no closure, but got LBFGS"),
        ({"model": Counting}, r"a model that keeps its state in buffers, but got model\.calls, which a step changes"),
    ],
    ids=["recurrent", "branching", "closure", "impure"],
)
@pytest.mark.parametrize("width", [4, "auto"])
def test_what_cannot_be_fused_is_told_once_and_is_the_same_to_the_bit(
    changes: dict[str, Any], reason: str, width: Any, widths: list[int]
) -> None:
    with pytest.warns(UserWarning, match=reason) as told:
        ours = compared(line(**changes), lrs.FusedExecutor(width=width), **SETTINGS)
    assert len(told) == 1
    assert "FusedExecutor needs" in str(told[0].message)
    assert "run one by one; the answers are the same" in str(told[0].message)
    require_same(ours, compared(line(**changes), lrs.LocalExecutor(), **SETTINGS))
    assert widths == []


def test_optimizers_that_cannot_are_told_once_and_leave_the_others_fused(widths: list[int]) -> None:
    optimizers = {"LBFGS": LBFGS, "SGD": torch.optim.SGD, "longer": partial(torch.optim.LBFGS, max_iter=3)}
    with pytest.warns(UserWarning, match="LBFGS") as told:
        ours = compared(line(), lrs.FusedExecutor(width=3), optimizers=optimizers, **TAME)
    assert len(told) == 1
    require_same(ours, compared(line(), lrs.LocalExecutor(), optimizers=optimizers, **TAME), TOLERANCE)
    assert widths == [3]


# exceptions


def test_a_loss_that_cannot_be_fused_on_a_later_batch_gives_the_same(widths: list[int]) -> None:
    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        error = squared_error(model, batch)
        return branching(model, batch) if batch is LAST else error

    workload = line(loss=loss, train_data=lambda: [*shuffled(), *shuffled(), LAST])
    with pytest.warns(UserWarning, match="taken together to their end, but got RuntimeError") as told:
        ours = compared(workload, lrs.FusedExecutor(width=4), budget=6, **TAME)
    require_same(ours, compared(workload, lrs.LocalExecutor(), budget=6, **TAME))
    assert (len(told), widths) == (1, [4])  # and not tried again
    assert (ours.trials["steps"] == STEPS).all()


def test_an_exception_in_the_middle_gives_the_same(monkeypatch: pytest.MonkeyPatch, widths: list[int]) -> None:
    class Broken(FusedLoss):
        calls = 0

        def backward(self, batches: Any) -> torch.Tensor:
            self.calls += 1
            if self.calls == 20:
                raise RuntimeError("vmap: it cannot do that")
            return super().backward(batches)

    monkeypatch.setattr(fused_training, "FusedLoss", Broken)
    settings: dict[str, Any] = {"budget": 6, "pruner": CutAbove(0.1), **TAME}
    with pytest.warns(UserWarning, match="to their end, but got RuntimeError: vmap: it cannot do that"):
        ours = compared(line(), lrs.FusedExecutor(width=4), **settings)
    require_same(ours, compared(line(), lrs.LocalExecutor(), **settings), TOLERANCE)
    assert widths == [4]
    assert set(ours.trials["state"]) == {"COMPLETE", "PRUNED"}


def test_of_trials_that_fail_the_others_finish(widths: list[int]) -> None:
    settings: dict[str, Any] = {"strategies": {"low": 0.01, "bad": 0.9, "high": 0.1}, "optimizers": {}}
    settings["optimizers"] = {"breaking": Breaking(0.5, RuntimeError), "SGD": torch.optim.SGD}
    ours = compared(line(), lrs.FusedExecutor(width=6), **settings)
    require_same(ours, compared(line(), lrs.LocalExecutor(), **settings), TOLERANCE)
    assert widths == [6]
    assert ours.trials["state"].to_list().count("FAIL") == 1


@pytest.mark.parametrize("width", [4, "auto"])
def test_a_training_that_always_fails_stops_the_comparison(width: Any) -> None:
    above = TAME | {"budget": 6, "lr_range": (1e-2, 0.5)}
    with pytest.raises(TrialsFailedError, match="3 trials in a row failed, the last with RuntimeError: the disk"):
        compared(line(optimizer=Breaking(5e-3, RuntimeError)), lrs.FusedExecutor(width=width), **above)


def test_metrics_that_raise_for_one_model_are_that_ones_failure(widths: list[int]) -> None:
    def metrics(model: nn.Module, batch: torch.Tensor) -> dict[str, Any]:
        if float(model.weight) > 2.5:  # type: ignore[arg-type]
            raise ValueError("too steep")
        return {"loss": squared_error(model, batch)}

    fixed = {f"{lr}": lr for lr in (0.01, 0.02, 0.4, 0.03)}
    ours = compared(line(metrics=metrics), lrs.FusedExecutor(width=4), strategies=fixed)
    require_same(ours, compared(line(metrics=metrics), lrs.LocalExecutor(), strategies=fixed), TOLERANCE)
    assert ours.trials.set_index("strategy")["state"].to_dict() == {
        name: "FAIL" if name == "0.4" else "COMPLETE" for name in fixed
    }
    assert widths == [4]


def test_a_plain_workload_gets_no_warning() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trials = compared(line(), lrs.FusedExecutor(), **TAME).trials
    assert told == []
    assert len(trials) == 3


# several seeds


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(1, 1), nn.Dropout(0.3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.dropout(self.linear(inputs))
        return found


class Turned(nn.Module):
    """Has a random number that is neither a parameter nor a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.sign = nn.Linear(1, 1), float(torch.randn(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.sign * self.linear(inputs)
        return found


def ragged() -> list[torch.Tensor]:
    """The first batch is smaller under some seeds."""
    batches = shuffled()
    return [batches[0][: int(torch.randint(2, 9, ()))], *batches[1:]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [6]),
        ({"model": Dropping}, [2, 2, 2]),
        ({"model": Turned}, [6, 2, 2, 2]),
        ({"train_data": ragged}, [6, 2, 2, 2]),
        ({"train_data": ragged, "accumulate": 2}, [6, 2, 2, 2]),
    ],
    ids=["plain", "dropout", "another model", "other shapes", "accumulated"],
)
def test_seeds_that_cannot_share_a_wave_have_one_each(
    changes: dict[str, Any], expected: list[int], widths: list[int]
) -> None:
    settings = {**SETTINGS, "seeds": [0, 4, 9]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = compared(line(**changes), lrs.FusedExecutor(width=6), **settings)
    require_same(ours, compared(line(**changes), lrs.LocalExecutor(), **settings), TOLERANCE)
    assert widths == expected


def test_seeds_that_could_not_share_a_wave_are_not_tried_again(widths: list[int]) -> None:
    settings = {**TAME, "budget": 4, "seeds": 2}
    ours = compared(line(model=Turned), lrs.FusedExecutor(width=6), **settings)
    require_same(ours, compared(line(model=Turned), lrs.LocalExecutor(), **settings), TOLERANCE)
    assert widths == [6, 4, 2, 2]
