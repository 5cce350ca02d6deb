"""Opening an Optuna storage; SQLite in the mode that is fast and safe for several processes."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage

from lr_search.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

StorageLike = str | BaseStorage | None
LOCK_SECONDS = 60  # how long one process waits for another's write


def open_storage(storage: StorageLike, *, must_exist: bool = False) -> BaseStorage:
    """The storage of that URL; an Optuna storage is used as it is; None keeps everything in memory.

    Args:
        storage: a database URL (sqlite:///lr_search.db, postgresql://...), an Optuna storage, or None.
        must_exist: refuse to make a new SQLite file.

    Raises:
        StorageError: it cannot be opened.
    """
    if storage is None:
        return InMemoryStorage()
    if isinstance(storage, BaseStorage):
        return optuna.storages.get_storage(storage)
    if "://" not in str(storage):
        raise StorageError(f"storage must be a database URL, but got {storage!r}. For a file: sqlite:///{storage}")
    try:
        url = sqlalchemy.engine.make_url(storage)
        if url.get_backend_name() == "sqlite":
            return _open_sqlite(storage, url.database, must_exist)
        return optuna.storages.get_storage(_made(lambda: RDBStorage(storage)))
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, OSError, RuntimeError, ValueError) as error:
        told = getattr(error, "orig", None) or (error.__cause__ if isinstance(error, ImportError) else None) or error
        reason = str(told).splitlines()[0].rstrip(".")
        raise StorageError(
            f"storage must be a database that can be opened, but got {storage!r}: {reason}. "
            "Check the path, the server or the driver's package; the default is sqlite:///lr_search.db."
        ) from error


def _open_sqlite(url: str, database: str | None, must_exist: bool) -> BaseStorage:
    in_memory = not database or database == ":memory:"
    if must_exist and not in_memory and not Path(str(database)).exists():
        raise StorageError(f"storage must exist, but there is no file {database}. Run a comparison first.")
    storage = _made(lambda: RDBStorage(url, engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}}))
    if not in_memory:
        sqlalchemy.event.listen(storage.engine, "connect", _on_connect)
        sqlalchemy.event.listen(storage.engine, "begin", _on_begin)
        storage.engine.dispose()  # so that every connection is made through the listeners
    return optuna.storages.get_storage(storage)


def _made(make: Callable[[], RDBStorage]) -> RDBStorage:
    """The storage, with its tables; if another process is making them at this moment, once they are there."""
    for pause in (0.1, 0.2, 0.4, 0.8, 1.6):
        try:
            with _unlogged("alembic"):
                return make()
        except sqlalchemy.exc.DBAPIError as error:
            if not any(words in str(error.orig) for words in ("already exists", "UNIQUE constraint", "duplicate key")):
                raise
            time.sleep(pause)
    return make()


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transaction of its own: _on_begin does
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    # Optuna reads a trial's state and then writes it; without the write lock from the start, two processes that take
    # waiting trials both read WAITING and run the same trial
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def _unlogged(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """No line a study and a trial from Optuna's logger."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
