"""Where the file of a storage is lost while it is written to: saying so, and writing what is still known beside it."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from lr_search.errors import StorageError
from lr_search.storage.kept_file import KeptFile, database_of, is_whole, num_finished, pooled, studies_of
from lr_search.storage.open import FAILURES, open_storage
from lr_search.storage.working.working_storage import WorkingStorage

# what an attempt may fail with, that of another way is made after
_NOT_WRITTEN = (*FAILURES, sqlite3.Error, StorageError, KeyError, AssertionError)


class Rescue:
    """What is known of a comparison beside its file.

    Args:
        storage: it is written to, as this process works on it.
        name: of the comparison.
    """

    def __init__(self, storage: WorkingStorage, name: str) -> None:
        self.file, self._name, self._storage = KeptFile(storage.inner, name), name, storage
        self._studies = [] if self.file.path is None else studies_of(storage, name)

    def require_file(self) -> None:
        """Raises: StorageError: the file is lost."""
        if lost := self.file.lost():
            raise StorageError(f"The storage's file {lost}.")

    def write(self) -> tuple[Path, int] | None:
        """Write an SQLite file beside the lost one; in the folder for temporary files where that cannot be.

        Returns:
            The file, and how many finished trials of the comparison are in it; None where none could be written.
        """
        assert self.file.path is not None
        name = f"{self.file.path.name}.rescued-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
        for folder in (self.file.path.parent, Path(tempfile.gettempdir())):
            for write in (self._copy, self._rebuild):
                with contextlib.suppress(*_NOT_WRITTEN):
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / name).unlink(missing_ok=True)  # what another attempt has left
                    write(folder / name)
                    return folder / name, self._finished_in(folder / name)
        return None

    def _copy(self, path: Path) -> None:
        """All that the storage's own connection still reads: of a deleted file, everything."""
        backend = database_of(self.file.storage)
        if backend is None:
            raise StorageError("A storage must be a database to be copied, but got another.")
        known = sum(len(self._known(study)) for study in self._studies)  # before the one connection is in use
        with pooled(backend) as connection, contextlib.closing(sqlite3.connect(path)) as target:
            connection.backup(target)
            if not is_whole(target) or self.file.count(target) < known:
                raise sqlite3.DatabaseError("what is left of the file is not whole")

    def _rebuild(self, path: Path) -> None:
        """The comparison's studies, with the finished trials that are in memory; the others wait, under their numbers."""
        target = open_storage(f"sqlite:///{path}")
        for study in self._studies:
            study_id = target.create_new_study(study.directions, study.study_name)
            for key, value in study.user_attrs.items():
                target.set_study_user_attr(study_id, key, value)
            by_number = {trial.number: trial for trial in self._known(study)}
            for number in range(max(by_number, default=-1) + 1):
                waiting = optuna.trial.create_trial(state=TrialState.WAITING)
                target.create_new_trial(study_id, by_number.get(number, waiting))

    def _known(self, study: FrozenStudy) -> list[FrozenTrial]:
        """The study's finished trials that are in memory, after one more attempt to read those that are not."""
        storage, study_id = self._storage, study._study_id
        with contextlib.suppress(*_NOT_WRITTEN):
            storage.refresh(study_id)
        trials: list[FrozenTrial] = []
        if isinstance(storage.inner, JournalStorage):
            trials = storage.inner._replay_result.get_all_trials(study_id, None)
        else:
            with contextlib.suppress(*_NOT_WRITTEN):
                trials = storage.get_all_trials(study_id, deepcopy=False)
        return [trial for trial in trials if trial.state.is_finished()]

    def _finished_in(self, path: Path) -> int:
        return num_finished(open_storage(f"sqlite:///{path}"), self._name)


@contextlib.contextmanager
def rescued(storage: WorkingStorage, name: str) -> Iterator[Rescue]:
    """Inside, the comparison is written to the storage.

    Raises:
        StorageError: its file was lost meanwhile; the message says what became of it, and where what was known of it is now.
    """
    rescue = Rescue(storage, name)
    try:
        yield rescue
    except BaseException as error:
        if lost := rescue.file.lost(thorough=not isinstance(error, KeyboardInterrupt)):
            raise _lost(rescue, name, lost) from error
        raise
    if lost := rescue.file.lost(thorough=True):
        raise _lost(rescue, name, lost)


def _lost(rescue: Rescue, name: str, lost: str) -> StorageError:
    path, written = rescue.file.path, rescue.write()
    first = f"The storage's file must stay while a comparison runs, but {path} {lost}."
    if written is None:
        return StorageError(f"{first} What was finished could not be written elsewhere. The same command starts again.")
    place, count = written
    url = f"sqlite:///{place}"
    return StorageError(
        f"{first} What this process still knew of it, {count} finished trial{'' if count == 1 else 's'}, is in {place}: with the "
        f"storage {url} the same command goes on. See it with:  {shlex.join(['lr-search', 'report', url, name])}"
    )
