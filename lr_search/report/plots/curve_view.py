"""What a range test's picture shows, read off the curve once for all its panels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.curves.curve import LRCurve
from lr_search.curves.phases import Phases
from lr_search.curves.smoothing import Smoother
from lr_search.curves.suggest import Suggestion

LOSSES = ("loss", "valid_loss")  # metrics that share the loss's panel
FROM_THE_GAIN_RATIO = (
    "reduction",
    "predicted_reduction",
    "relative_update",
    "rms_update",
    "gradient_norm",
)  # recorded with it, and no metrics
TOO_SLOW, DESCENDING, BLOWING_UP, NO_DESCENT = "too slow", "descending", "blowing up", "no descent stands out"


@dataclass(frozen=True)
class View:
    """A curve, and what is read off it.

    Args:
        curve: a range test's record.
        rule: how the LR is read off it; default: the default rule.
    """

    curve: LRCurve
    rule: str | None = None

    @cached_property
    def suggestion(self) -> Suggestion:
        """The LR to mark."""
        return self.curve.suggest(self.rule)

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """base_lr and max_lr."""
        return self.curve.bounds()

    @property
    def linear(self) -> bool:
        """Whether the LR's axis is linear."""
        return self.curve.ramp == "linear"

    @cached_property
    def smoother(self) -> Smoother:
        """What smooths the curve's metrics."""
        return Smoother(self.curve.lr, linear=self.linear)

    def there(self, curve: LRCurve | None = None) -> slice:
        """The steps whose LR has a place on the axis: all but an LR of 0 where it is logarithmic."""
        first = self.curve.lr[0] if curve is None else curve.lr[0]
        return slice(0 if self.linear or first > 0 else 1, len(self.curve.lr))

    @cached_property
    def lr_range(self) -> tuple[float, float]:
        """The LRs to show: the ramp's, and the suggestion."""
        lrs = np.append(self.curve.lr[self.there()], [self.suggestion.lr, *self.bounds])
        low, high = float(lrs.min()), float(lrs.max())
        if low < high:
            return low, high
        return (0.0, 2 * high) if self.linear else (low / 10, high * 10)

    @cached_property
    def phases(self) -> list[tuple[str, float, float]]:
        """(name, low, high) of each phase that the axis shows, from left to right."""
        phases: Phases = self.curve.phases()
        low, high = self.lr_range
        ends = high if phases.blow_up_lr is None else phases.blow_up_lr
        names, edges = (TOO_SLOW, DESCENDING, BLOWING_UP), [low, phases.descent_lr or low, ends, high]
        if phases.descent_lr is None:
            names, edges = (NO_DESCENT, BLOWING_UP, ""), [low, ends, high, high]
        return [(name, left, right) for name, (left, right) in zip(names, pairwise(edges), strict=True) if left < right]

    @cached_property
    def spread(self) -> FloatArray:
        """The standard deviation of the smoothed loss over the pooled curves that went on so far. (n,)."""
        rows = np.full((len(self.curve.members), len(self.curve.lr)), np.nan)
        for row, member in zip(rows, self.curve.members, strict=True):
            row[: len(member.lr)] = member.smoothed[: len(row)]
        return np.asarray(np.nanstd(rows, axis=0))

    @cached_property
    def losses(self) -> dict[str, FloatArray]:
        """The metrics that share the loss's panel, smoothed: name -> (n,)."""
        metrics = self.curve.metrics
        return {name: self.smoother.mean(metrics[name]) for name in LOSSES if _has_numbers(metrics.get(name))}

    @cached_property
    def loss_range(self) -> tuple[float, float]:
        """From below the lowest loss to somewhat above the start: the blow-up would hide everything else."""
        curve = self.curve
        lines = [curve.smoothed, *self.losses.values()]
        low = float(min(curve.loss.min(), *(np.nanmin(line) for line in lines), curve.start))
        start = float(max(curve.start, *(line[np.isfinite(line)][0] for line in lines)))
        highest = float(max(curve.loss.max(), *(np.nanmax(line) for line in lines), start))
        top = min(highest, start + max(0.6 * (start - low), 6 * curve.noise))
        room = 0.35 * (top - low)  # below: for the prior; above: for names and bounds
        if room <= 1e-9 * abs(top):  # a constant, but for rounding
            room = 0.1 * abs(top) or 1.0
        return low - room, top + 0.8 * room

    @cached_property
    def other_metrics(self) -> list[list[str]]:
        """The metrics with panels of their own, a list a panel: those within [0, 1] share one."""
        metrics = self.curve.metrics
        known = (*LOSSES, *FROM_THE_GAIN_RATIO)
        names = [name for name, values in metrics.items() if name not in known and _has_numbers(values)]
        shares = [name for name in names if np.nanmin(metrics[name]) >= 0 and np.nanmax(metrics[name]) <= 1]
        return ([shares] if shares else []) + [[name] for name in names if name not in shares]

    @property
    def has_gain_ratio(self) -> bool:
        """Whether the gain ratio was measured, and anywhere above the rounding of the loss."""
        return _has_numbers(self.curve.gain_ratio)


def _has_numbers(values: FloatArray | None) -> bool:
    return values is not None and bool(np.isfinite(values).any())
