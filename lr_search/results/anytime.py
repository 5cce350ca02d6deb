"""The best objective so far against the steps spent: what a search had found when, and how soon it came close to the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from lr_search.arrays import FloatArray
from lr_search.kinds.direction import Direction
from lr_search.results.anytime_statistics import anytime_area, speed_up, steps_to
from lr_search.results.tables import KEYS, steps_charged
from lr_search.storage.records import StudyRecord, TrialRecord, charged_before

_WITHIN = 0.05  # "close to the best known": this share of the way from the best to the objective at step 0
Key = tuple[str, str, str]  # strategy, schedule, optimizer


@dataclass(frozen=True)
class Line:
    """One study's best so far. A pruned trial spends its steps and wins nothing: only the end of a training counts.

    Args:
        study: whose.
        charged: (n,) steps spent when each trial ended, range tests included.
        best: (n,) the best objective then, no worse than at step 0; nan before any is known.
    """

    study: StudyRecord
    charged: FloatArray
    best: FloatArray

    @property
    def final(self) -> float:
        """The best at the end; nan where no trial is complete."""
        done = any(trial.state == "COMPLETE" for trial in self.study.trials)
        return float(self.best[-1]) if done else math.nan

    def at(self, steps: FloatArray) -> FloatArray:
        """The best when so many steps were spent; the objective at step 0 before the first trial ended. (n,) -> (n,)."""
        place = np.searchsorted(self.charged, steps, side="right")
        return np.asarray(np.concatenate([[self.study.worst], self.best])[place])


def line_of(study: StudyRecord, before: Mapping[str, Sequence[StudyRecord]]) -> Line:
    """A search's line. before: as of `charged_before`."""
    sign = 1 if study.plan["direction"] == "minimize" else -1
    result, charged = [study.worst], []
    for trial, spent in zip(study.trials, steps_charged(study, before), strict=True):
        if trial.state == "RUNNING":
            continue
        value = study.clipped(trial.value) if trial.state == "COMPLETE" else math.nan
        value = value if math.isfinite(value) else math.nan  # not even the objective at step 0 was finite
        result.append(float(sign * np.fmin(sign * result[-1], sign * value)))
        charged.append(spent)
    return Line(study, np.array(charged, dtype=float), np.array(result[1:], dtype=float))


class Lines:
    """The lines of all searches of a comparison, and what is known best of each seed.

    Args:
        records: of the comparison.
    """

    def __init__(self, records: Sequence[StudyRecord]) -> None:
        self.before = charged_before(records)
        searches = [study for study in records if study.kind == "search"]
        self.direction: Direction = (
            "maximize" if any(s.plan["direction"] == "maximize" for s in searches) else "minimize"
        )
        self.sign = 1 if self.direction == "minimize" else -1
        self.groups: dict[Key, dict[int, Line]] = {}
        for study in searches:
            key = (study.plan["strategy"], study.plan["schedule"], study.plan["optimizer"])
            self.groups.setdefault(key, {})[study.plan["seed"]] = line_of(study, self.before)

    def all(self) -> list[Line]:
        """Every study's."""
        return [line for group in self.groups.values() for line in group.values()]

    @cached_property
    def best_known(self) -> dict[int, float]:
        """Per seed, the best objective that any study found; nan where none is better than at step 0."""
        result: dict[int, list[float]] = {}
        for line in self.all():
            better = result.setdefault(line.study.plan["seed"], [])
            if self.sign * line.final < self.sign * line.study.worst:
                better.append(line.final)
        return {seed: self.sign * min((self.sign * v for v in each), default=math.nan) for seed, each in result.items()}

    @cached_property
    def budget(self) -> dict[int, float]:
        """Per seed, the most steps any study spent."""
        result: dict[int, float] = {}
        for line in self.all():
            seed = line.study.plan["seed"]
            result[seed] = max(result.get(seed, 0.0), *line.charged, 0.0)
        return result

    def goal(self, line: Line) -> float:
        """The objective that counts as close to the best known of the line's seed."""
        best = self.best_known[line.study.plan["seed"]]
        return best + _WITHIN * (line.study.worst - best)

    def steps_to_close(self, line: Line) -> float:
        """Steps spent until the best was close to the best known; nan where it never was."""
        return steps_to(line.charged, line.best, self.goal(line), self.direction)

    def area(self, line: Line) -> float:
        """The area under the line, from 0 (the best known from the first step on) to 1 (never better than at step 0)."""
        seed = line.study.plan["seed"]
        if not self.budget[seed]:  # nothing got past its first step
            return math.nan
        return anytime_area(
            line.charged, line.best, line.study.worst, self.best_known[seed], self.budget[seed], self.direction
        )

    def faster_than(self, line: Line, strategy: str) -> float:
        """How many times fewer steps than that strategy under the same schedule, optimizer and seed, at equal quality; or nan."""
        plan = line.study.plan
        base = self.groups.get((strategy, plan["schedule"], plan["optimizer"]), {}).get(plan["seed"])
        if base is None:
            return math.nan
        return speed_up(
            line.charged, line.best, base.charged, base.best, line.study.worst, self.direction, within=_WITHIN
        )


def anytime_frame(records: Sequence[StudyRecord]) -> pd.DataFrame:
    """A row a finished trial of a search: strategy, schedule, optimizer, seed, number, steps_charged and best.

    `best` is the best objective so far, no worse than at step 0. A pruned trial spends its steps and wins nothing: only the
    objective at the end of a training counts.
    """
    rows = []
    for line in Lines(records).all():
        keys = [line.study.plan[key] for key in KEYS]
        numbers = [trial.number for trial in line.study.trials if trial.state != "RUNNING"]
        rows += [(*keys, *each) for each in zip(numbers, line.charged, line.best, strict=True)]
    frame = pd.DataFrame(rows, columns=[*KEYS, "number", "steps_charged", "best"])
    whole = dict.fromkeys(("seed", "number", "steps_charged"), "Int64")
    return frame.astype({**dict.fromkeys(KEYS[:3], "category"), **whole, "best": "float64"})


def best_trial(study: StudyRecord) -> TrialRecord | None:
    """The complete trial with the best objective, diverged ones counting as step 0; None if none is complete."""
    done = [trial for trial in study.trials if trial.state == "COMPLETE"]
    sign = 1 if study.plan["direction"] == "minimize" else -1
    return min(done, key=lambda trial: sign * study.clipped(trial.value), default=None)
