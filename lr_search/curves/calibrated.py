"""The default rule: how far the best LR lies from where the curve breaks, calibrated on small trainings of many kinds.

    log10(lr) = anchor + constant + weight_1 * feature_1 + ... + weight_k * feature_k + shift

The anchor is the LR at which the gain ratio falls below 1/2, or, on a curve without one, that of the blow-up. A second such line tells
what training there may be expected to lose. The shift goes to the least expected regret under the schedule that the LR is the peak of.
All of it is in calibration.json; `python benchmarks/fit_rule.py` fits it anew and says how well it does on tasks it has not seen.
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

from lr_search.curves.gain_crossing import gain_crossing, stalled_lr
from lr_search.curves.phases import BEGUN, has_descent
from lr_search.curves.smoothing import TINY

if TYPE_CHECKING:
    from lr_search.curves.curve import LRCurve

RuleKind = Literal["gain", "loss"]
ROUNDED = 1e-6  # relative updates below it drown in the weights' rounding
SETTLED = 8  # steps after which a momentum has built up
USUAL_UPDATE = -1.3  # log10 of a relative update
MOST_DECADES = 2.5  # how far apart two places on a curve are taken to lie
# the schedules that were fitted stand for others too: those that hardly decay for constant, the rest for a cosine
FITTED_AS = {"constant": "constant", "plateau": "constant", "wsd": "wsd", "one_cycle": "one_cycle"}
OTHERS_AS = "cosine"
STAY_HIGH = ("constant", "wsd")  # until the end, or near to it
# epochs and steps from which on more is learned by heart, as far as was trained
OFTEN, LONG = (3.0, 100.0), (300, 3000)


@dataclass(frozen=True)
class FittedLine:
    """A constant, and a weight for each feature by name."""

    constant: float
    weights: Mapping[str, float]

    def __call__(self, curve: LRCurve) -> float:
        """The value of the line on a curve."""
        return self.constant + sum(weight * FEATURES[name](curve) for name, weight in self.weights.items())


@dataclass(frozen=True)
class Planned:
    """What was fitted for the trainings that follow: decades from the line to the LR of least expected regret.

    Args:
        shifts: by schedule, for SGD.
        adaptive: more for an optimizer whose steps do not grow with the gradient, as Adam's; in proportion to `1 - scaling`.
        repeated: more for what is learned by heart, where the LR stays high: by decades of epochs beyond 3 times those of steps beyond 300.
        log10_std: how far off suggestions are, in decades, under any schedule; see LRPrior.
        flat_log10_std: likewise where no descent stands out.
        skew: how much further above the suggestion than below the best LRs lie; none where no descent stands out.
    """

    shifts: Mapping[str, float]
    adaptive: float
    repeated: float
    log10_std: float
    flat_log10_std: float
    skew: float


@dataclass(frozen=True)
class Calibration:
    """What was fitted, for one kind of curve.

    Args:
        offset: decades from the anchor to the best LR.
        regret: what a training at the suggested LR may be expected to lose, as a share of what the best one gains.
        noisy: the expected regret from which on a suggestion is not to be relied on.
        planned: what depends on the training that follows.
    """

    offset: FittedLine
    regret: FittedLine
    noisy: float
    planned: Planned


def calibrated(curve: LRCurve) -> float:
    """Ours: decades from where steps lose half their promise, by curve, optimizer and schedule, as fitted on trainings of many kinds."""
    place = unplanned(curve) + shift(curve)
    return float(np.clip(10**place, curve.first_lr / 10, 10 * curve.lr[-1]))


def unplanned(curve: LRCurve) -> float:
    """log10 of the LR that the line points to, whatever the schedule."""
    return anchor(curve) + calibrations()[rule_kind(curve)].offset(curve)


def shift(curve: LRCurve) -> float:
    """Decades from there to the LR of least expected regret, for the curve's plan."""
    fitted, schedule = calibrations()[rule_kind(curve)].planned, fitted_schedule(curve)
    repeated = fitted.repeated * repetition(curve) if schedule in STAY_HIGH else 0.0
    return fitted.shifts[schedule] + fitted.adaptive * (1 - scaling(curve)) + repeated - added_momentum(curve)


