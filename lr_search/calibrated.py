"""The default rule: how far the best LR lies from where the curve breaks, calibrated on small trainings of many kinds.

    log10(lr) = anchor + w_0 + w_1 * feature_1 + ... + w_k * feature_k

The anchor is the LR at which the gain ratio falls below 1/2, or, on a curve without one, that of the blow-up. The weights
are in calibration.json; `python benchmarks/fit_rule.py` fits them anew and says how well they do on tasks they have not seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import numpy as np

from lr_search.phases import BEGUN, has_descent
from lr_search.smoothing import TINY
from lr_search.stability import gain_crossing

if TYPE_CHECKING:
    from lr_search.curve import LRCurve

Kind = Literal["gain", "loss"]
FLOAT32_STEP = 1e-6  # relative updates below it drown in the weights' rounding
SETTLED = 8  # steps after which a momentum has built up
ADAPTIVE_SIZE = -0.2  # log10 of the root mean square of an adaptive optimizer's step at an LR of 1
USUAL_UPDATE = -1.3  # log10 of a relative update
MOST_DECADES = 2.5  # how far apart two places on a curve are taken to lie


@dataclass(frozen=True)
class Calibration:
    """A fitted line.

    Args:
        constant: decades from the anchor to the best LR where every feature is 0.
        weights: feature's name -> its weight, in decades a unit.
        log10_std: root mean square of what is left, in decades.
    """

    constant: float
    weights: Mapping[str, float]
    log10_std: float


def calibrated(curve: LRCurve) -> float:
    """Ours: the best LR by the gain ratio, the blow-up and how the optimizer's steps fade, as fitted on small trainings."""
    fitted = calibrations()[kind_of(curve)]
    place = anchor(curve) + fitted.constant
    place += sum(weight * FEATURES[name](curve) for name, weight in fitted.weights.items())
    return float(np.clip(10**place, curve.first_lr / 10, 10 * curve.lr[-1]))


def kind_of(curve: LRCurve) -> Kind:
    """Which calibration a curve needs: "gain" where its gain ratio was measured."""
    ratio = curve.smoothed_gain_ratio
    return "gain" if ratio is not None and bool(np.isfinite(ratio).any()) else "loss"


@cache
def calibrations() -> dict[Kind, Calibration]:
    """The fitted lines, from calibration.json."""
    record = json.loads(files("lr_search").joinpath("calibration.json").read_text())
    return {kind: Calibration(**record[kind]) for kind in ("gain", "loss")}


def anchor(curve: LRCurve) -> float:
    """log10 of the LR that the best one is told from."""
    half = gain_crossing(curve, 0.5) if kind_of(curve) == "gain" else None
    return _end(curve) if half is None else float(np.log10(half))


def _end(curve: LRCurve) -> float:
    """log10 of the LR at which the descent is undone, or where the ramp ends."""
    after = int(np.argmin(curve.smoothed)) if has_descent(curve) else len(curve.lr) - 1
    undone = np.flatnonzero(curve.smoothed[after:] >= curve.start - BEGUN * curve.descent)
    end = after + int(undone[0]) if len(undone) else len(curve.lr) - 1
    return float(np.log10(max(curve.lr[end], curve.first_lr)))


def room(curve: LRCurve) -> float:
    """Decades from the anchor to the ramp's end, where the loss blew up: how much the training bears beyond 1/2."""
    return float(np.clip(_end(curve) - anchor(curve), 0.0, MOST_DECADES))


def fall(curve: LRCurve) -> float:
    """Decades in which the gain ratio falls from 0.8 to 1/2."""
    high = gain_crossing(curve, 0.8)
    return 0.0 if high is None else float(np.clip(anchor(curve) - np.log10(high), 0.0, 1.0))


def lowest(curve: LRCurve) -> float:
    """Decades from the anchor to the lowest smoothed loss, where a descent stands out; else 0."""
    if not has_descent(curve):
        return 0.0
    place = np.log10(max(curve.lr[int(np.argmin(curve.smoothed))], curve.first_lr))
    return float(np.clip(place - anchor(curve), -MOST_DECADES, MOST_DECADES))


def flat(curve: LRCurve) -> float:
    """1 where no descent stands out of the noise."""
    return 0.0 if has_descent(curve) else 1.0


def adaptive(curve: LRCurve) -> float:
    """1 where the optimizer makes steps of about the LR in every weight, as Adam does, 0 where they follow the gradients.

    By the root mean square of a step over its LR: 0.3 to 2 for Adam, RMSprop and Adagrad, and for SGD that of the gradients.
    """
    size = np.log10(_before(curve, "rms_update"))
    distance = abs(size - ADAPTIVE_SIZE) if np.isfinite(size) else np.inf
    return float(np.clip(2.0 - 2.0 * distance, 0.0, 1.0))


def update(curve: LRCurve) -> float:
    """For an adaptive optimizer: log10 of a step at the anchor relative to the weights, from USUAL_UPDATE; else 0."""
    relative = np.log10(_before(curve, "relative_update")) + anchor(curve) - USUAL_UPDATE
    return adaptive(curve) * float(np.clip(relative, -2.0, 2.0)) if np.isfinite(relative) else 0.0


def plain_update(curve: LRCurve) -> float:
    """The same for other optimizers."""
    relative = np.log10(_before(curve, "relative_update")) + anchor(curve) - USUAL_UPDATE
    return (1 - adaptive(curve)) * float(np.clip(relative, -1.0, 1.0)) if np.isfinite(relative) else 0.0


def _before(curve: LRCurve, name: str) -> float:
    """The median of a step's size over its LR, among the steps before the anchor that do not drown in rounding."""
    if name not in curve.metrics:
        return math.nan
    steps, place = np.arange(len(curve.lr)), np.log10(np.maximum(curve.lr, TINY))
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = curve.metrics[name] / curve.lr
    usable = np.isfinite(sizes) & (sizes > 0) & (place < anchor(curve))
    rounded = curve.metrics["relative_update"] <= FLOAT32_STEP
    for chosen in (usable & (steps >= SETTLED) & ~rounded, usable & ~rounded, usable):
        if chosen.any():
            return float(np.median(sizes[chosen]))
    return math.nan


def fade(curve: LRCurve) -> float:
    """How the optimizer's steps shrink at one LR: the slope of log(step / LR) per decade of steps, before the LR matters.

    0 for SGD and Adam, -1/2 for Adagrad, whose step falls with the square root of their number: it bears a higher LR than
    the beginning lets on. By the median of the slopes between steps that lie far apart (Theil and Sen).
    """
    if "relative_update" not in curve.metrics:
        return 0.0
    step, place = np.arange(1, len(curve.lr) + 1), np.log10(np.maximum(curve.lr, TINY))
    relative = curve.metrics["relative_update"]
    used = (step >= 6) & (place < anchor(curve) - 0.7) & (relative > FLOAT32_STEP) & np.isfinite(relative)
    if used.sum() < 10 or np.log10(step[used][-1] / step[used][0]) < 0.3:
        return 0.0
    decades, size = np.log10(step[used]), np.log10(relative[used]) - place[used]
    one, other = np.triu_indices(len(decades), k=len(decades) // 3)
    return float(np.clip(np.median((size[other] - size[one]) / (decades[other] - decades[one])), -0.8, 0.3))


FEATURES: dict[str, Callable[[LRCurve], float]] = {
    "room": room,
    "fall": fall,
    "lowest": lowest,
    "flat": flat,
    "adaptive": adaptive,
    "update": update,
    "plain_update": plain_update,
    "fade": fade,
}
