"""What to train with: the LR, schedule and optimizer whose smoothed result over all trials and seeds is best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lr_search.curve import FloatArray
from lr_search.errors import LRSearchError
from lr_search.report.records import StudyRecord

WIDTH_DECADES = 0.15  # how far, in decades, a trial speaks for its neighbours


@dataclass(frozen=True)
class Recommendation:
    """What to train with.

    Args:
        schedule: its name.
        lr: the peak LR.
        optimizer: its name.
        value: the objective to expect: the mean over fresh seeds where confirmed, else the smoothed mean over the trials.
        reason: why, and how sure, in words.
        confirmed: whether it was trained again on fresh seeds.
        shape: the schedule's options that were searched beside the LR: `by_name(schedule, lr, ..., **shape)`.
    """

    schedule: str
    lr: float
    optimizer: str
    value: float
    reason: str
    confirmed: bool = False
    shape: Mapping[str, float] = field(default_factory=dict)

    @property
    def schedule_text(self) -> str:
        """The schedule's name, and its shape where that was searched."""
        shape = ", ".join(f"{name} {value:.3g}" for name, value in self.shape.items())
        return f"{self.schedule} ({shape})" if shape else self.schedule


@dataclass(frozen=True)
class Candidate:
    """The best LR of one schedule and optimizer, and the shape of the best trial at it where that was searched."""

    schedule: str
    optimizer: str
    lr: float
    value: float
    trials: int
    seeds: int
    shape: Mapping[str, float] = field(default_factory=dict)


def candidates(records: Sequence[StudyRecord]) -> list[Candidate]:
    """The best LR of each schedule and optimizer, best first.

    At each LR that was tried, the objectives of the trials nearby are averaged: over log LR under a Gaussian kernel within a
    seed, then over seeds. So one seed's lucky trial cannot win, and an LR next to ones that diverge loses. A schedule and
    optimizer whose trials all diverged have no best LR.
    """
    groups: dict[tuple[str, str], dict[int, list[tuple[float, float]]]] = {}
    survived: set[tuple[str, str]] = set()
    for study in records:
        if study.kind != "search":
            continue
        if any(t.state == "COMPLETE" and math.isfinite(t.value) for t in study.trials):
            survived.add((study.plan["schedule"], study.plan["optimizer"]))
        seeds = groups.setdefault((study.plan["schedule"], study.plan["optimizer"]), {})
        points = seeds.setdefault(study.plan["seed"], [])
        points += [(t.lr, study.clipped(t.value)) for t in study.trials if t.state == "COMPLETE"]
    sign = _sign(records)
    found = []
    for (schedule, optimizer), by_seed in groups.items():
        seeds_points = [np.array(points) for points in by_seed.values() if points]
        if (schedule, optimizer) not in survived:
            continue
        lrs = np.unique(np.concatenate([points[:, 0] for points in seeds_points]))
        values = np.mean([_smoothed(points, lrs) for points in seeds_points], axis=0)
        best = int(np.argmin(sign * values))
        trials, lr = sum(len(points) for points in seeds_points), float(lrs[best])
        shape = _shape(records, schedule, optimizer, lr, sign)
        found.append(Candidate(schedule, optimizer, lr, float(values[best]), trials, len(seeds_points), shape))
    return sorted(found, key=lambda candidate: sign * candidate.value)


def _shape(records: Sequence[StudyRecord], schedule: str, optimizer: str, lr: float, sign: int) -> Mapping[str, float]:
    """What was searched beside the LR, of the best trial at that LR."""
    studies = [
        s for s in records if (s.kind, s.plan["schedule"], s.plan["optimizer"]) == ("search", schedule, optimizer)
    ]
    tried = [t for s in studies for t in s.trials if t.state == "COMPLETE" and t.lr == lr]
    return min(tried, key=lambda trial: sign * trial.value).shape


