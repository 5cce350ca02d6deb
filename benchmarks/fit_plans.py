"""What the default rule adds for a plan, fitted on the regret curves of regret_fit.json; `python benchmarks/fit_rule.py` calls it.

For each schedule the shift is where the expected regret is least,

    argmin over d of the mean over tasks of (regret * normal(0, SMEARED))(place of the line + d),

with d = shift + repeated * (decades of epochs beyond 10) + doubtful * (whether a suggestion is not to be relied on), each task counted once.
No best LR of a noisy curve enters, so that flat basins and censored bests do no harm. The widths are those of the least mean interval
score, where a best LR is known. What it prints of tasks left out leaves out whole families.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lifelike
import numpy as np
from judge_regrets import RegretCurve
from judge_statistics import best_width

from lr_search import LRCurve, LRPrior
from lr_search.curves.calibrated import added_momentum, repetition

SCHEDULES = ("constant", "wsd", "cosine", "one_cycle")
SMEARED = 0.3  # decades by which a suggestion is taken to scatter from one training to another
STEP = 0.02  # decades between two shifts
FURTHEST = 2.5  # decades
SHIFTS = np.arange(-1.0, 0.61, 0.05)
REPEATED = np.arange(-1.2, 0.01, 0.1)
DOUBTFUL = np.arange(-0.5, 0.51, 0.1)
SHRUNK = 0.005  # regret that a decade of `repeated` or `doubtful` must pay, squared
FEW = 20  # errors, from which a width of their own is read
PRIOR_TAILS = 0.1  # of LRPrior, over the usual range:
RANGE = 6.0  # decades


@dataclass(frozen=True)
class Case:
    """A curve under one schedule and length.

    Args:
        task: its name.
        truth: what each LR loses.
        place: log10 of the LR that the line points to.
        repeated: decades of epochs beyond 10.
        momentum: decades that the schedule's momentum adds.
        doubtful: whether the suggestion is not to be relied on.
        smeared: regret at `offsets()` from the place, smeared, (offsets,).
    """

    task: str
    truth: RegretCurve
    place: float
    repeated: float
    momentum: float
    doubtful: bool
    smeared: np.ndarray

    @property
    def family(self) -> str:
        """Of the task."""
        return lifelike.TASKS[self.task].family


def offsets() -> np.ndarray:
    """Decades from the line's place."""
    return np.arange(-FURTHEST, FURTHEST + STEP / 2, STEP)


def cases(
    pairs: Sequence[tuple[Sequence[RegretCurve], Sequence[LRCurve]]],
    place: Callable[[LRCurve], float],
    relied_on: Callable[[LRCurve], bool],
) -> list[Case]:
    """Every curve under every schedule and length that its task's truth is known for."""
    found = []
    for truths, curves in pairs:
        for curve in curves:
            at, doubtful = place(curve), not relied_on(curve)
            for truth in truths:
                planned = curve.planned(truth.schedule, truth.num_steps)
                momentum = added_momentum(planned)
                smeared = smear(truth, at - momentum)
                found.append(Case(truth.task, truth, at, repetition(planned), momentum, doubtful, smeared))
    return found


def smear(truth: RegretCurve, place: float) -> np.ndarray:
    """The regret around a place, smeared by a normal distribution, at `offsets()`."""
    around = np.arange(-3 * SMEARED, 3 * SMEARED + STEP / 2, STEP)
    kernel = np.exp(-0.5 * (around / SMEARED) ** 2)
    wide = np.arange(-FURTHEST + around[0], FURTHEST - around[0] + STEP / 2, STEP)
    regrets = np.array([truth.regret(place + offset) for offset in wide])
    return np.convolve(regrets, kernel / kernel.sum(), "valid")[: len(offsets())]


def counts(found: Sequence[Case]) -> np.ndarray:
    """What each case counts for: a task's together for one share."""
    number = Counter(case.task for case in found)
    shares = np.array([1 / number[case.task] for case in found])
    return shares / shares.sum()


def shifted(found: Sequence[Case], fitted: Sequence[float]) -> np.ndarray:
    """Decades from the line's place, momentum aside, (cases,). Args: fitted: shift, repeated, doubtful."""
    shift, repeated, doubtful = fitted
    return np.array([shift + repeated * case.repeated + doubtful * case.doubtful for case in found])


