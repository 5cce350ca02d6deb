"""Where the best LR of a long training lies, after pilots: whole, shorter trainings under its own schedule.

    x* = argmin over x of   sum_r w_r (R_r * N(0, argmin_std^2 + scatter^2 L_r^2))(x - drift_r),   L_r = log10(T / T_r)
    drift_r = exponent L_r + repeated (decades of passes over the data beyond three that the training makes and the pilots do not)

x is a log10 LR, R_r what the pilots of T_r steps, a rung, show that every LR loses there (basin.py), * a convolution; exponent, repeated
and scatter depend on the schedule (transfer_constants.py). A task's own slope is not fitted: rungs lie too close, and best LRs are too
noisy for that.
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
from lr_search.scaling.transfer_constants import TransferConstants, transfer_constants

TransferRemark = Literal["learns_nothing", "all_diverged", "edge_of_pilots", "edge_of_range", "schedule_not_measured"]
GRID_STEP = 0.05  # decades
HELD = 0.8  # the share of belief that the interval holds
LIKELY_OUTSIDE = 0.2  # so much of the belief outside the range is said
LITTLE = 1e-3  # of the objective untrained: a rung whose pilots gain no more has learned nothing


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
        log10_std: how far off the best LR may lie, in decades: the root mean square.
        interval: (low, high), LRs between which the best lies with 80%.
        exponent: the decades by which the best LR is taken to move for each decade of steps.
        expected_regret: at `lr`.
        remarks: what makes it less certain: "learns_nothing" (the pilots of a length), "all_diverged" (likewise), "edge_of_pilots" (the best
            pilot of a length is its highest or lowest LR), "edge_of_range" (the best may well lie beyond the prior's
            range, or a pilot diverged at its low end),
            "schedule_not_measured".
        places: log10 LRs, (places,).
        density: the share of belief that the best LR lies there, (places,), of sum 1.
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
    drift, places = known.drift(schedule), _grid(prior, pilots)
    before = _shares(prior, places)
    remarks: list[TransferRemark] = [] if schedule in known.drifts else ["schedule_not_measured"]
    moved: list[_Rung] = []
    for length in sorted({pilot.num_steps for pilot in pilots}):
        rung = [pilot for pilot in pilots if pilot.num_steps == length]
        told, remark = _informative(rung, untrained)
        remarks += [remark] if remark else []
        if told:
            decades = float(np.log10(num_steps / length))
            shift = drift.decades(num_steps, length, steps_per_epoch)
            belief = basin_belief(
                *_trainings(told, untrained), places, _moved(before, places, -shift, 0.0), known.shape
            )
            std = float(np.hypot(known.argmin_std, drift.scatter * decades))
            moved.append(
                _Rung(len(told) / std**2, shift / decades if decades else 0.0, _at_target(belief, places, shift, std))
            )
    if not moved:
        nothing = basin_belief(np.empty(0), np.empty(0), np.empty(0, dtype=bool), places, before, known.shape)
        moved = [_Rung(1.0, drift.alone if steps_per_epoch is None else drift.exponent, nothing)]
    return _answer(moved, places, prior, remarks, min((p.lr for p in pilots if p.diverged), default=np.inf))


@dataclass(frozen=True)
class _Rung:
    """What the pilots of one length say of the training.

    Args:
        weight: what they count for: their number, by how uncertain their way to the training is.
        exponent: the decades by which they were moved, for each decade of steps.
        belief: moved there.
    """

    weight: float
    exponent: float
    belief: BasinBelief


def _answer(
    moved: Sequence[_Rung], places: FloatArray, prior: LRPrior, remarks: list[TransferRemark], too_high: float
) -> TransferPosterior:
    """The rungs' beliefs about the training together. Args: too_high: the lowest LR at which a pilot diverged: the answer lies below."""
    weights = np.array([rung.weight for rung in moved])
    weights /= weights.sum()
    density = weights @ np.array([rung.belief.density for rung in moved])
    regrets = weights @ np.array([rung.belief.regrets for rung in moved])
    inside = (places >= np.log10(prior.low) - 1e-9) & (places <= np.log10(prior.high) + 1e-9)
    stable = inside & (places < np.log10(too_high))
    none_stable = not stable.any()
    stable = places == places[inside][0] if none_stable else stable
    best = int(np.argmin(np.where(stable, regrets, np.inf)))
    low, high = _quantiles(places, density)
    here = float(places[best])
    if none_stable or density[~inside].sum() > LIKELY_OUTSIDE:
        remarks = [*remarks, "edge_of_range"]
    return TransferPosterior(
        lr=float(np.clip(10**here, prior.low, prior.high)),
        log10_std=float(np.sqrt(density @ (places - here) ** 2)),
        interval=(10 ** min(low, here), 10 ** max(high, here)),
        exponent=float(weights @ [rung.exponent for rung in moved]),
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
    if start - min(pilot.objective for pilot in kept) <= LITTLE * abs(start):
        return [pilot for pilot in rung if pilot.diverged], "learns_nothing"
    best = min(kept, key=lambda pilot: pilot.objective).lr
    at_edge = len(rung) > 1 and best in (min(p.lr for p in rung), max(p.lr for p in rung))
    return list(rung), "edge_of_pilots" if at_edge else None


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


def _at_target(belief: BasinBelief, places: FloatArray, shift: float, std: float) -> BasinBelief:
    """A rung's belief, moved to the length of the training and as much less certain."""
    density = _moved(belief.density, places, shift, std)
    return BasinBelief(density / density.sum(), _moved(belief.regrets, places, shift, std))


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
