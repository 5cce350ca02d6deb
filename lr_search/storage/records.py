"""A comparison as plain records, a study and its trials: the only thing a report is made of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any

from lr_search.curves.curve import LRCurve
from lr_search.curves.prior import LRPrior


@dataclass(frozen=True)
class TrialRecord:
    """One finished or running trial.

    Args:
        number: in its study.
        state: Optuna's: COMPLETE, PRUNED, FAIL or RUNNING.
        lr: the (peak) LR; nan for a range test or probe.
        value: the objective at the end; inf (-inf to maximize) where it diverged; nan where there is none.
        outcome: as `Outcome.record` wrote it; empty while it runs.
        shape: what was searched beside the LR.
        unread: the evaluations as JSON, where `outcome` is without them.
    """

    number: int
    state: str
    lr: float
    value: float
    outcome: Mapping[str, Any]
    shape: Mapping[str, float] = field(default_factory=dict)
    unread: str = ""

    @property
    def steps(self) -> int:
        """Optimizer steps it took."""
        return int(self.outcome.get("steps", 0))

    @property
    def ensemble_members(self) -> int | None:
        """How many models its snapshot ensemble has; None where none was judged."""
        ensemble = self.outcome.get("ensemble", {})
        return int(ensemble["members"]) if "metrics" in ensemble else None

    def ensemble_value(self, objective: str) -> float:
        """The objective of its snapshot ensemble at the end; nan where none was judged."""
        return float(self.outcome.get("ensemble", {}).get("metrics", {}).get(objective, math.nan))

    def evaluations(self) -> Mapping[str, Any]:
        """step, lr, train_loss, end_of_cycle and metrics, each a list."""
        if self.unread:
            evaluations: Mapping[str, Any] = json.loads(self.unread)
            return evaluations
        none: Mapping[str, Any] = {"step": [], "lr": [], "train_loss": [], "end_of_cycle": [], "metrics": {}}
        return self.outcome.get("evaluations", none) if self.outcome else none


@dataclass(frozen=True)
class StudyRecord:
    """One study: its plan as stored, and its trials by number."""

    name: str
    plan: Mapping[str, Any]
    prior: LRPrior | None
    trials: Sequence[TrialRecord]

    @property
    def kind(self) -> str:
        """search, range_test, probe, pilot, confirm or today."""
        return str(self.plan["kind"])

    @property
    def search_key(self) -> tuple[Any, ...]:
        """What a search and its pilots share: strategy, schedule, optimizer, seed."""
        return tuple(self.plan[name] for name in ("strategy", "schedule", "optimizer", "seed"))

    @property
    def on_test_data(self) -> bool | None:
        """Whether its trainings are judged on the test data; None: on whatever a training function reports of."""
        return None if self.plan.get("pasted") is not None else bool(self.plan.get("on_test_data"))

    @cached_property
    def curves(self) -> list[LRCurve]:
        """A range-test study's curves."""
        return [LRCurve.from_json(t.outcome["curve"]) for t in self.trials if t.outcome.get("curve")]

    @cached_property
    def worst(self) -> float:
        """The objective at step 0: what a diverged trial counts as in statistics.

        A training function need not report it, and its first look may come to no report, where a trainer reports epochs alone.
        Then it is the middle of what the trials reported first.
        """
        reported = []
        for trial in self.trials:
            evaluations = trial.evaluations()
            values = evaluations["metrics"].get(self.plan["objective"], [])
            if values and math.isfinite(values[0]):
                if not evaluations["step"][0]:
                    return float(values[0])
                reported.append(float(values[0]))
        if (first := self.plan.get("at_start")) is not None:
            return float(first)
        return median(reported) if reported else math.nan

    def clipped(self, value: float) -> float:
        """The value, no worse than the objective at step 0."""
        if math.isnan(self.worst):
            return value
        better = min if self.plan["direction"] == "minimize" else max
        return better(value, self.worst)


def charged_before(records: Sequence[StudyRecord]) -> dict[str, list[StudyRecord]]:
    """The range tests, probe and pilots that are charged to each study that waited for some, by its name; in the order in which they ran."""
    by_name = {record.name: record for record in records}
    tests: dict[tuple[str, int], StudyRecord] = {}
    pilots: dict[tuple[Any, ...], StudyRecord] = {}  # the longest, which a larger budget may have added
    for record in records:
        if record.kind == "range_test":
            tests.setdefault((record.plan["optimizer"], record.plan["seed"]), record)
        elif record.kind == "pilot":
            pilots[record.search_key] = max(
                record, pilots.get(record.search_key, record), key=lambda each: int(each.plan["num_steps"])
            )

    def first_of(study: StudyRecord) -> StudyRecord | None:
        if study.kind == "search" and study.search_key in pilots:
            return pilots[study.search_key]
        if "waits_for" in study.plan:
            return by_name.get(study.plan["waits_for"])
        if study.prior is None:  # it took nothing from the range tests of its optimizer and seed
            return None
        return tests.get((study.plan["optimizer"], study.plan["seed"]))

    charged: dict[str, list[StudyRecord]] = {}
    for study in records:
        chain: list[StudyRecord] = []
        first = first_of(study)
        while first is not None and all(first is not each for each in chain):
            chain.insert(0, first)
            first = first_of(first)
        if chain:
            charged[study.name] = chain
    return charged
