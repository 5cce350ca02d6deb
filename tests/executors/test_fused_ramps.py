"""FusedExecutor: the range tests of all seeds in one fused ramp."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import lr_search as lrs
from lr_search.fused import range_tests
from tests.helpers.comparing import BEYOND, TAME, Breaking, compared, require_same
from tests.helpers.workloads import line

TOLERANCE = 1e-3
OPTIMIZERS: dict[str, Any] = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}


def same(workload: lrs.Workload, width: int = 4, **settings: Any) -> lrs.Comparison:
    """What is found fused, which must be what LocalExecutor finds."""
    ours = compared(workload, lrs.FusedExecutor(width=width), **settings)
    require_same(ours, compared(workload, lrs.LocalExecutor(), **settings), TOLERANCE)
    return ours


@pytest.fixture
def ramps(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The seeds of every fused ramp."""
    found: list[list[int]] = []
    run = range_tests._FusedRamp.run

    def noted(self: Any) -> list[lrs.LRCurve]:
        found.append(list(self._seeds))
        return run(self)

    monkeypatch.setattr(range_tests._FusedRamp, "run", noted)
    return found


def test_the_range_tests_of_all_seeds_are_one_ramp(ramps: list[list[int]]) -> None:
    ours = same(line(), strategies=["range_test"], seeds=3, **TAME)
    assert ramps == [[0, 1, 2]]
    assert len(ours.curves["seed"].unique()) == 3


def test_several_curves_of_a_study_are_in_it_too(ramps: list[list[int]]) -> None:
    same(line(), strategies=["range_test"], seeds=2, **{**TAME, "range_test": {"num_steps": 20, "curves": 2}})
    assert [sorted(ramp) for ramp in ramps] == [[0, 1, 1_000_003, 1_000_004]]


def test_optimizers_have_ramps_of_their_own(ramps: list[list[int]]) -> None:
    same(line(), strategies=["range_test"], seeds=2, optimizers=OPTIMIZERS, **TAME)
    assert ramps == [[0, 1], [0, 1]]


def test_a_width_bounds_the_range_tests_too(ramps: list[list[int]]) -> None:
    same(line(), 2, strategies=["range_test"], seeds=3, **TAME)
    assert ramps == [[0, 1]]


def test_range_tests_that_draw_random_numbers_run_one_by_one(ramps: list[list[int]]) -> None:
    dropout = line(
        model=lambda: torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout(0.2), torch.nn.Linear(4, 1))
    )
    same(dropout, strategies=["range_test"], seeds=2, **TAME)
    assert ramps == []


def test_range_tests_that_fail_fused_are_run_one_by_one_and_say_why(ramps: list[list[int]]) -> None:
    breaking = line(optimizer=Breaking(0.1, RuntimeError))
    with pytest.raises(lrs.errors.TrialsFailedError, match="the disk is full"):
        compared(breaking, lrs.FusedExecutor(width=4), strategies=["range_test"], seeds=2, **BEYOND)
    assert ramps[0] == [0, 1]
