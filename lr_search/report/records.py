"""What a storage holds of a comparison, as plain records: the only thing a report reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from lr_search.curve import LRCurve
from lr_search.execution.plan import PLAN, RECORD
from lr_search.prior import PRIOR_ATTRIBUTE, LRPrior
from lr_search.samplers.strategies import PARAM


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
    """

    number: int
    state: str
    lr: float
    value: float
    outcome: Mapping[str, Any]
    shape: Mapping[str, float] = field(default_factory=dict)

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
        """search, range_test, probe or confirm."""
        return str(self.plan["kind"])

    @cached_property
    def curves(self) -> list[LRCurve]:
        """A range-test study's curves."""
        return [LRCurve.from_json(t.outcome["curve"]) for t in self.trials if t.outcome.get("curve")]

    @cached_property
    def worst(self) -> float:
        """The objective at step 0: what a diverged trial counts as in statistics."""
        for trial in self.trials:
            values = trial.evaluations()["metrics"].get(self.plan["objective"], [])
            if values and math.isfinite(values[0]):
                return float(values[0])
        return math.nan

    def clipped(self, value: float) -> float:
        """The value, no worse than the objective at step 0."""
        if math.isnan(self.worst):
            return value
        better = min if self.plan["direction"] == "minimize" else max
        return better(value, self.worst)


def comparison_names(storage: BaseStorage) -> list[str]:
    """The comparisons a storage holds."""
    plans = (frozen.user_attrs.get(PLAN) for frozen in storage.get_all_studies())
    return sorted({str(plan["comparison"]) for plan in plans if plan is not None})


def read_records(storage: BaseStorage, name: str) -> list[StudyRecord]:
    """Every study of the comparison, in the order they were planned."""
    found = []
    for frozen in storage.get_all_studies():
        plan = frozen.user_attrs.get(PLAN)
        if plan is None or plan["comparison"] != name:
            continue
        trials = storage.get_all_trials(frozen._study_id, deepcopy=False)
        prior = frozen.user_attrs.get(PRIOR_ATTRIBUTE)
        found.append(
            StudyRecord(
                name=frozen.study_name,
                plan=plan,
                prior=None if prior is None else LRPrior.from_json(prior),
                trials=[_trial(trial, plan["objective"]) for trial in trials if trial.state != TrialState.WAITING],
            )
        )
    return sorted(found, key=lambda record: (record.plan["order"], record.name))


def _trial(trial: FrozenTrial, objective: str) -> TrialRecord:
    outcome = trial.user_attrs.get(RECORD, {}) if trial.state.is_finished() else {}
    value = trial.values[0] if trial.values else np.nan
    if trial.state == TrialState.PRUNED and outcome:  # Optuna's value is what the pruner was told
        value = outcome["evaluations"]["metrics"][objective][-1]
    shape = {name: number for name, number in trial.params.items() if name != PARAM}
    lr = float(trial.params.get(PARAM, np.nan))
    return TrialRecord(trial.number, trial.state.name, lr, float(value), outcome, shape)


def range_tests_of(records: Sequence[StudyRecord], study: StudyRecord) -> StudyRecord | None:
    """The range tests or the probe that are charged to a study: what it waited for."""
    if "waits_for" in study.plan:
        return next((record for record in records if record.name == study.plan["waits_for"]), None)
    if study.prior is None:  # without one it took nothing from the range tests of its optimizer and seed
        return None
    key = (study.plan["optimizer"], study.plan["seed"])
    for record in records:
        if record.kind == "range_test" and (record.plan["optimizer"], record.plan["seed"]) == key:
            return record
    return None
