"""Small comparisons for the tests of executors: those of `lr_search.testing`, and what our own tests look at besides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lr_search.executors import fused_run
from lr_search.fused.trials import FusedTraining
from lr_search.testing.line_workload import shifted
from lr_search.testing.small_comparisons import (
    BEYOND,
    STEPS,
    TAME,
    TIMES,
    Breaking,
    CutAbove,
    Followed,
    compared,
    following,
    interrupt,
    require_same,
    states,
)

__all__ = [
    "BEYOND",
    "LAST",
    "STEPS",
    "TAME",
    "TIMES",
    "Breaking",
    "CutAbove",
    "Followed",
    "compared",
    "followed",
    "interrupt",
    "require_same",
    "shifted",
    "states",
    "widths",
]

LAST = torch.ones(8, 2)  # a batch that is unlike the others


@pytest.fixture
def followed() -> Iterator[type[Followed]]:
    """The progress of all comparisons of a test; Ctrl-C interrupts them."""
    with following() as found:
        yield found


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many were trained together, each time that some were."""
    found: list[int] = []

    class Noted(FusedTraining):
        def __init__(self, members: Any, seed: int, support: Any) -> None:
            found.append(len(members))
            super().__init__(members, seed, support)

    monkeypatch.setattr(fused_run, "FusedTraining", Noted)
    return found
