"""A database, of which a process remembers what it has read and written."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Container, Iterator, Sequence
from datetime import datetime
from itertools import count
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from lr_search.storage.keys import OWNER
from lr_search.storage.open import READS_ONLY
from lr_search.storage.ownership import Claim
from lr_search.storage.working import trial_statements as statements
from lr_search.storage.working.changes import Changes
from lr_search.storage.working.known_study import KnownStudy
from lr_search.storage.working.trial_rows import read_trials
from lr_search.storage.working.working_storage import WorkingStorage


class DatabaseStorage(WorkingStorage):
    """Reads again only what another process may have changed, and writes a trial in two transactions: as it begins, and as it ends.

    What a trial reports, and what a pruner writes of it, is written at once, since other processes go by it.

    Args:
        inner: Optuna's storage, with its cache or without.
        database: the same without.
    """

    def __init__(self, inner: BaseStorage, database: RDBStorage) -> None:
        super().__init__(inner)
        self.database = database
        self._studies: dict[int, KnownStudy] = {}
        self._own: dict[int, tuple[int, int]] = {}  # of trials that this process runs: id -> study and number
        self._beaten: set[int] = set()  # studies in which another process has made a trial that is not known yet
        self._draft_ids = count(-1, -1)
        self._grouped = False
        self._changes: dict[int, Changes] = {}

    def refresh(self, study_id: int) -> list[FrozenTrial]:
        """All trials of a study as of now: what is new, and what others run, is read."""
        known = self._studies.setdefault(study_id, KnownStudy())
        with self.database.engine.connect().execution_options(**{READS_ONLY: True}) as connection:
            found = read_trials(connection, study_id, known.last, known.others)
        for trial in found:
            known.remember(trial)
        return known.seen()

    def before_taking(self, study_id: int) -> list[FrozenTrial]:
        """All trials of a study, read again only where another process is known to be at work on it."""
        known = self._studies.get(study_id)
        if known is None or known.others or study_id in self._beaten:
            self._beaten.discard(study_id)
            return self.refresh(study_id)
        return known.seen()

    def draft(self, study_id: int, number: int, claim: Claim) -> int:  # noqa: D102
        trial = optuna.trial.create_trial(state=TrialState.RUNNING)
        trial.user_attrs = {OWNER: claim.signature()}  # not before its start
        trial.number, trial._trial_id = number, next(self._draft_ids)
        self._studies[study_id].drafted.append(trial)
        self._own[trial._trial_id] = study_id, number
        return trial._trial_id

    def begin(self, drafts: Sequence[int]) -> list[int] | None:  # noqa: D102
        study_id = self._own[drafts[0]][0]
        known, trials = self._studies[study_id], [self._mine(draft) for draft in drafts]
        if trials[0].number != len(known.trials):  # others' were read meanwhile
            return None
        with self._writing() as connection:
            ids = statements.add_trials(connection, study_id, known.last, trials)
        if ids is None:
            self._beaten.add(study_id)
            return None
        self.drop(drafts)
        for trial, trial_id in zip(trials, ids, strict=True):
            trial._trial_id = trial_id
            known.trials.append(trial)
            self._own[trial_id] = study_id, trial.number
        known.last = ids[-1]
        return ids

    def drop(self, drafts: Sequence[int]) -> None:  # noqa: D102
        for draft in drafts:
            study_id, number = self._own.pop(draft)
            trials, place = self._studies[study_id].place(draft, number)
            del trials[place]

    def take_waiting(self, trial_id: int, claim: Claim) -> bool:  # noqa: D102
        with self._writing() as connection:
            taken = statements.take(connection, trial_id, claim)
        if taken:
            study_id = next(study_id for study_id, known in self._studies.items() if trial_id in known.others)
            number = next(trial.number for trial in self.refresh(study_id) if trial._trial_id == trial_id)
            self._studies[study_id].others.discard(trial_id)
            self._own[trial_id] = study_id, number
        return taken

    def put_back(self, trial_id: int, claim: str | None) -> bool:  # noqa: D102
        with self._writing() as connection:
            back = statements.put_back(connection, trial_id, claim)
        if back:
            self._give_up(trial_id)
        return back

    def _give_up(self, trial_id: int) -> None:
        """This process does not run the trial any more: what becomes of it is read."""
        if trial_id in self._own:
            self._studies[self._own.pop(trial_id)[0]].others.add(trial_id)

    def renew(self, trial_id: int, claim: Claim) -> None:  # noqa: D102
        with self._writing() as connection:
            statements.renew(connection, trial_id, claim)

    def keep(self, study_id: int, key: str, value: Any) -> None:  # noqa: D102
        with contextlib.suppress(IntegrityError), self._writing() as connection:
            statements.keep(connection, study_id, key, value)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction in which no other process writes to what this one reads."""
        with self.database.engine.begin() as connection:
            raw: Any = connection.connection.driver_connection
            if connection.dialect.name == "sqlite" and not raw.in_transaction:  # not opened by `open_storage`
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:  # noqa: D102
        if self._grouped:
            yield
            return
        self._grouped = True
        try:
            yield
        finally:
            self._grouped = False
            self._flush()

    def _flush(self) -> None:
        """Write what has changed of this process's trials; what another process has ended meanwhile stays as that left it."""
        changes, self._changes = self._changes, {}
        if not changes:
            return
        try:
            with self._writing() as connection:
                ended_by_others = statements.write(connection, changes)
        except IntegrityError:  # another process runs one of them too, taken for lost
            ended_by_others = {
                trial_id for trial_id, change in changes.items() if not self._write_slowly(trial_id, change)
            }
        for trial_id, change in changes.items():
            if trial_id in ended_by_others:
                self._give_up(trial_id)
            elif change.end is not None:
                self._own.pop(trial_id, None)

    def _write_slowly(self, trial_id: int, change: Changes) -> bool:
        """Write over what is there. Returns: whether the trial had not ended."""
        database = self.database
        try:
            for key, value in change.user_attrs.items():
                database.set_trial_user_attr(trial_id, key, value)
            for key, value in change.system_attrs.items():
                database.set_trial_system_attr(trial_id, key, value)
            for step, value in change.reports.items():
                database.set_trial_intermediate_value(trial_id, step, value)
            if change.end is not None:
                database.set_trial_state_values(trial_id, *change.end[:2])
        except UpdateFinishedTrialError:
            return False
        return True

    def _mine(self, trial_id: int) -> FrozenTrial:
        study_id, number = self._own[trial_id]
        trials, place = self._studies[study_id].place(trial_id, number)
        return trials[place]

    def _changed(self, trial_id: int, **now: Any) -> None:
        """Remember what is new of a trial; who holds the trial as it was sees nothing of it."""
        study_id, number = self._own[trial_id]
        trials, place = self._studies[study_id].place(trial_id, number)
        trial = trials[place] = copy.copy(trials[place])
        for name, value in now.items():
            setattr(trial, name, value)

    def _to_write(self, trial_id: int) -> Changes:
        """What is to be written of a trial that the database holds."""
        trial = self._mine(trial_id)
        self.check_trial_is_updatable(trial_id, trial.state)
        return self._changes.setdefault(trial_id, Changes(trial))

    def _written(self) -> None:
        if not self._grouped:
            self._flush()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:  # noqa: D102
        if trial_id in self._own:
            self._set_attr("user_attrs", trial_id, key, value)
        else:
            self.database.set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:  # noqa: D102
        if trial_id in self._own:
            self._set_attr("system_attrs", trial_id, key, value)
        else:
            self.database.set_trial_system_attr(trial_id, key, value)

    def _set_attr(self, kind: str, trial_id: int, key: str, value: Any) -> None:
        if trial_id > 0:
            getattr(self._to_write(trial_id), kind)[key] = value
        self._changed(trial_id, **{kind: {**getattr(self._mine(trial_id), kind), key: value}})
        self._written()

    def set_trial_param(  # noqa: D102
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        if trial_id not in self._own or trial_id > 0:
            self.database.set_trial_param(trial_id, param_name, param_value_internal, distribution)
        if trial_id in self._own:
            trials, trial = self._studies[self._own[trial_id][0]].seen(), self._mine(trial_id)
            earlier = next((t.distributions[param_name] for t in trials if param_name in t.distributions), distribution)
            check_distribution_compatibility(earlier, distribution)
            value = distribution.to_external_repr(param_value_internal)
            distributions = {**trial.distributions, param_name: distribution}
            self._changed(trial_id, params={**trial.params, param_name: value}, distributions=distributions)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:  # noqa: D102
        if trial_id not in self._own or step in self._mine(trial_id).intermediate_values:
            self.database.set_trial_intermediate_value(trial_id, step, intermediate_value)
            return
        if self._grouped:
            self._to_write(trial_id).reports[step] = intermediate_value
        else:
            self._report(trial_id, step, intermediate_value)
        reports = {**self._mine(trial_id).intermediate_values, step: intermediate_value}
        self._changed(trial_id, intermediate_values=reports)

    def _report(self, trial_id: int, step: int, value: float) -> None:
        try:
            with self._writing() as connection:
                added = statements.add_report(connection, trial_id, step, value)
        except IntegrityError:
            added = False
        if not added:
            try:
                self.database.set_trial_intermediate_value(trial_id, step, value)
            except UpdateFinishedTrialError:
                self._give_up(trial_id)
                raise

    def set_trial_state_values(  # noqa: D102
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if trial_id not in self._own:
            return self.database.set_trial_state_values(trial_id, state, values)
        ended, told = datetime.now(), None if values is None else list(values)
        self._to_write(trial_id).end = state, told, ended
        self._changed(trial_id, state=state, values=told, datetime_complete=ended)
        self._written()
        return True

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:  # noqa: D102
        return self.database.create_new_trial(study_id, template_trial)

    def get_trial(self, trial_id: int) -> FrozenTrial:  # noqa: D102
        if trial_id not in self._own:
            return self.database.get_trial(trial_id)
        trial = copy.copy(self._mine(trial_id))  # whoever asks for one writes to it, as Optuna's Trial does
        for name in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values"):
            setattr(trial, name, dict(getattr(trial, name)))
        return trial

    def get_all_trials(  # noqa: D102
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        known = self._studies.get(study_id)
        trials = self.refresh(study_id) if known is None else known.seen()
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials
