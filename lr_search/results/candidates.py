"""The best learning rate of each schedule and optimizer, from all their trials: a smooth fit over log LR, averaged over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from lr_search.arrays import FloatArray
from lr_search.results.statistics import Interval, mean_interval, paired_interval
from lr_search.storage.records import StudyRecord, TrialRecord

_WIDTH_DECADES = 0.15  # how far, in decades, a trial speaks for its neighbours
AS_GOOD = 0.05  # this share of the way from the best to the objective at step 0
OFF = 3.0  # the factor at which the sensitivity to the LR is asked
MOST_LRS = 400  # at which the fit is evaluated; of more, every so-manieth
_MOST_POINTS = 1_000  # of one seed; more are averaged within BIN_DECADES first, far less than they are smoothed
BIN_DECADES = 0.01


@dataclass(frozen=True)
class Candidate:
    """The objective of one schedule and optimizer over the LR, and the best LR there.

    Args:
        schedule: its name.
        optimizer: its name.
        lrs: (n,) the LRs that were tried, ascending.
        by_seed: (seeds, n) each seed's objective, smoothed; no worse than at step 0.
        seeds: (seeds,) which.
        start: mean objective at step 0; nan where unknown.
        sign: 1 to minimize, -1 to maximize.
        trials: how many were complete.
        shape: what was searched beside the LR, of the best trial at the best LR.
    """

    schedule: str
    optimizer: str
    lrs: FloatArray
    by_seed: FloatArray
    seeds: tuple[int, ...]
    start: float
    sign: int
    trials: int
    shape: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def mean(self) -> FloatArray:
        """(n,) over seeds."""
        return np.asarray(self.by_seed.mean(axis=0))

    @cached_property
    def _best(self) -> int:
        return int(np.argmin(self.sign * self.mean))

    @property
    def lr(self) -> float:
        """The best LR: that of the best mean."""
        return float(self.lrs[self._best])

    @property
    def value(self) -> float:
        """The mean objective there."""
        return float(self.mean[self._best])

    @property
    def seed_values(self) -> dict[int, float]:
        """The objective there, by seed."""
        return dict(zip(self.seeds, self.by_seed[:, self._best].tolist(), strict=True))

    @property
    def interval(self) -> Interval:
        """Of that mean, over seeds. The LR was chosen among these very trials, which flatters it."""
        return mean_interval(self.by_seed[:, self._best])

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The basin: from and to which LR the mean stays within 5% of the way from the best to the objective at step 0.

        Between LRs that were tried the mean is interpolated over log LR; it ends at the lowest and highest that were tried.
        """
        goal = self.value + AS_GOOD * (self.start - self.value)
        return self._crossing(goal, -1), self._crossing(goal, 1)

    def _crossing(self, goal: float, side: int) -> float:
        if math.isnan(goal):
            return math.nan
        lrs, excess = np.log(self.lrs), self.sign * (self.mean - goal)
        at = self._best
        while 0 <= at + side < len(lrs):
            if excess[at + side] > 0:
                share = excess[at] / (excess[at] - excess[at + side])
                return float(np.exp(lrs[at] + share * (lrs[at + side] - lrs[at])))
            at += side
        return float(self.lrs[at])

    def lost(self, factor: float) -> float:
        """The share of what training gains that is lost at `factor` times the best LR; nan outside the LRs that were tried.

        (value(factor lr) - value(lr)) / (start - value(lr)): 0 where nothing is lost, 1 where training there gains nothing.
        """
        there = math.log(factor * self.lr)
        lrs, gain = np.log(self.lrs), self.start - self.value
        slack = 1e-9
        if not (lrs[0] - slack <= there <= lrs[-1] + slack) or not self.sign * gain > 0:
            return math.nan
        return float((np.interp(there, lrs, self.mean) - self.value) / gain)

    def worse_by(self, other: Candidate) -> Interval:
        """How much worse it is than another, each at its best LR, paired over the seeds that both have."""
        own, theirs = self.seed_values, other.seed_values
        return paired_interval([self.sign * (own[seed] - theirs[seed]) for seed in own if seed in theirs])