def fitted_schedule(curve: LRCurve) -> str:
    """The schedule that was fitted for the planned one, or the likest to it."""
    planned = None if curve.plan is None else curve.plan.schedule
    return FITTED_AS.get(planned or "", OTHERS_AS)


def repetition(curve: LRCurve) -> float:
    """Decades of the planned epochs in which something is learned by heart, times decades of such steps."""
    plan = curve.plan
    if plan is None or plan.epochs is None or plan.num_steps is None:
        return 0.0
    return math.log10(np.clip(plan.epochs, *OFTEN) / OFTEN[0]) * math.log10(np.clip(plan.num_steps, *LONG) / LONG[0])


def added_momentum(curve: LRCurve) -> float:
    """Decades by which the planned schedule's own momentum makes the optimizer's steps larger: 1 for one_cycle on plain SGD."""
    moved = curve.plan is not None and curve.plan.schedule == "one_cycle"
    return float(np.clip(curve.optimizer.get("cycled", 0.0), 0.0, 2.0)) if moved else 0.0


def uncertainty(curve: LRCurve) -> float:
    """How far the best LR may lie from what the rule says, in decades (one standard deviation)."""
    fitted = calibrations()[rule_kind(curve)].planned
    return fitted.log10_std if has_descent(curve) else fitted.flat_log10_std


def lopsided(curve: LRCurve) -> float:
    """The skew of where the best LR may lie: the suggestion is that of least expected regret, and too high costs more."""
    return calibrations()[rule_kind(curve)].planned.skew if has_descent(curve) else 0.0


def is_doubtful(curve: LRCurve) -> bool:
    """Whether trainings whose curves looked like this one have lost much at the LR suggested."""
    fitted = calibrations()[rule_kind(curve)]
    return fitted.regret(curve) > fitted.noisy


def rule_kind(curve: LRCurve) -> RuleKind:
    """Which calibration a curve needs: "gain" where its gain ratio was measured."""
    ratio = curve.smoothed_gain_ratio
    return "gain" if ratio is not None and bool(np.isfinite(ratio).any()) else "loss"


@cache
def calibrations() -> dict[RuleKind, Calibration]:
    """What was fitted, from calibration.json."""
    record = json.loads(files("lr_search.curves").joinpath("calibration.json").read_text())
    return {
        kind: Calibration(
            FittedLine(**record[kind]["offset"]),
            FittedLine(**record[kind]["regret"]),
            record[kind]["noisy"],
            Planned(**record[kind]["planned"]),
        )
        for kind in ("gain", "loss")
    }


def anchor(curve: LRCurve) -> float:
    """log10 of the LR from which the decades to the best LR are counted: where steps break their promise, stop growing, or blow up."""
    if rule_kind(curve) == "loss":
        return _end(curve)
    half, stalled = gain_crossing(curve, 0.5), stalled_lr(curve)
    where = half if stalled is None else stalled
    return _end(curve) if where is None else float(np.log10(where))


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
    """Decades in which the gain ratio falls from 0.9 to 1/2."""
    high = gain_crossing(curve, 0.9)
    return 0.0 if high is None else float(np.clip(anchor(curve) - np.log10(high), 0.0, 1.5))


def edge(curve: LRCurve) -> float:
    """Decades in which the gain ratio falls from 1/2 to 0, the edge of stability; 0.4 where it does not get there."""
    zero = gain_crossing(curve, 0.0)
    return 0.4 if zero is None else float(np.clip(np.log10(zero) - anchor(curve), 0.0, 1.5))


def lowest(curve: LRCurve) -> float:
    """Decades from the anchor to the lowest smoothed loss, where a descent stands out; else 0."""
    if not has_descent(curve):
        return 0.0
    place = np.log10(max(curve.lr[int(np.argmin(curve.smoothed))], curve.first_lr))
    return float(np.clip(place - anchor(curve), -MOST_DECADES, MOST_DECADES))