def _smoothed(points: FloatArray, lrs: FloatArray) -> FloatArray:
    """One seed's objective at each LR. points: (trials, 2) of LR and objective; lrs: (n,). Returns: (n,)."""
    reach = (np.log10(lrs)[:, None] - np.log10(points[:, 0])[None, :]) / WIDTH_DECADES
    # the nearest trial always counts, however far: a seed that tried nothing nearby must not divide by zero
    weights = np.exp(-0.5 * (reach**2 - (reach**2).min(axis=1, keepdims=True)))
    return np.asarray((weights * points[:, 1]).sum(axis=1) / weights.sum(axis=1))


def recommend(records: Sequence[StudyRecord]) -> Recommendation:
    """The best candidate; where `confirm=` trained the best two on fresh seeds, the better of those.

    Raises:
        LRSearchError: no trial is complete, or all diverged.
    """
    found = candidates(records)
    if not found:
        raise LRSearchError(f"A recommendation needs a trial that ended well, but there is none. {lack(records)}")
    confirmed = confirmations(records)
    if confirmed:
        return _confirmed(confirmed, _sign(records))
    best = found[0]
    objective = next(s.plan["objective"] for s in records if s.kind == "search")
    end = "lowest" if _sign(records) > 0 else "highest"
    reason = f"{end} smoothed {objective} over {best.trials} trials on {_seeds(best.seeds)}"
    if len(found) > 1:
        second = found[1]
        reason += f"; next: {second.schedule} with {second.optimizer} at {second.lr:.3g}, {second.value:.4g}"
    reason += ". Unconfirmed: it was chosen among these very trials; confirm=3 trains it again on fresh seeds."
    return Recommendation(best.schedule, best.lr, best.optimizer, best.value, reason, shape=best.shape)


def lack(records: Sequence[StudyRecord]) -> str:
    """Why nothing can be recommended, and what to do."""
    states = [t.state for s in records if s.kind == "search" for t in s.trials]
    if "COMPLETE" in states:
        return "Every complete trial diverged: search lower learning rates; the trials' reasons say how each ended."
    if "FAIL" in states:
        return "Every trial that ended failed: mend the cause that the tracebacks show, then start over."
    return "No trial is complete yet: run the comparison, or go on with it, and make the report again."


@dataclass(frozen=True)
class Confirmed:
    """What a candidate reached on fresh seeds."""

    schedule: str
    optimizer: str
    lr: float
    values: tuple[float, ...]
    shape: Mapping[str, float] = field(default_factory=dict)


def confirmations(records: Sequence[StudyRecord]) -> list[Confirmed]:
    """The candidates that were trained again, with every fresh seed done; those of the present candidates only."""
    current = {(c.schedule, c.optimizer, c.lr): c.shape for c in candidates(records)[:2]}
    groups: dict[tuple[str, str, float], list[float]] = {}
    for study in records:
        for trial in study.trials if study.kind == "confirm" else ():
            key = (study.plan["schedule"], study.plan["optimizer"], trial.lr)
            if key in current and trial.state == "COMPLETE":
                groups.setdefault(key, []).append(study.clipped(trial.value))
    return [Confirmed(*key, tuple(values), current[key]) for key, values in groups.items()]


def _confirmed(found: Sequence[Confirmed], sign: int) -> Recommendation:
    ranked = sorted(found, key=lambda c: sign * float(np.mean(c.values)))
    best = ranked[0]
    error = f" (± {_error(best.values):.2g})" if len(best.values) > 1 else ""
    reason = f"mean of {_seeds(len(best.values), 'fresh ')}, trained again after the search{error}"
    if len(ranked) > 1:
        second = ranked[1]
        reason += f"; next: {second.schedule} with {second.optimizer} at {second.lr:.3g}, {np.mean(second.values):.4g}"
    return Recommendation(
        best.schedule, best.lr, best.optimizer, float(np.mean(best.values)), f"{reason}.", True, best.shape
    )


def _error(values: Sequence[float]) -> float:
    """The standard error of the mean."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def _sign(records: Sequence[StudyRecord]) -> int:
    return -1 if any(s.plan["direction"] == "maximize" for s in records if s.kind == "search") else 1


def _seeds(count: int, kind: str = "") -> str:
    return f"{count} {kind}seed{'s' if count != 1 else ''}"
