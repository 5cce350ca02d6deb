"""What of several processes exactly one may do: take a trial, put one back, make a study's attribute.

A database does each in one transaction, with the trial's row locked. Other storages have no such thing: they look again just before they
write, which leaves a moment in which two processes may take one lost trial for their own.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import optuna
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from lr_search.storage.keys import OWNER
from lr_search.storage.ownership import Claim, is_alive


def take(study: optuna.Study, trials: Sequence[FrozenTrial], claim: Claim) -> tuple[int, bool] | None:
    """Take the first trial that waits, or a new one, signed with the claim.

    In a database a new one is made only if no other process has made one since `trials` were read: so none is ever made that
    does not fit into the budget, and would be left waiting at the end.

    Args:
        study: whose trial is taken.
        trials: the study's trials, as they were just now.
        claim: what the trial is signed with, and held by from now on.

    Returns:
        The trial's id in the storage, and whether it waited; None where another process was faster.
    """
    storage = study._storage
    study._thread_local.cached_all_trials = None  # as `Study.ask` does, which cannot sign the trial that it takes
    for trial in trials:
        if trial.state == TrialState.WAITING and take_waiting(storage, trial._trial_id, claim):
            return trial._trial_id, True
    new = optuna.trial.create_trial(state=TrialState.RUNNING)
    new.set_user_attr(OWNER, claim.signature())
    created = _create(storage, study._study_id, new, len(trials))
    return None if created is None else (created, False)


def _create(storage: BaseStorage, study_id: int, new: FrozenTrial, number: int) -> int | None:
    """Make a new trial, which gets that number; None where a database has one of that number."""
    database = _database(storage)
    if database is None:
        return storage.create_new_trial(study_id, new)
    with Session(database.engine) as session, session.begin():
        study = models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
        if models.TrialModel.count(session, study) != number:
            return None
        made = int(database._get_prepared_new_trial(study_id, new, session).trial_id)
    storage.get_all_trials(study_id, deepcopy=False)  # so that Optuna's cache knows it
    return made


def take_waiting(storage: BaseStorage, trial_id: int, claim: Claim) -> bool:
    """Take that trial. Returns: False if it does not wait any more."""
    with _held(storage, trial_id) as trial:
        return trial.state == TrialState.WAITING and trial.run(claim)


def renew(storage: BaseStorage, trial_id: int, claim: Claim) -> None:
    """A sign of life, unless the trial was taken away."""
    with _held(storage, trial_id) as trial:
        if trial.state == TrialState.RUNNING and claim_of(trial.owner) == claim.id:
            trial.sign(claim)


def put_back(storage: BaseStorage, trial_id: int, claim: str | None) -> bool:
    """Let the trial wait, to be run again under the same number and LR.

    Args:
        storage: the storage that holds it.
        trial_id: its id in the storage.
        claim: the claim under which it was seen to run; None if it was not signed.

    Returns:
        False if it does not run any more, or under another claim.
    """
    with _held(storage, trial_id) as trial:
        return trial.state == TrialState.RUNNING and claim_of(trial.owner) == claim and trial.wait()


def at_work(trial: FrozenTrial) -> bool:
    """Whether the process that runs the trial may still live."""
    started = trial.datetime_start.timestamp() if trial.datetime_start is not None else 0.0
    return is_alive(trial.user_attrs.get(OWNER), started, time.time())


def claim_of(owner: Mapping[str, Any] | None) -> str | None:
    """The claim in a trial's signature."""
    return owner.get("claim") if isinstance(owner, Mapping) else None


def kept(study: optuna.Study, key: str, make: Callable[[], Any]) -> Any:
    """A study's attribute; made once, however many processes work on the study."""
    attributes = study.user_attrs
    if key not in attributes:
        _add(study, key, make())
        attributes = study.user_attrs
    return attributes[key]


def _add(study: optuna.Study, key: str, value: Any) -> None:
    database = _database(study._storage)
    if database is None:
        study.set_user_attr(key, value)
        return
    attribute = {"study_id": study._study_id, "key": key, "value_json": json.dumps(value)}
    with contextlib.suppress(sqlalchemy.exc.IntegrityError), Session(database.engine) as session, session.begin():
        session.add(models.StudyUserAttributeModel(**attribute))


def _database(storage: BaseStorage) -> RDBStorage | None:
    inner = storage._backend if isinstance(storage, _CachedStorage) else storage
    return inner if isinstance(inner, RDBStorage) else None


@contextlib.contextmanager
def _held(storage: BaseStorage, trial_id: int) -> Iterator[_Row | _Trial]:
    """The trial, which in a database nobody else can change meanwhile."""
    database = _database(storage)
    if database is None:
        yield _Trial(storage, trial_id)
        return
    with Session(database.engine) as session, session.begin():
        yield _Row(session, trial_id)


class _Row:
    """A trial in a database, locked until the transaction ends."""

    def __init__(self, session: Session, trial_id: int) -> None:
        self._session = session
        self._trial = cast("Any", models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True))
        self._attribute = cast("Any", models.TrialUserAttributeModel.find_by_trial_and_key(self._trial, OWNER, session))
        self.state: TrialState = self._trial.state
        self.owner: Mapping[str, Any] | None = None
        if self._attribute is not None:
            self.owner = json.loads(self._attribute.value_json)

    def run(self, claim: Claim) -> bool:
        self._trial.state, self._trial.datetime_start = TrialState.RUNNING, datetime.now()
        self.sign(claim)
        return True

    def wait(self) -> bool:
        self._trial.state = TrialState.WAITING
        return True

    def sign(self, claim: Claim) -> None:
        if self._attribute is None:
            self._attribute = models.TrialUserAttributeModel(trial_id=self._trial.trial_id, key=OWNER)
            self._session.add(self._attribute)
        self._attribute.value_json = json.dumps(claim.signature())


class _Trial:
    """A trial in any other storage."""

    def __init__(self, storage: BaseStorage, trial_id: int) -> None:
        self._storage, self._id = storage, trial_id
        trial = storage.get_trial(trial_id)
        self.state: TrialState = trial.state
        self.owner: Mapping[str, Any] | None = trial.user_attrs.get(OWNER)

    def run(self, claim: Claim) -> bool:
        taken = self._set(TrialState.RUNNING)
        if taken:
            self.sign(claim)
        return taken

    def wait(self) -> bool:
        return self._set(TrialState.WAITING)

    def sign(self, claim: Claim) -> None:
        self._storage.set_trial_user_attr(self._id, OWNER, claim.signature())

    def _set(self, state: TrialState) -> bool:
        try:
            return self._storage.set_trial_state_values(self._id, state)
        except UpdateFinishedTrialError:
            return False
