"""The winner's weights: a trial trained again from its seed, since no trial keeps them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lr_search.comparison.question import Question
from lr_search.errors import InvalidInputError, quoted
from lr_search.results.recommendation import Recommendation, lack
from lr_search.storage.records import StudyRecord, TrialRecord
from lr_search.studies.trial import TrialSpec
from lr_search.workloads.trainable import require_workload_for
from lr_search.workloads.workload import Workload

_COLUMNS = ("strategy", "schedule", "optimizer", "seed")


def to_retrain(asked: Question, records: Sequence[StudyRecord], best: Any) -> tuple[Workload, TrialSpec]:
    """What is trained, and how.

    Args:
        asked: the comparison's question.
        records: its studies.
        best: a row of `trials`, a recommendation, or None for the trial with the best objective.

    Raises:
        InvalidInputError: it is none of these, or of a comparison that asked something else.
    """
    if isinstance(best, Recommendation):
        return _spec(asked, best.optimizer, best.schedule, asked.seeds[0], best.lr, best.shape)
    study, trial = _best(records) if best is None else _of_row(records, best)
    plan = study.plan
    return _spec(asked, plan["optimizer"], plan["schedule"], plan["seed"], trial.lr, trial.shape)


def _best(records: Sequence[StudyRecord]) -> tuple[StudyRecord, TrialRecord]:
    result = [
        (study, trial)
        for study in records
        if study.kind == "search"
        for trial in study.trials
        if trial.state == "COMPLETE" and math.isfinite(trial.value)
    ]
    if not result:
        raise InvalidInputError(f"There must be a trial that ended well, to be trained again, but: {lack(records)}")
    sign = 1 if result[0][0].plan["direction"] == "minimize" else -1
    return min(result, key=lambda each: sign * each[1].value)


def _of_row(records: Sequence[StudyRecord], row: Any) -> tuple[StudyRecord, TrialRecord]:
    try:
        wanted = {name: row[name] for name in _COLUMNS}
        number = int(row["number"])
    except (TypeError, KeyError, IndexError):
        raise InvalidInputError(
            f"best must be a row of comparison.trials, a recommendation, or None, but got {quoted(row)}. "
            "For example comparison.trials.iloc[0]."
        ) from None
    for study in records:
        if study.kind == "search" and all(study.plan[name] == value for name, value in wanted.items()):
            for trial in study.trials:
                if trial.number == number:
                    return study, trial
    raise InvalidInputError(f"best must be a trial of this comparison, but got {wanted | {'number': number}}.")


def _spec(
    asked: Question, optimizer: str, schedule: str, seed: int, lr: float, shape: Mapping[str, float]
) -> tuple[Workload, TrialSpec]:
    side = asked.sides.get(optimizer)
    layout = None if side is None else side.layouts.get(schedule)
    if side is None or layout is None:
        raise InvalidInputError(
            f"The trial must be of what compare() was last asked, but {schedule!r} with {optimizer!r} was not part of it. "
            "Call compare with that schedule and optimizer again; what is finished is not trained twice."
        )
    require_workload_for("retrain()", side.workload)
    assert isinstance(side.workload, Workload)
    return side.workload, TrialSpec(seed, schedule=layout(lr, **shape), snapshots=asked.snapshots)
