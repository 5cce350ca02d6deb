"""FusedExecutor where memory runs out: fewer trials are trained together, and none is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import TrialsFailedError
from lr_search.fused import trials as fused_training
from lr_search.fused.losses import FusedLoss
from tests.helpers.comparing import LAST, TAME, CutAbove, Followed, compared, followed, require_same, widths
from tests.helpers.workloads import data, line, squared_error

__all__ = ["followed", "widths"]
TOLERANCE = 1e-3


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[int]]:
    """Memory for so many models, which is asked for at the step after that many. Returns: how many models ran out of it."""

    def make(most: int, step: int) -> list[int]:
        exceeded: list[int] = []

        class Small(FusedLoss):
            calls = 0

            def backward(self, batches: Any) -> torch.Tensor:
                self.calls += 1
                if self._stack.width > most and self.calls > step:
                    exceeded.append(self._stack.width)
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
                return super().backward(batches)

        monkeypatch.setattr(fused_training, "FusedLoss", Small)
        return exceeded

    return make


@pytest.mark.parametrize("step", [0, 25])
def test_without_memory_the_width_is_halved_and_no_trial_lost(
    small_memory: Any, widths: list[int], step: int, followed: type[Followed]
) -> None:
    exceeded = small_memory(2, step)
    ours = compared(line(), lrs.FusedExecutor(width=8), budget=12, **TAME)
    ended = followed.named("end")
    require_same(ours, compared(line(), lrs.LocalExecutor(), budget=12, **TAME), TOLERANCE)
    assert exceeded == [8, 4, 4]
    assert widths == [8, 4, 2, 2, 4, 2, 2, 2, 2]  # of 8 trials, then of the 4 that are left
    assert len(ended) == len(set(ended)) == 12


def test_what_had_ended_before_memory_ran_out_stays(
    small_memory: Any, widths: list[int], followed: type[Followed]
) -> None:
    exceeded = small_memory(2, 25)
    settings: dict[str, Any] = {"budget": 8, "lr_range": (1e-3, 1e6)}  # the larger of 8 LRs have diverged by then
    ours = compared(line(), lrs.FusedExecutor(width=8), **settings)
    ended = followed.named("end")
    require_same(ours, compared(line(), lrs.LocalExecutor(), **settings), TOLERANCE)
    assert exceeded[0] == 3  # that many go on beyond an LR of 2
    assert widths[0] == 8
    assert widths[-1] == 2
    assert max(widths[1:]) <= 4
    assert len(ended) == len(set(ended)) == 8


def test_a_pruner_hears_of_each_step_once_where_memory_runs_out(small_memory: Any, widths: list[int]) -> None:
    small_memory(2, 15)
    settings: dict[str, Any] = {"budget": 8, "pruner": CutAbove(0.1), **TAME}
    ours = compared(line(), lrs.FusedExecutor(width=8), **settings)
    require_same(ours, compared(line(), lrs.LocalExecutor(), **settings), TOLERANCE)
    assert set(ours.trials["state"]) == {"COMPLETE", "PRUNED"}
    assert widths[0] == 8
    assert max(widths[1:]) <= 4


def test_a_model_for_which_there_is_no_memory_even_alone_fails_as_elsewhere() -> None:
    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        if model.training and batch is LAST:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return squared_error(model, batch)

    workload = line(loss=loss, train_data=lambda: [*data()[:3], LAST])
    with pytest.raises(TrialsFailedError, match="OutOfMemoryError"):
        compared(workload, lrs.FusedExecutor(width=4), budget=8, **TAME)