def fit(found: Sequence[Case]) -> tuple[float, float, float]:
    """Shift, repeated and doubtful of the least expected regret."""
    table, shares, rows = np.stack([case.smeared for case in found]), counts(found), np.arange(len(found))
    best = (np.inf, (0.0, 0.0, 0.0))
    for repeated, doubtful in itertools.product(REPEATED, DOUBTFUL):
        rest, price = shifted(found, (0.0, repeated, doubtful)), SHRUNK * (repeated**2 + doubtful**2)
        for shift in SHIFTS:
            at = np.clip(np.rint((shift + rest + FURTHEST) / STEP).astype(int), 0, table.shape[1] - 1)
            expected = float(shares @ table[rows, at]) + price
            if expected < best[0] - 1e-9:
                best = expected, (float(shift), float(repeated), float(doubtful))
    return best[1]


def regrets(found: Sequence[Case], fitted: Sequence[float]) -> np.ndarray:
    """What each case loses, (cases,)."""
    shifts = shifted(found, fitted)
    return np.array([c.truth.regret(c.place - c.momentum + d) for c, d in zip(found, shifts, strict=True)])


def left_out(found: Sequence[Case], fitted: Callable[[Sequence[Case]], tuple[float, float, float]]) -> float:
    """The mean regret of tasks whose families were not fitted on."""
    lost = np.zeros(len(found))
    families = np.array([case.family for case in found])
    for family in dict.fromkeys(families.tolist()):
        inside = families == family
        others = [case for case, own in zip(found, inside, strict=True) if not own]
        lost[inside] = regrets([case for case, own in zip(found, inside, strict=True) if own], fitted(others))
    return float(counts(found) @ lost)


def widths(found: Sequence[Case], fitted: Sequence[float]) -> tuple[float, float]:
    """log10_std of relied-on suggestions and of the others, by the least mean interval score; the others' is no less."""
    errors: dict[bool, list[float]] = {False: [], True: []}
    for case, shift in zip(found, shifted(found, fitted), strict=True):
        if case.truth.best is not None:
            errors[case.doubtful].append(case.truth.best - (case.place - case.momentum + shift))
    every = errors[False] + errors[True]
    sure = best_width(errors[False] or every) / 2
    doubtful = best_width(errors[True]) / 2 if len(errors[True]) >= FEW else best_width(every) / 2
    return std_of(sure), std_of(max(sure, doubtful))


def std_of(half: float) -> float:
    """The log10_std of a prior whose 80% interval reaches that many decades to each side of its mode."""

    def reach(std: float) -> float:
        prior = LRPrior(10 ** -(RANGE / 2), 10 ** (RANGE / 2), 1.0, std, PRIOR_TAILS)
        return float(np.log10(prior.ppf(0.9)))

    low, high = 0.02, 3.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if reach(middle) < half else (low, middle)
    return (low + high) / 2


def planned(found: Sequence[Case]) -> dict[str, dict[str, float]]:
    """What calibration.json has by schedule; prints how well it does."""
    record: dict[str, dict[str, float]] = {}
    for schedule in SCHEDULES:
        mine = [case for case in found if case.truth.schedule == schedule]
        fitted = fit(mine)
        sure, doubtful = widths(mine, fitted)
        names = ("shift", "repeated", "doubtful", "log10_std", "doubtful_log10_std")
        record[schedule] = dict(zip(names, (round(value, 4) for value in (*fitted, sure, doubtful)), strict=True))
        before, after = (float(counts(mine) @ regrets(mine, numbers)) for numbers in ((0.0, 0.0, 0.0), fitted))
        print(
            f"{schedule:<10} {len({case.task for case in mine})} tasks: mean regret {before:.3f} on the line, {after:.3f} fitted, "
            f"{left_out(mine, fit):.3f} on families left out ({left_out(mine, shift_only):.3f} by a shift alone)   {record[schedule]}"
        )
    return record


def shift_only(found: Sequence[Case]) -> tuple[float, float, float]:
    """The shift of the least expected regret, with nothing else."""
    table, shares = np.stack([case.smeared for case in found]), counts(found)
    at = np.rint((SHIFTS + FURTHEST) / STEP).astype(int)
    return float(SHIFTS[int(np.argmin(shares @ table[:, at]))]), 0.0, 0.0
