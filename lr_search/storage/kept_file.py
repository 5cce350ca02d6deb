"""Whether the file that a storage writes to is still there, whole, and the one that was opened."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from urllib.parse import quote

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study._frozen import FrozenStudy
from optuna.trial import TrialState

from lr_search.storage.keys import plan_of

FINISHED = tuple(state for state in TrialState if state.is_finished())
_COUNT = f"""
    SELECT COUNT(*) FROM trials JOIN studies USING (study_id)
    WHERE state IN ({", ".join(repr(state.name) for state in FINISHED)}) AND substr(study_name, 1, ?) = ?
"""
_FAILURES = (sqlite3.Error, OSError, ValueError, KeyError, AssertionError)


class KeptFile:
    """The file of a storage, watched from now on.

    A process that has a file open goes on reading and writing it when it is deleted or replaced, and notices nothing: so the
    file's place is compared, and where that does not say enough, what is read through a connection of its own.

    Args:
        storage: kept in an SQLite file or an Optuna journal file; with any other there is nothing to watch.
        name: of the comparison that is written to it.
    """

    def __init__(self, storage: BaseStorage, name: str) -> None:
        self.storage, self._name = storage, name
        self.path = file_of(storage)
        self._seen = None if self.path is None else _look(self.path)

    def lost(self, *, thorough: bool = False) -> str:
        """What has become of the file, in words; empty while it is as it should be.

        Args:
            thorough: read it too, which finds out whether it was overwritten.
        """
        if self.path is None:
            return ""
        now = _look(self.path)
        if now is None or self._seen is None:
            return "was deleted or moved away"
        same = now[:2] == self._seen[:2]
        # SQLite has its file open, so that another one at its place is never its own; a journal is opened again and again
        if not same and (database_of(self.storage) is not None or not self._holds_all(thorough)):
            return "was replaced by another file"
        if (thorough or now[2] < self._seen[2]) and not self._holds_all(thorough):
            return "was cut short or overwritten"
        self._seen = now
        return ""

    def _holds_all(self, thorough: bool) -> bool:
        """Whether who opens the file now finds as many finished trials as this process does."""
        assert self.path is not None
        backend = database_of(self.storage)
        try:
            if backend is None:
                there = JournalStorage(JournalFileBackend(str(self.path)))
                return num_finished(there, self._name) >= num_finished(self.storage, self._name)
            with pooled(backend) as connection:
                here = self.count(connection)
            with contextlib.closing(sqlite3.connect(f"file:{quote(str(self.path))}?mode=ro", uri=True)) as connection:
                whole = not thorough or is_whole(connection)
                return whole and self.count(connection) >= here
        except _FAILURES:
            return False

    def count(self, connection: sqlite3.Connection) -> int:
        """How many trials of the comparison have ended, by what that connection reads."""
        prefix = f"{self._name}/"
        return int(connection.execute(_COUNT, (len(prefix), prefix)).fetchone()[0])


def database_of(storage: BaseStorage) -> RDBStorage | None:
    """The database behind Optuna's cache."""
    backend = getattr(storage, "_backend", storage)
    return backend if isinstance(backend, RDBStorage) else None


def file_of(storage: BaseStorage) -> Path | None:
    """The file that a storage is kept in; None for memory and for servers."""
    backend = database_of(storage)
    if backend is not None:
        url = backend.engine.url
        plain = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
        return Path(str(url.database)).absolute() if plain and not str(url.database).startswith("file:") else None
    journal = getattr(storage, "_backend", None)
    return Path(journal._file_path).absolute() if isinstance(journal, JournalFileBackend) else None


@contextlib.contextmanager
def pooled(backend: RDBStorage) -> Iterator[sqlite3.Connection]:
    """One of the connections that the storage has, which still reads a file that was deleted."""
    raw = backend.engine.raw_connection()
    try:
        yield cast("sqlite3.Connection", raw.driver_connection)
    finally:
        raw.close()


def is_whole(connection: sqlite3.Connection) -> bool:
    """Whether SQLite finds nothing amiss in all of the file."""
    return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))


def _look(path: Path) -> tuple[int, int, int] | None:
    """Device, inode and size. Never opens the file: to close it again would drop SQLite's locks on it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size


def studies_of(storage: BaseStorage, name: str) -> list[FrozenStudy]:
    """The studies of the comparison of that name, as they are stored."""
    return [s for s in storage.get_all_studies() if (plan_of(s.user_attrs) or {}).get("comparison") == name]


def num_finished(storage: BaseStorage, name: str) -> int:
    """How many trials of the comparison have ended."""
    ids = (study._study_id for study in studies_of(storage, name))
    return sum(len(storage.get_all_trials(study_id, deepcopy=False, states=FINISHED)) for study_id in ids)
