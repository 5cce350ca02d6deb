"""Trials written into Optuna's tables as Optuna would, in as few statements as there can be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection

from lr_search.storage.keys import OWNER
from lr_search.storage.ownership import Claim, claim_of
from lr_search.storage.working.changes import Written
from lr_search.storage.working.trial_rows import (
    PARAMS,
    REPORTS,
    STUDY_ROWS,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    VALUES,
    is_open,
    stored_time,
)

_bind = sqlalchemy.bindparam
_ID: Any = _bind("of_trial")
_KEY: Any = _bind("of_key")
_LOCK_STUDY = sqlalchemy.select(STUDY_ROWS.c.study_id).where(STUDY_ROWS.c.study_id == _bind("study")).with_for_update()
_ANY_AFTER = (
    sqlalchemy.select(TRIALS.c.trial_id)
    .where(TRIALS.c.study_id == _bind("study"), TRIALS.c.trial_id > _bind("after"))
    .limit(1)
)
_LOCK_TRIALS = (
    sqlalchemy.select(TRIALS.c.trial_id, TRIALS.c.state)
    .where(TRIALS.c.trial_id.in_(_bind("trials", expanding=True)))
    .order_by(TRIALS.c.trial_id)  # two processes that lock the same ones do not wait for each other
    .with_for_update()
)
_OWNER = sqlalchemy.select(USER_ATTRS.c.value_json).where(USER_ATTRS.c.trial_id == _ID, USER_ATTRS.c.key == OWNER)
_SET_STATE = sqlalchemy.update(TRIALS).where(TRIALS.c.trial_id == _ID).values(state=_bind("state"))
_BEGIN = _SET_STATE.values(datetime_start=_bind("datetime_start"))
_END = _SET_STATE.values(datetime_complete=_bind("datetime_complete"))
_SET_ATTR = {
    table: sqlalchemy.update(table)
    .where(table.c.trial_id == _ID, table.c.key == _KEY)
    .values(value_json=_bind("value"))
    for table in (USER_ATTRS, SYSTEM_ATTRS)
}
_COLUMNS = {"step": "step", "intermediate_value": "value", "intermediate_value_type": "kind"}
_ADD_REPORT = REPORTS.insert().from_select(  # to a trial that may still be written to
    ["trial_id", *_COLUMNS],
    sqlalchemy.select(
        TRIALS.c.trial_id, *(_bind(name, type_=REPORTS.c[at].type) for at, name in _COLUMNS.items())
    ).where(TRIALS.c.trial_id == _ID, TRIALS.c.state.in_((TrialState.RUNNING, TrialState.WAITING))),
)


def add_trials(connection: Connection, study_id: int, after: int, trials: Sequence[FrozenTrial]) -> list[int] | None:
    """Make new trials. Returns: their ids; None where the study has trials whose ids are above `after`. Raises: KeyError: it is gone."""
    if connection.execute(_LOCK_STUDY, {"study": study_id}).first() is None:
        raise KeyError(models.NOT_FOUND_MSG)
    if connection.execute(_ANY_AFTER, {"study": study_id, "after": after}).first() is not None:
        return None
    ids = [_add_trial(connection, study_id, trial) for trial in trials]
    pairs = list(zip(ids, trials, strict=True))
    params = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": distribution.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }
        for trial_id, trial in pairs
        for name, distribution in trial.distributions.items()
    ]
    _insert(connection, PARAMS, params)
    _insert(connection, USER_ATTRS, _attributes((trial_id, trial.user_attrs) for trial_id, trial in pairs))
    _insert(connection, SYSTEM_ATTRS, _attributes((trial_id, trial.system_attrs) for trial_id, trial in pairs))
    return ids


def _add_trial(connection: Connection, study_id: int, trial: FrozenTrial) -> int:
    assert trial.datetime_start is not None
    row = {
        "study_id": study_id,
        "number": trial.number,
        "state": trial.state,
        "datetime_start": stored_time("datetime_start", trial.datetime_start),
    }
    made = connection.execute(TRIALS.insert(), row).inserted_primary_key
    assert made is not None
    return int(made[0])


def write(connection: Connection, changes: Written) -> set[int]:
    """Write what this process knows of trials. Returns: those that another has ended, of which nothing is written.

    Raises:
        KeyError: one is gone.
        IntegrityError: another process has written to one.
    """
    states = {row.trial_id: row.state for row in connection.execute(_LOCK_TRIALS, {"trials": list(changes)})}
    if len(states) < len(changes):
        raise KeyError(models.NOT_FOUND_MSG)
    ended = {trial_id for trial_id, state in states.items() if not is_open(state)}
    left = {trial_id: change for trial_id, change in changes.items() if trial_id not in ended}
    for table, kind in ((USER_ATTRS, "user_attrs"), (SYSTEM_ATTRS, "system_attrs")):
        _write_attributes(connection, table, kind, left)
    _insert(connection, REPORTS, [_report(i, *each) for i, change in left.items() for each in change.reports.items()])
    ends = [(trial_id, *change.end) for trial_id, change in left.items() if change.end is not None]
    _insert(
        connection,
        VALUES,
        [_value(trial_id, place, value) for trial_id, _, values, _ in ends for place, value in enumerate(values or ())],
    )
    if ends:
        connection.execute(_END, [_end(trial_id, state, time) for trial_id, state, _, time in ends])
    return ended


def _write_attributes(connection: Connection, table: Any, kind: str, changes: Written) -> None:
    new, other = list[tuple[int, dict[str, Any]]](), list[dict[str, Any]]()
    for trial_id, change in changes.items():
        known, given = getattr(change.before, kind), getattr(change, kind)
        new.append((trial_id, {key: value for key, value in given.items() if key not in known}))
        other += [
            {"of_trial": trial_id, "of_key": key, "value": json.dumps(value)}
            for key, value in given.items()
            if key in known
        ]
    _insert(connection, table, _attributes(new))
    if other:
        connection.execute(_SET_ATTR[table], other)


def add_report(connection: Connection, trial_id: int, step: int, value: float) -> bool:
    """Write one report, in one statement: they are by far the most of all writes. Returns: whether the trial could be written to."""
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    row = {"of_trial": trial_id, "step": step, "value": stored, "kind": kind}
    # SQLAlchemy counts what an INSERT adds only where it is told to, on PostgreSQL at least
    return connection.execute(_ADD_REPORT, row, execution_options={"preserve_rowcount": True}).rowcount == 1


def take(connection: Connection, trial_id: int, claim: Claim) -> bool:
    """Run a waiting trial, and sign it. Returns: False if it does not wait."""
    if _state(connection, trial_id) != TrialState.WAITING:
        return False
    started = stored_time("datetime_start", datetime.now())
    connection.execute(_BEGIN, {"of_trial": trial_id, "state": TrialState.RUNNING, "datetime_start": started})
    _sign(connection, trial_id, claim, new=_claim(connection, trial_id) is None)
    return True


def put_back(connection: Connection, trial_id: int, claim: str | None) -> bool:
    """Let a trial wait. Returns: False if it does not run, or under another claim."""
    if not _runs_under(connection, trial_id, claim):
        return False
    connection.execute(_SET_STATE, {"of_trial": trial_id, "state": TrialState.WAITING})
    return True


def renew(connection: Connection, trial_id: int, claim: Claim) -> None:
    """A sign of life of a trial that still runs under the claim."""
    if _runs_under(connection, trial_id, claim.id):
        _sign(connection, trial_id, claim, new=False)


def keep(connection: Connection, study_id: int, key: str, value: Any) -> None:
    """Make a study's attribute. Raises: IntegrityError: it is there."""
    row = {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
    connection.execute(models.StudyUserAttributeModel.__table__.insert(), row)


def _runs_under(connection: Connection, trial_id: int, claim: str | None) -> bool:
    return _state(connection, trial_id) == TrialState.RUNNING and claim_of(_claim(connection, trial_id)) == claim


def _state(connection: Connection, trial_id: int) -> TrialState | None:
    row = connection.execute(_LOCK_TRIALS, {"trials": [trial_id]}).first()
    if row is None:
        raise KeyError(models.NOT_FOUND_MSG)
    state: TrialState = row.state
    return state


def _claim(connection: Connection, trial_id: int) -> Mapping[str, Any] | None:
    text = connection.execute(_OWNER, {"of_trial": trial_id}).scalar()
    return None if text is None else json.loads(text)


def _sign(connection: Connection, trial_id: int, claim: Claim, *, new: bool) -> None:
    text = json.dumps(claim.signature())
    if new:
        _insert(connection, USER_ATTRS, [{"trial_id": trial_id, "key": OWNER, "value_json": text}])
    else:
        connection.execute(_SET_ATTR[USER_ATTRS], {"of_trial": trial_id, "of_key": OWNER, "value": text})


def _insert(connection: Connection, table: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), rows)


def _attributes(trials: Iterable[tuple[int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for trial_id, attributes in trials
        for key, value in attributes.items()
    ]


def _report(trial_id: int, step: int, value: float) -> dict[str, Any]:
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    return {"trial_id": trial_id, "step": step, "intermediate_value": stored, "intermediate_value_type": kind}


def _value(trial_id: int, objective: int, value: float) -> dict[str, Any]:
    stored, kind = models.TrialValueModel.value_to_stored_repr(value)
    return {"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind}


def _end(trial_id: int, state: TrialState, time: datetime) -> dict[str, Any]:
    return {"of_trial": trial_id, "state": state, "datetime_complete": stored_time("datetime_complete", time)}
