"""What layouts share: how they are marked, and what a search may choose of their options beside the peak LR.

A layout is the function by which `by_name` makes a schedule for a training: (peak LR, steps, ...) -> Schedule.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lr_search.errors import require
from lr_search.kinds.checked import checked, taken
from lr_search.kinds.kind import NONE, NUMBER, WHOLE_NUMBER, either

WARMUP_SHARE = 1 / 20  # of the training, for the schedules that have a warm-up by definition
ENDS = "It ends with the training."

LayoutT = TypeVar("LayoutT", bound=Callable[..., Any])


def warmed(layout: LayoutT) -> LayoutT:
    """Marks a layout: its schedule has a warm-up by definition, which `by_name` puts before it unless another length is given."""
    layout.warmup_share = WARMUP_SHARE  # type: ignore[attr-defined]
    return layout


def warmup_share_of(layout: Callable[..., Any]) -> float:
    """The share of a training that a layout's schedule is warmed up for by definition; 0 where it has no warm-up."""
    return float(getattr(layout, "warmup_share", 0.0))


def end_lr_of(lr: float, final_ratio: float) -> float:
    """The last LR, by its ratio to the peak.

    Raises:
        InvalidInputError: the ratio does not lie between 0 and 1.
    """
    require(0 <= final_ratio <= 1, "final_ratio must lie between 0 and 1", final_ratio=final_ratio)
    return lr * final_ratio


@checked
@dataclass(frozen=True)
class Range:
    """Where an option may lie.

    Args:
        low: the least.
        high: the most, >= low.
        log: whether it is searched on a log scale.
        whole: whether it is a whole number.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        require(self.low <= self.high, "low must be at most high", low=self.low, high=self.high)


def require_training(lr: float, num_steps: int, steps_per_epoch: float | None) -> None:
    """Raises: InvalidInputError: there is no such peak LR, or no training of such a length."""
    taken(NUMBER, "lr", lr)
    taken(WHOLE_NUMBER, "num_steps", num_steps)
    require(lr > 0 and math.isfinite(lr), "lr must be positive and finite", lr=lr)
    require(num_steps >= 1, "num_steps must be at least 1", num_steps=num_steps)
    if steps_per_epoch is not None:
        taken(either([NUMBER, NONE]), "steps_per_epoch", steps_per_epoch)
        require(steps_per_epoch > 0, "steps_per_epoch must be positive, or None", steps_per_epoch=steps_per_epoch)


def checked_layout(layout: LayoutT) -> LayoutT:
    """Marks a layout of this package: what it is given is checked before it is called."""
    inner = checked(layout)

    @functools.wraps(inner)
    def lay_out(lr: float, num_steps: int, steps_per_epoch: float | None = None, **options: Any) -> Any:
        require_training(lr, num_steps, steps_per_epoch)
        return inner(lr, num_steps, steps_per_epoch, **options)

    return lay_out  # type: ignore[return-value]


def searchable(**ranges: Range) -> Callable[[LayoutT], LayoutT]:
    """Marks a layout: these of its options may be searched, within these ranges."""

    def mark(layout: LayoutT) -> LayoutT:
        layout.searchable = ranges  # type: ignore[attr-defined]
        return layout

    return mark


def ranges_of(layout: Callable[..., Any]) -> Mapping[str, Range]:
    """The options of a layout that may be searched; empty where it has none."""
    ranges: Mapping[str, Range] = getattr(layout, "searchable", {})
    return ranges
