"""What the default rule adds for a plan, fitted on the regret of every learning rate; `python benchmarks/fit_rule.py` calls it.

Read are the regret curves of regret_fit.json and, under a constant LR, of the older tasks in truth.json (sets a, b and c). A suggestion
is moved from the line's place by

    d = shift of the schedule + adaptive * (1 - scaling) + repeated * (decades of epochs beyond 3) * (decades of steps beyond 300)

the last only under schedules whose LR stays high; the numbers are those of the least expected regret, the mean over tasks and schedules of

    (regret * normal(0, SMEARED))(place of the line + d).

`repeated` is fitted once more, the other numbers as they are, on the trainings in which data repeat, with those of 3,000 steps of the older
tasks among them (transfer_older.json), both kinds counting the same: on the lifelike ones alone, where few tasks repeat their data, it was
-.65 and put the suggestion for the older ones .8 decades too low.

No best LR of a noisy curve enters, so that flat basins and censored bests do no harm. The width and the skew are those of the least
mean interval score, where a best LR is known. What is printed of families left out was fitted without any task of the family.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import lifelike
import numpy as np
from judge_regrets import RegretCurve
from judge_statistics import MISSED, interval_score
from transfer_older import LENGTH

from lr_search import LRCurve, LRPrior
from lr_search.curves.calibrated import STAY_HIGH, added_momentum, repetition, scaling
from lr_search.curves.phases import has_descent

SCHEDULES = ("constant", "wsd", "cosine", "one_cycle")
FEATURES = ("adaptive", "repeated")
LONG = "older, 3,000 steps"
OLDER, OLDER_SHARE = "older", 0.3  # what an older task counts for: the line was fitted to it
SMEARED = 0.3  # decades by which a suggestion is taken to scatter from one training to another
STEP = 0.02  # decades between two shifts
FURTHEST = 2.5  # decades
SHRUNK = 0.003  # regret that a decade of a feature must pay, squared
STARTS = (0.0, -0.3)
REPEATED = np.round(np.arange(-1.0, 0.01, 0.025), 3)
FIRST_MOVE, LAST_MOVE = 0.2, 0.01  # decades that a number is moved by while that pays
RANGE = 6.0  # decades that a prior spreads over
STDS = tuple(round(0.2 + 0.02 * count, 2) for count in range(41))
SKEWS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
WIDENED = 1.1  # what is fitted on the tasks is too narrow for others: on families left out it held 76%


@dataclass(frozen=True)
class Case:
    """A curve under one schedule and length.

    Args:
        truth: what each LR loses.
        place: log10 of the LR that the line points to, less what the schedule's momentum adds.
        features: of the curve under that plan, (FEATURES,).
        smeared: regret at `offsets()` from the place, smeared, (offsets,).
        is_flat: whether no descent stands out.
    """

    truth: RegretCurve
    place: float
    features: tuple[float, ...]
    smeared: np.ndarray
    is_flat: bool = False

    @property
    def is_older(self) -> bool:
        """Whether it is of truth.json."""
        return self.truth.task not in lifelike.TASKS

    @property
    def family(self) -> str:
        """Of the task; an older task has no relatives but itself."""
        return self.truth.task if self.is_older else lifelike.TASKS[self.truth.task].family


def offsets() -> np.ndarray:
    """Decades from the line's place."""
    return np.arange(-FURTHEST, FURTHEST + STEP / 2, STEP)


def cases(
    pairs: Sequence[tuple[Sequence[RegretCurve], Sequence[LRCurve]]], line: Callable[[LRCurve], float]
) -> list[Case]:
    """Every curve under every schedule and length that its task's truth is known for. Args: line: curve -> log10 of an LR."""
    found = []
    for truths, curves in pairs:
        for curve in curves:
            at = line(curve)
            for truth in truths:
                planned = curve.planned(truth.schedule, truth.num_steps)
                place = at - added_momentum(planned)
                repeated = repetition(planned) if truth.schedule in STAY_HIGH else 0.0
                features = (1 - scaling(curve), repeated)
                found.append(Case(truth, place, features, smear(truth, place), not has_descent(curve)))
    return found


