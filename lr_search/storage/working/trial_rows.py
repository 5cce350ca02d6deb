"""Trials in the rows of Optuna's tables, read by statements of our own: Optuna's ORM takes several times as long."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection

STUDY_ROWS, TRIALS, PARAMS, VALUES, REPORTS, USER_ATTRS, SYSTEM_ATTRS = (
    model.__table__
    for model in (
        models.StudyModel, models.TrialModel, models.TrialParamModel, models.TrialValueModel,
        models.TrialIntermediateValueModel, models.TrialUserAttributeModel, models.TrialSystemAttributeModel,
    )
)  # fmt: skip
TRIALS_AT_ONCE = 500  # trials in one statement: databases limit its parameters

# one row at least while the study is there
_CHANGED = (
    sqlalchemy.select(
        STUDY_ROWS.c.study_id, TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state,
        TRIALS.c.datetime_start, TRIALS.c.datetime_complete,
    )
    .select_from(
        STUDY_ROWS.outerjoin(
            TRIALS,
            (TRIALS.c.study_id == STUDY_ROWS.c.study_id)
            & (
                (TRIALS.c.trial_id > sqlalchemy.bindparam("after"))
                | TRIALS.c.trial_id.in_(sqlalchemy.bindparam("unfinished", expanding=True))
            ),
        )
    )
    .where(STUDY_ROWS.c.study_id == sqlalchemy.bindparam("study"))
    .order_by(TRIALS.c.number)
)  # fmt: skip


def _of_trials(table: Any, *columns: str, order: str | None = None) -> Any:
    statement = sqlalchemy.select(table.c.trial_id, *(table.c[name] for name in columns)).where(
        table.c.trial_id.in_(sqlalchemy.bindparam("trials", expanding=True))
    )
    return statement if order is None else statement.order_by(table.c[order])


_SELECT_PARAMS = _of_trials(PARAMS, "param_name", "param_value", "distribution_json", order="param_id")
_SELECT_VALUES = _of_trials(VALUES, "value", "value_type", order="objective")
_SELECT_REPORTS = _of_trials(REPORTS, "step", "intermediate_value", "intermediate_value_type")
_SELECT_USER_ATTRS = _of_trials(USER_ATTRS, "key", "value_json")
_SELECT_SYSTEM_ATTRS = _of_trials(SYSTEM_ATTRS, "key", "value_json")
_distributions: dict[str, BaseDistribution] = {}


def read_trials(connection: Connection, study_id: int, after: int, unfinished: Collection[int]) -> list[FrozenTrial]:
    """The trials of a study whose ids are above `after`, or among `unfinished`, in the order of their numbers.

    Raises:
        KeyError: there is no such study.
    """
    bound = {"study": study_id, "after": after, "unfinished": list(unfinished)}
    rows = connection.execute(_CHANGED, bound).all()
    if not rows:
        raise KeyError(models.NOT_FOUND_MSG)
    found = {row.trial_id: _begun(row) for row in rows if row.trial_id is not None}
    ids = list(found)
    for first in range(0, len(ids), TRIALS_AT_ONCE):
        _fill(connection, ids[first : first + TRIALS_AT_ONCE], found)
    return list(found.values())


def _begun(row: Any) -> FrozenTrial:
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        values=None,
        datetime_start=shown_time("datetime_start", row.datetime_start),
        datetime_complete=shown_time("datetime_complete", row.datetime_complete),
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=row.trial_id,
    )


def _fill(connection: Connection, ids: Sequence[int], found: dict[int, FrozenTrial]) -> None:
    def rows(statement: Any) -> Iterable[Any]:
        return connection.execute(statement, {"trials": ids})

    for trial_id, name, value, text in rows(_SELECT_PARAMS):
        if text not in _distributions:
            _distributions[text] = json_to_distribution(text)
        found[trial_id].params[name] = _distributions[text].to_external_repr(value)
        found[trial_id].distributions[name] = _distributions[text]
    values: dict[int, list[float]] = {}
    for trial_id, value, kind in rows(_SELECT_VALUES):
        values.setdefault(trial_id, []).append(models.TrialValueModel.stored_repr_to_value(value, kind))
    for trial_id, each in values.items():
        found[trial_id].values = each
    of_report = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    for trial_id, step, value, kind in rows(_SELECT_REPORTS):
        found[trial_id].intermediate_values[step] = of_report(value, kind)
    for trial_id, key, text in rows(_SELECT_USER_ATTRS):
        found[trial_id].user_attrs[key] = json.loads(text)
    for trial_id, key, text in rows(_SELECT_SYSTEM_ATTRS):
        found[trial_id].system_attrs[key] = json.loads(text)


_names = {column: sqlalchemy.inspect(models.TrialModel).get_property_by_column(TRIALS.c[column]).key
          for column in ("datetime_start", "datetime_complete")}  # fmt: skip


def stored_time(column: str, time: datetime) -> Any:
    """A local time as this version of Optuna stores it in that column: local, or UTC."""
    row = models.TrialModel()
    setattr(row, column, time)
    return getattr(row, _names[column])


def shown_time(column: str, stored: datetime | None) -> datetime | None:
    """The local time that is stored."""
    row = models.TrialModel()
    setattr(row, _names[column], stored)
    shown: datetime | None = getattr(row, column)
    return shown


def is_open(state: TrialState | None) -> bool:
    """Whether a trial in that state may still be written to."""
    return state in (TrialState.RUNNING, TrialState.WAITING)