def flat(curve: LRCurve) -> float:
    """1 where no descent stands out of the noise."""
    return 0.0 if has_descent(curve) else 1.0


def weight_size(curve: LRCurve) -> float:
    """log10 of the root mean square of the weights; -4 where they begin at zero, as linear models' do."""
    step, relative = _before(curve, "rms_update"), _before(curve, "relative_update")
    if not (step > 0 and 0 < relative < math.inf):
        return -4.0 if relative == math.inf else -1.0
    return float(np.clip(np.log10(step / relative), -4.0, 1.0))


def from_zero(curve: LRCurve) -> float:
    """1 where the weights begin at zero or next to it."""
    return 1.0 if weight_size(curve) < -2 else 0.0


def scaling(curve: LRCurve) -> float:
    """The power of the gradient that the optimizer's step grows with: 1 for SGD, 0 for Adam; 1/2 where it is not known."""
    return float(np.clip(curve.optimizer.get("scaling", 0.5), 0.0, 1.0))


def momentum(curve: LRCurve) -> float:
    """Decades that SGD's momentum adds to its step: 1 for a momentum of 0.9."""
    return scaling(curve) * float(np.clip(curve.optimizer.get("gain", 0.0), 0.0, 2.0))


def fading(curve: LRCurve) -> float:
    """How the optimizer's steps shrink at one LR: the slope per decade of steps, -1/2 for Adagrad."""
    return float(np.clip(curve.optimizer.get("fade", 0.0), -0.5, 0.3))


def adaptive_update(curve: LRCurve) -> float:
    """log10 of a step at the anchor relative to the weights, from the usual one, as far as the optimizer is adaptive."""
    return (1 - scaling(curve)) * float(np.clip(_update(curve), -2.0, 2.0))


def plain_update(curve: LRCurve) -> float:
    """log10 of a step at the anchor relative to the weights, from the usual one, as far as the optimizer is not adaptive."""
    return scaling(curve) * float(np.clip(_update(curve), -1.0, 1.0))


def _update(curve: LRCurve) -> float:
    relative = _before(curve, "relative_update")
    return float(np.log10(relative)) + anchor(curve) - USUAL_UPDATE if 0 < relative < math.inf else 0.0


def overshoot(curve: LRCurve) -> float:
    """Decades by which one step at the anchor is promised more than the whole descent; 0 where it is promised less."""
    if "predicted_reduction" not in curve.metrics:
        return 0.0
    promised = _before(curve, "predicted_reduction")
    whole = max(curve.descent, curve.noise)
    if not (promised > 0 and whole > 0):
        return 0.0
    return float(np.clip(np.log10(promised / whole) + anchor(curve), 0.0, 3.0))


def _before(curve: LRCurve, name: str) -> float:
    """The median of a quantity over its LR, among the steps before the anchor that do not drown in rounding."""
    if name not in curve.metrics or "relative_update" not in curve.metrics:
        return math.nan
    steps, place = np.arange(len(curve.lr)), np.log10(np.maximum(curve.lr, TINY))
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = curve.metrics[name] / curve.lr
    usable = ~np.isnan(sizes) & (sizes > 0) & (place < anchor(curve))
    rounded = curve.metrics["relative_update"] <= ROUNDED
    for chosen in (usable & (steps >= SETTLED) & ~rounded, usable & ~rounded, usable):
        if chosen.any():
            return float(np.median(sizes[chosen]))
    return math.nan


FEATURES: dict[str, Callable[[LRCurve], float]] = {
    "room": room,
    "fall": fall,
    "edge": edge,
    "lowest": lowest,
    "flat": flat,
    "weight_size": weight_size,
    "from_zero": from_zero,
    "scaling": scaling,
    "momentum": momentum,
    "fading": fading,
    "adaptive_update": adaptive_update,
    "plain_update": plain_update,
    "overshoot": overshoot,
}
