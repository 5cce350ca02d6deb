"""What happens along a ramp: too slow, descending, blowing up; and the bounds that Smith reads off it for cycles.

Reference: Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from lr_search.arrays import FloatArray
from lr_search.curves.gain_crossing import gain_crossing
from lr_search.curves.noise import step_noise
from lr_search.curves.smoothing import Smoother
from lr_search.errors import require

if TYPE_CHECKING:
    from lr_search.curves.curve import LRCurve


FLAT = (
    4.5  # deviations of the smoothed values that a descent must stand out by: they are lowest of many by chance alone
)
BEGUN, DONE = 0.1, 0.9  # shares of the descent at which it has begun, and at which it slows
RAGGED = 3.0  # times the noise
JUMP = 0.05  # share of the descent below which nothing is ragged
ONLY_MAX = 4.0  # base_lr = max_lr / 4 where only max_lr is clear; Smith: 3 or 4


@dataclass(frozen=True)
class Phases:
    """The edges between a ramp's three phases.

    Args:
        descent_lr: where the loss begins to fall; below it training is too slow. None where no descent stands out.
        blow_up_lr: where the loss is lowest and begins to rise. None where no rise stands out, or the gain ratio says nothing broke.
    """

    descent_lr: float | None
    blow_up_lr: float | None


def has_descent(curve: LRCurve) -> bool:
    """Whether the loss falls by more than its noise explains."""
    return curve.descent > FLAT * curve.smoothed_noise + 1e-9 * abs(curve.start)


def phases(curve: LRCurve) -> Phases:
    """Where the loss begins to fall, and where it begins to rise again."""
    lowest = int(np.argmin(curve.smoothed))
    falls = has_descent(curve)
    begun = _begun(curve.smoothed[: lowest + 1], curve.start - BEGUN * curve.descent) if falls else None
    blow_up_lr = float(curve.lr[lowest if falls else -1]) if _blows_up(curve, lowest, falls=falls) else None
    return Phases(None if begun is None else float(curve.lr[begun]), blow_up_lr)


def _blows_up(curve: LRCurve, lowest: int, *, falls: bool) -> bool:
    """Whether the ramp was cut short, or the loss rises again after a descent by more than its noise explains."""
    if curve.stopped != "finished":
        return True
    ratio = curve.smoothed_gain_ratio
    measured = ratio is not None and bool(np.isfinite(ratio).any())
    if not falls or lowest >= 0.95 * (len(curve.lr) - 1) or (measured and gain_crossing(curve, 0.5) is None):
        return False  # where no step lost half its promise, nothing broke: batches differ by chance
    rise = float(curve.smoothed[lowest:].max() - curve.smoothed[lowest])
    return rise > FLAT * curve.smoothed_noise + 1e-9 * abs(curve.start)


def bounds(
    curve: LRCurve, metric: str | None = None, *, direction: Literal["minimize", "maximize"] | None = None
) -> tuple[float, float]:
    """base_lr where the loss starts to fall (an accuracy to rise), max_lr where that slows, turns ragged or turns back.

    Where only max_lr is clear, base_lr = max_lr / 4.

    Args:
        curve: a range test's record.
        metric: a metric recorded with it; default: the loss.
        direction: whether less of the metric is better; default: "maximize" for names with "acc" in them, else "minimize".

    Raises:
        InvalidInputError: no such metric was recorded, none of its values is finite, or there is no such direction.
    """
    directions = ("minimize", "maximize")
    require(direction in (None, *directions), f"direction must be one of {', '.join(directions)}", direction=direction)
    known = ("loss", *curve.metrics)
    require(metric is None or metric in known, f"metric must be one of {', '.join(known)}", metric=metric)
    if metric is None or metric == "loss":
        values, smoothed, start, noise = curve.loss, curve.smoothed, curve.start, curve.noise
    else:
        sign = -1.0 if (direction or ("maximize" if "acc" in metric else "minimize")) == "maximize" else 1.0
        values = _known(sign * curve.metrics[metric], metric)
        smoothed = Smoother(curve.lr, linear=curve.ramp == "linear").mean(values)
        start, noise = float(np.median(values[: max(3, len(values) // 10)])), step_noise(values)
    lowest = int(np.argmin(smoothed))
    falling, descent = smoothed[: lowest + 1], max(0.0, start - float(smoothed.min()))
    begun = _begun(falling, start - BEGUN * descent)
    slows = _first(falling <= start - DONE * descent)
    ragged = _ragged(values, smoothed, begun, lowest, max(RAGGED * noise, JUMP * descent))
    ends = [step for step in (slows, ragged) if step is not None and step > begun]
    max_lr = max(float(curve.lr[min(ends, default=lowest)]), curve.first_lr)
    base_lr = float(curve.lr[begun])
    return (base_lr if 0 < base_lr < max_lr / 3 else max_lr / ONLY_MAX), max_lr


def _known(values: FloatArray, name: str) -> FloatArray:
    """The values, with the worst finite one in place of each that is not finite, as after a blow-up."""
    finite = np.isfinite(values)
    require(bool(finite.any()), f"{name} must have a finite value to be read", values=values[:3].tolist())
    return np.where(finite, values, values[finite].max())


def _ragged(values: FloatArray, smoothed: FloatArray, begun: int, lowest: int, least: float) -> int | None:
    """Where the values begin to jump about their smoothed course by more than `least`, in most of five steps.

    Changes from step to step count: where the course bends, smoothing lies beside it for many steps.
    """
    jumps = np.abs(np.diff(values - smoothed))[begun:lowest] / np.sqrt(2)
    if len(jumps) < 5 or least <= 0:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(jumps, 5)
    window = _first(np.median(windows, axis=1) > least)
    return None if window is None else begun + window


def _begun(falling: FloatArray, level: float) -> int:
    """The first step after which the values stay below the level: a dip by chance does not count."""
    above = np.flatnonzero(falling > level)
    return min(int(above[-1]) + 1, len(falling) - 1) if len(above) else 0


def _first(true: npt.NDArray[np.bool_]) -> int | None:
    steps = np.flatnonzero(true)
    return int(steps[0]) if len(steps) else None