def smear(truth: RegretCurve, place: float) -> np.ndarray:
    """The regret around a place, smeared by a normal distribution, at `offsets()`."""
    around = np.arange(-3 * SMEARED, 3 * SMEARED + STEP / 2, STEP)
    kernel = np.exp(-0.5 * (around / SMEARED) ** 2)
    wide = np.arange(-FURTHEST + around[0], FURTHEST - around[0] + STEP / 2, STEP)
    regrets = np.array([truth.regret(place + offset) for offset in wide])
    return np.convolve(regrets, kernel / kernel.sum(), "valid")[: len(offsets())]


class Fit:
    """Cases as arrays, and the numbers of the least expected regret.

    Args:
        found: the cases.
        features: those of FEATURES that are fitted; the others are left at 0.
    """

    def __init__(self, found: Sequence[Case], features: Sequence[str] = FEATURES) -> None:
        self.found = found
        self.used = np.array([True] * len(SCHEDULES) + [name in features for name in FEATURES])
        self.rows = design(found)
        self.shares = shares_of(found)
        self.table = np.stack([case.smeared for case in found])

    def expected(self, numbers: np.ndarray) -> float:
        """The expected regret, and the price of the features."""
        at = np.rint((self.rows @ numbers + FURTHEST) / STEP).astype(int)
        lost = self.table[np.arange(len(at)), np.clip(at, 0, self.table.shape[1] - 1)]
        return float(self.shares @ lost + SHRUNK * (numbers[len(SCHEDULES) :] ** 2).sum())

    def numbers(self) -> np.ndarray:
        """A shift for each schedule, and a weight for each feature: each is moved while that pays."""
        ends = [self._descended(start) for start in STARTS]
        return min(ends, key=self.expected)

    def _descended(self, start: float) -> np.ndarray:
        numbers = np.where(np.arange(len(self.used)) < len(SCHEDULES), start, 0.0)
        best, move = self.expected(numbers), FIRST_MOVE
        while move >= LAST_MOVE:
            paid = False
            for index in np.flatnonzero(self.used):
                for step in (move, -move):
                    tried = numbers.copy()
                    tried[index] += step
                    if (expected := self.expected(tried)) < best - 1e-9:
                        numbers, best, paid = tried, expected, True
            move = move if paid else move / 2
        return numbers


def repeated_of(found: Sequence[Case], numbers: np.ndarray) -> float:
    """`repeated` of the least expected regret, the other numbers as they are, where data repeat; both kinds of tasks count the same."""
    often = [case for case in found if case.features[-1] > 0]
    tasks = {(case.truth.task, case.truth.schedule): case.is_older for case in often}
    older = sum(tasks.values())
    if not often:
        return float(numbers[-1])
    fit = Fit(often)
    fit.shares = shares_of(often, older=(len(tasks) - older) / older if older else 1.0)
    return float(min(REPEATED, key=lambda value: fit.expected(np.append(numbers[:-1], value))))


def shares_of(found: Sequence[Case], older: float = OLDER_SHARE) -> np.ndarray:
    """What each case counts for, 1 in all: each task and schedule once, an older task so much. (cases,)."""
    number = Counter((case.truth.task, case.truth.schedule) for case in found)
    counts = [(older if c.is_older else 1.0) / number[c.truth.task, c.truth.schedule] for c in found]
    return np.array(counts) / sum(counts)


def design(found: Sequence[Case]) -> np.ndarray:
    """A row a case: which schedule it is of, and its features. (cases, SCHEDULES + FEATURES)."""
    return np.array([[*(case.truth.schedule == name for name in SCHEDULES), *case.features] for case in found], float)


def regrets(found: Sequence[Case], numbers: np.ndarray) -> np.ndarray:
    """What each case loses, (cases,)."""
    return np.array([c.truth.regret(c.place + d) for c, d in zip(found, design(found) @ numbers, strict=True)])


