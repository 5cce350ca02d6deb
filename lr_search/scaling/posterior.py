"""Where the best LR of a long training lies, after pilots: whole, shorter trainings under its own schedule.

    before_1 = the range test's prior, moved to the length of the shortest pilots
    after_r  = what is believed of the best LR at T_r steps, after before_r and the pilots of that length, a rung (basin.py)
    before_s = after_r on the way to the next rung s, and at last to the training:
               (after_r * N(0, argmin_std^2 + scatter^2 L^2))(x - drift),   L = log10(T_s / T_r)
    drift    = exponent L + repeated (decades of passes over the data beyond three that the longer one makes and the shorter does not)

x is a log10 LR, * a convolution; exponent, repeated and scatter depend on the schedule (transfer_constants.py). The LR that is told is the
one of least expected regret, by the basin of the longest pilots. A task's own slope is not fitted: rungs lie too close, and best LRs are
too noisy for that.
Knows neither trainings nor storages: pilots in, LR out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lr_search.arrays import BoolArray, FloatArray
from lr_search.curves.prior import LRPrior
from lr_search.errors import require
from lr_search.scaling.basin import BasinBelief, basin_belief
from lr_search.scaling.transfer_constants import Drift, TransferConstants, transfer_constants

TransferRemark = Literal[
    "learns_nothing",
    "learns_little",
    "all_diverged",
    "lowest_is_best",
    "highest_is_best",
    "edge_of_range",
    "schedule_not_measured",
]
GRID_STEP = 0.05  # decades
HELD = 0.8  # the share of belief that the interval holds
LIKELY_OUTSIDE = 0.2  # so much of the belief outside the range is said
NO_GAIN = 1e-3  # of the objective untrained: a rung whose pilots gain no more has learned nothing
LITTLE_GAIN = 0.05  # likewise: the longest pilots often mislead where they gain no more
LEAST_SHARE = 1e-4  # of the belief is spread evenly over all LRs before a rung: what is unlikely is not impossible


@dataclass(frozen=True)
class Pilot:
    """A whole, shorter training.

    Args:
        lr: its peak LR.
        objective: at its end, lower is better (negated where the objective is maximized); anything where it diverged.
        num_steps: its optimizer steps.
        diverged: whether it did.
    """

    lr: float
    objective: float
    num_steps: int
    diverged: bool = False


@dataclass(frozen=True)
class TransferPosterior:
    """What pilots say of the LR of the training of `num_steps` steps.

    Args:
        lr: of least expected regret.
        log10_std: how far off the middle of the best LRs may lie, in decades: the root mean square.
        interval: (low, high), LRs between which the best of a few trainings lies with 80%: basins are flat, and trainings noisy.
        exponent: the decades by which the best LR is taken to move for each decade of steps.
        expected_regret: at `lr`.
        remarks: what makes it less certain: of the longest pilots "learns_nothing", "learns_little", "all_diverged", "lowest_is_best" or
            "highest_is_best" (of three or more); "edge_of_range" (the best may well lie beyond the prior's range,
            or a pilot diverged at its low end); "schedule_not_measured".
        places: log10 LRs, (places,).
        density: the share of belief that the middle of the best LRs lies there, (places,), of sum 1.
        regrets: the expected regret there, (places,).
    """

    lr: float
    log10_std: float
    interval: tuple[float, float]
    exponent: float
    expected_regret: float
    remarks: tuple[TransferRemark, ...]
    places: FloatArray
    density: FloatArray
    regrets: FloatArray


def transfer_posterior(
    pilots: Sequence[Pilot],
    *,
    num_steps: int,
    schedule: str,
    prior: LRPrior,
    untrained: float | None = None,
    steps_per_epoch: float | None = None,
    constants: TransferConstants | None = None,
) -> TransferPosterior:
    """What the pilots say of the LR of a training of `num_steps` steps under `schedule`.

    Args:
        pilots: of any lengths below num_steps, all under the same schedule; with none the prior is what is known.
        num_steps: of the training that the LR is for.
        schedule: its name.
        prior: the range test's, for that training.
        untrained: the objective before the first step, lower is better; None: guessed from the pilots, which costs certainty.
        steps_per_epoch: optimizer steps in one pass over the training data; None: not known. What is learned by heart moves the best LR
            of long trainings down.
        constants: default: those fitted.

    Raises:
        InvalidInputError: a pilot is longer than the training, or has an objective that is not finite though it did not diverge.
    """
    _require_pilots(pilots, num_steps)
    known = constants or transfer_constants()
    way = _Way(known.drift(schedule), known, steps_per_epoch, _grid(prior, pilots))
    shares = _shares(prior, way.places)
    belief, best, at, remark = None, shares, num_steps, None
    for length in sorted({pilot.num_steps for pilot in pilots}):
        rung = [pilot for pilot in pilots if pilot.num_steps == length]
        told, remark = _informative(rung, untrained)
        if told:
            before = way.back(shares, num_steps, length) if belief is None else way.on(belief.density, at, length)
            belief = basin_belief(*_trainings(told, untrained), way.places, _likely(before), known.shape)
            at = length
    if belief is None:
        nothing = np.empty(0)
        belief = basin_belief(nothing, nothing, nothing.astype(bool), way.places, shares, known.shape)
    else:
        best = way.on(belief.density, at, num_steps, known.best_std)
        density = way.on(belief.density, at, num_steps)
        belief = BasinBelief(density / density.sum(), way.on(belief.regrets, at, num_steps))
    ends = _quantiles(way.places, best / best.sum())
    remarks: list[TransferRemark] = [] if schedule in known.drifts else ["schedule_not_measured"]
    remarks += [remark] if remark else []  # of the longest: shorter pilots make nothing doubtful that these tell
    return _answer(belief, ends, way.places, way.exponent(at, num_steps), prior, pilots, remarks)


@dataclass(frozen=True)
class _Way:
    """From one length to another: how a belief moves, and how much less certain it is there.

    Args:
        drift: of the schedule.
        known: the constants.
        steps_per_epoch: of the training, or None.
        places: log10 LRs of the grid, (places,).
    """

    drift: Drift
    known: TransferConstants
    steps_per_epoch: float | None
    places: FloatArray

    def on(self, values: FloatArray, short: int, long: int, noise: float | None = None) -> FloatArray:
        """The values of the grid at a longer training. Args: noise: of a best LR, in decades; default: of a basin's middle."""
        std = np.hypot(self.known.argmin_std if noise is None else noise, self.drift.scatter * np.log10(long / short))
        return _moved(values, self.places, self.drift.decades(long, short, self.steps_per_epoch), float(std))

    def back(self, values: FloatArray, long: int, short: int) -> FloatArray:
        """The values of the grid at a shorter training, as certain as they were."""
        return _moved(values, self.places, -self.drift.decades(long, short, self.steps_per_epoch), 0.0)

    def exponent(self, short: int, long: int) -> float:
        """The decades by which the best LR moves between them, for each decade of steps."""
        if short == long:
            return self.drift.alone if self.steps_per_epoch is None else self.drift.exponent
        return self.drift.decades(long, short, self.steps_per_epoch) / float(np.log10(long / short))


