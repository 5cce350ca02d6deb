"""From a number to its place in a chart, and the numbers that an axis names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.report.plots.style import WIDE, decade

_MOST_DECADES = 8


@dataclass(frozen=True)
class ChartScale:
    """A linear or logarithmic axis.

    Args:
        low: the least that is shown.
        high: the most, > low.
        log: whether it is logarithmic; `low` is then positive.
        first: where `low` lies, in pixels.
        last: where `high` lies.
    """

    low: float
    high: float
    log: bool
    first: float
    last: float

    def at(self, value: float) -> float:
        """The place of a number, in pixels; what is beyond the axis stays at its end."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, self.inside(value)))
        return self.first + (value - low) / (high - low) * (self.last - self.first)

    def inside(self, value: float) -> float:
        """The number, or the nearest that is shown."""
        return min(max(value, self.low), self.high)

    def ticks(self, narrow: float = WIDE) -> list[tuple[float, str]]:
        """The numbers that are named, with their names. narrow: high / low of a logarithmic axis below which parts of decades are."""
        if not self.log:
            step = _step(self.high - self.low)
            count = range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
            return [(n * step, f"{n * step:.6g}") for n in count]
        low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        if self.high < narrow * self.low:
            values = [part * 10.0**power for power in range(low, high + 1) for part in (1, 2, 5)]
            return [(value, f"{value:.6g}") for value in values if self.low <= value <= self.high]
        every = math.ceil((high - low) / _MOST_DECADES)
        powers = [10.0**power for power in range(low, high + 1) if power % every == 0]
        return [(power, decade(power)) for power in powers if self.low <= power <= self.high]

    def to_json(self, name: str) -> dict[str, object]:
        """What the page's script reads a place by."""
        return {"low": self.low, "high": self.high, "log": self.log, "name": name}


def _step(span: float) -> float:
    """About five parts of a span, each 1, 2 or 5 times a power of ten."""
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(part * power for part in (1, 2, 5, 10) if part * power >= rough * 0.999)


def fitting(values: Sequence[float] | FloatArray) -> tuple[float, float, bool]:
    """(low, high, log) of an axis for values: logarithmic where they are positive and span a factor of 10.

    >>> fitting([1.0, 100.0])[2], fitting([1.0, 2.0])[2]
    (True, False)
    """
    given = np.asarray(values, dtype=float)
    finite = given[np.isfinite(given)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if low > 0 and high > 10 * low:
        room = (high / low) ** 0.05
        return low / room, high * room, True
    room = 0.06 * ((high - low) or abs(high) or 1.0)
    return low - room, high + room, False