def candidates(records: Sequence[StudyRecord]) -> list[Candidate]:
    """The best LR of each schedule and optimizer, best first.

    At each LR that was tried, the objectives of the trials nearby are averaged: over log LR under a Gaussian kernel within a
    seed, then over seeds. So one seed's lucky trial cannot win, and an LR next to ones that diverge loses. A schedule and
    optimizer whose trials all diverged have no best LR.
    """
    groups: dict[tuple[str, str], list[StudyRecord]] = {}
    for study in records:
        if study.kind == "search":
            groups.setdefault((study.plan["schedule"], study.plan["optimizer"]), []).append(study)
    sign = -1 if any(s.plan["direction"] == "maximize" for group in groups.values() for s in group) else 1
    result = [_candidate(*pair, studies, sign) for pair, studies in groups.items()]
    return sorted((each for each in result if each is not None), key=lambda candidate: sign * candidate.value)


def _candidate(schedule: str, optimizer: str, studies: Sequence[StudyRecord], sign: int) -> Candidate | None:
    by_seed: dict[int, list[tuple[float, float]]] = {}
    starts: dict[int, float] = {}
    for study in studies:
        done = [(t.lr, study.clipped(t.value)) for t in study.trials if t.state == "COMPLETE"]
        if done:
            by_seed.setdefault(study.plan["seed"], []).extend(done)
            starts[study.plan["seed"]] = study.worst
    trials = [t for study in studies for t in study.trials if t.state == "COMPLETE"]
    if not any(math.isfinite(trial.value) for trial in trials):
        return None
    points = [np.array(each) for each in by_seed.values()]
    lrs = np.unique(np.concatenate([each[:, 0] for each in points]))
    lrs = lrs[:: math.ceil(len(lrs) / MOST_LRS)]
    values = np.array([_smoothed(each, lrs) for each in points])
    result = Candidate(
        schedule, optimizer, lrs, values, tuple(by_seed), float(np.mean(list(starts.values()))), sign, len(trials)
    )
    return replace(result, shape=_shape(trials, result.lr, sign))


def _shape(trials: Sequence[TrialRecord], lr: float, sign: int) -> Mapping[str, float]:
    """What was searched beside the LR, of the best trial at that LR."""
    return min((t for t in trials if t.lr == lr), key=lambda trial: sign * trial.value).shape


def _smoothed(points: FloatArray, lrs: FloatArray) -> FloatArray:
    """One seed's objective at each LR. points: (trials, 2) of LR and objective; lrs: (n,). Returns: (n,)."""
    places, values, counts = _binned(np.log10(points[:, 0]), points[:, 1])
    reach = (np.log10(lrs)[:, None] - places[None, :]) / _WIDTH_DECADES
    # the nearest trial always counts, however far: a seed that tried nothing nearby must not divide by zero
    weights = counts * np.exp(-0.5 * (reach**2 - (reach**2).min(axis=1, keepdims=True)))
    return np.asarray((weights * values).sum(axis=1) / weights.sum(axis=1))


def _binned(places: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Places (decades), values and how many each stands for; as they are unless they are very many."""
    if len(places) <= _MOST_POINTS:
        return places, values, np.ones(len(places))
    bins = np.unique(np.floor(places / BIN_DECADES), return_inverse=True)[1]
    counts = np.bincount(bins).astype(float)
    return np.bincount(bins, places) / counts, np.bincount(bins, values) / counts, counts


BASIN_COLUMNS = [
    "schedule",
    "optimizer",
    "lr",
    "low",
    "high",
    "value",
    "lost_3x_below",
    "lost_3x_above",
    "seeds",
    "trials",
]


def basins_frame(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """How the objective depends on the LR: a row for each schedule and optimizer, best first.

    Columns:
        schedule, optimizer (category).
        lr: the LR with the best seed-mean of the fit over log LR; value: that mean.
        low, high: the LRs between which the mean stays within 5% of the way from the best to the objective at step 0.
        lost_3x_below, lost_3x_above: the share of what training gains (from step 0) that is lost at a third of that LR and at
            three times it; nan outside the LRs that were tried. The sensitivity to the LR, after Wortsman et al., "Small-scale
            proxies for large-scale Transformer training instabilities", 2023, arXiv:2309.14322.
        seeds, trials (Int64): how many it rests on.
    """
    rows = [
        (c.schedule, c.optimizer, c.lr, *c.bounds, c.value, c.lost(1 / OFF), c.lost(OFF), len(c.seeds), c.trials)
        for c in candidates(records)
    ]
    frame = pd.DataFrame(rows, columns=BASIN_COLUMNS)
    types = dict.fromkeys(("schedule", "optimizer"), "category") | dict.fromkeys(("seeds", "trials"), "Int64")
    return frame.astype({**types, **dict.fromkeys(BASIN_COLUMNS[2:-2], "float64")})