def _answer(
    belief: BasinBelief,
    ends: tuple[float, float],
    places: FloatArray,
    exponent: float,
    prior: LRPrior,
    pilots: Sequence[Pilot],
    remarks: list[TransferRemark],
) -> TransferPosterior:
    """What is told after the belief about the training. Args: ends: log10 LRs of the interval; places: of the grid, (places,)."""
    (low, high), density, regrets = ends, belief.density, belief.regrets
    too_high = min((pilot.lr for pilot in pilots if pilot.diverged), default=np.inf)  # the answer lies below
    inside = (places >= np.log10(prior.low) - 1e-9) & (places <= np.log10(prior.high) + 1e-9)
    stable = inside & (places < np.log10(too_high))
    none_stable = not stable.any()
    stable = places == places[inside][0] if none_stable else stable
    best = int(np.argmin(np.where(stable, regrets, np.inf)))
    here = float(places[best])
    if pilots and all(pilot.diverged for pilot in pilots):
        high = min(high, float(np.log10(too_high)))
    if none_stable or density[~inside].sum() > LIKELY_OUTSIDE:
        remarks = [*remarks, "edge_of_range"]
    return TransferPosterior(
        lr=float(np.clip(10**here, prior.low, prior.high)),
        log10_std=float(np.sqrt(density @ (places - here) ** 2)),
        interval=(10 ** min(low, here), 10 ** max(high, here)),
        exponent=exponent,
        expected_regret=float(regrets[best]),
        remarks=tuple(dict.fromkeys(remarks)),
        places=places,
        density=density,
        regrets=regrets,
    )


