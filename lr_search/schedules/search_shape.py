"""What a search may choose about a schedule beside its peak LR: the options of its layout, and their ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lr_search.errors import require
from lr_search.schedules.layout import LayoutT


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