def left_out(found: Sequence[Case], features: Sequence[str], long: Sequence[Case] = ()) -> np.ndarray:
    """What each case loses where its family was not fitted on, (cases + long,). Args: long: `repeated` is fitted on these too."""
    every = [*found, *long]
    lost, families = np.zeros(len(every)), np.array([case.family for case in every])
    for family in dict.fromkeys(families.tolist()):
        inside = families == family
        numbers = Fit([case for case in found if case.family != family], features).numbers()
        if long:
            numbers[-1] = repeated_of([case for case in every if case.family != family], numbers)
        lost[inside] = regrets([case for case, own in zip(every, inside, strict=True) if own], numbers)
    return lost


def by_schedule(found: Sequence[Case], lost: np.ndarray) -> str:
    """The mean regret over tasks under each schedule, and over the older tasks, as text."""
    cells = []
    for group in (*SCHEDULES, OLDER, LONG):
        of_task: dict[str, list[float]] = {}
        for case, regret in zip(found, lost.tolist(), strict=True):
            if group == (
                case.truth.schedule if not case.is_older else OLDER if case.truth.num_steps < LENGTH else LONG
            ):
                of_task.setdefault(case.truth.task, []).append(regret)
        if of_task:
            cells.append(f"{group} {np.mean([np.mean(values) for values in of_task.values()]):.4f}")
    return "   ".join(cells)


def widths(found: Sequence[Case], numbers: np.ndarray) -> dict[str, float]:
    """log10_std and skew where a descent stands out, and log10_std where none does: of the least mean interval score.

    One width for all schedules: fitted for each, they were worse on families left out.
    """
    known = [case for case in found if case.truth.best is not None]
    errors = np.array([case.truth.best - case.place for case in known], float) - design(known) @ numbers
    shares = shares_of(known, older=1.0)  # a prior must hold on both kinds
    is_flat = np.array([case.is_flat for case in known])
    std, skew = narrowest(errors[~is_flat], shares[~is_flat], SKEWS)
    flat_std, _ = narrowest(errors[is_flat], shares[is_flat], (0.0,)) if is_flat.any() else (std, 0.0)
    return {"log10_std": round(std * WIDENED, 3), "flat_log10_std": round(flat_std * WIDENED, 3), "skew": skew}


def narrowest(errors: np.ndarray, shares: np.ndarray, skews: Sequence[float]) -> tuple[float, float]:
    """The log10_std and skew of the prior whose 80% interval has the least mean interval score. Args: errors: in decades, (cases,)."""
    tried = {}
    for std, skew in product(STDS, skews):
        prior = LRPrior(10 ** -(RANGE / 2), 10 ** (RANGE / 2), 1.0, std, skew=skew)
        low, high = np.log10(prior.ppf([MISSED / 2, 1 - MISSED / 2])).tolist()
        tried[std, skew] = float(shares @ [interval_score(low, high, error) for error in errors.tolist()])
    return min(tried, key=lambda pair: tried[pair])


def planned(found: Sequence[Case], long: Sequence[Case] = ()) -> dict[str, Any]:
    """What calibration.json has; prints how well it does, and what each feature pays on families left out.

    Args:
        found: the cases.
        long: further ones that `repeated` alone is fitted on.
    """
    print(f"{'on the line':<50}{by_schedule(found, regrets(found, np.zeros(len(SCHEDULES) + len(FEATURES))))}")
    for count in range(len(FEATURES) + 1):
        named = ", ".join(("shifts", *FEATURES[:count]))
        print(f"{named + '; families left out':<50}{by_schedule(found, left_out(found, FEATURES[:count]))}")
    numbers, every = Fit(found).numbers(), [*found, *long]
    print(f"{'as fitted on all':<50}{by_schedule(every, regrets(every, numbers))}")
    if long:
        print(f"{'repeated on both kinds; families left out':<50}{by_schedule(every, left_out(found, FEATURES, long))}")
        numbers[-1] = repeated_of(every, numbers)
        print(f"{'as fitted on all':<50}{by_schedule(every, regrets(every, numbers))}")
    shifts = [round(float(number), 4) for number in numbers]
    return {
        "shifts": dict(zip(SCHEDULES, shifts, strict=False)),
        **dict(zip(FEATURES, shifts[len(SCHEDULES) :], strict=True)),
        **widths(found, numbers),
    }