def _require_pilots(pilots: Sequence[Pilot], num_steps: int) -> None:
    longest = max((pilot.num_steps for pilot in pilots), default=0)
    require(longest <= num_steps, "pilots must be no longer than the training", pilot=longest, num_steps=num_steps)
    for pilot in pilots:
        fine = pilot.diverged or bool(np.isfinite(pilot.objective))
        require(fine, "the objective of a pilot that did not diverge must be finite", objective=pilot.objective)


def _informative(rung: Sequence[Pilot], untrained: float | None) -> tuple[list[Pilot], TransferRemark | None]:
    """The pilots of a length that tell something, and what is to be said of them."""
    kept = [pilot for pilot in rung if not pilot.diverged]
    if not kept:
        return list(rung), "all_diverged"
    start = _start(rung, untrained)
    if start - min(pilot.objective for pilot in kept) <= NO_GAIN * abs(start):
        return [pilot for pilot in rung if pilot.diverged], "learns_nothing"
    best = min(kept, key=lambda pilot: pilot.objective)
    if untrained is not None and start - best.objective <= LITTLE_GAIN * abs(start):
        return list(rung), "learns_little"
    if len(rung) > 2 and best.lr == min(pilot.lr for pilot in rung):  # of two pilots one is always the lowest
        return list(rung), "lowest_is_best"
    return list(rung), "highest_is_best" if len(rung) > 2 and best.lr == max(pilot.lr for pilot in rung) else None


def _start(rung: Sequence[Pilot], untrained: float | None) -> float:
    """The objective untrained, or a guess: as far again above the worst pilot as that is above the best."""
    if untrained is not None and np.isfinite(untrained):
        return untrained
    found = [pilot.objective for pilot in rung if not pilot.diverged]
    return 2 * max(found) - min(found)


def _trainings(rung: Sequence[Pilot], untrained: float | None) -> tuple[FloatArray, FloatArray, BoolArray]:
    """log10 LRs, how far each lowered the objective, and which diverged, (n,) each."""
    diverged = np.array([pilot.diverged for pilot in rung])
    start = 0.0 if diverged.all() else _start(rung, untrained)
    drops = [0.0 if pilot.diverged else max(0.0, start - pilot.objective) for pilot in rung]
    return np.log10([pilot.lr for pilot in rung]), np.array(drops), diverged


def _grid(prior: LRPrior, pilots: Sequence[Pilot]) -> FloatArray:
    """log10 LRs over the prior's range and a decade beyond, and over the pilots."""
    lrs = [prior.low / 10, prior.high * 10, *(pilot.lr for pilot in pilots)]
    low, high = np.log10(min(lrs)), np.log10(max(lrs))
    return np.asarray(low + GRID_STEP * np.arange(int(np.ceil((high - low) / GRID_STEP)) + 1))


def _shares(prior: LRPrior, places: FloatArray) -> FloatArray:
    """The prior on the grid, with a little everywhere: what lies beyond its range is unlikely, not impossible."""
    density = prior.pdf(10**places) + 1e-4
    return np.asarray(density / density.sum())


def _likely(density: FloatArray) -> FloatArray:
    """A belief as the prior of a rung."""
    shares = density / density.sum()
    return np.asarray((1 - LEAST_SHARE) * shares + LEAST_SHARE / len(shares))


def _moved(values: FloatArray, places: FloatArray, shift: float, std: float) -> FloatArray:
    """The values of a grid, moved up by `shift` decades and smoothed by a normal distribution; beyond an end they are as there."""
    wide = int(np.ceil((abs(shift) + 4 * std) / GRID_STEP)) + 1
    padded = np.concatenate([np.full(wide, values[0]), values, np.full(wide, values[-1])])
    at = places[0] + GRID_STEP * np.arange(-wide, len(places) + wide)
    if std > 0:
        offsets = GRID_STEP * np.arange(-wide, wide + 1)
        kernel = np.exp(-0.5 * (offsets / std) ** 2)
        padded = np.convolve(np.pad(padded, wide, mode="edge"), kernel / kernel.sum(), mode="valid")
    return np.asarray(np.interp(places - shift, at, padded))


def _quantiles(places: FloatArray, density: FloatArray) -> tuple[float, float]:
    """log10 of the ends of the central interval."""
    below = np.cumsum(density) - 0.5 * density
    low, high = np.interp([(1 - HELD) / 2, (1 + HELD) / 2], below, places)
    return float(low), float(high)
