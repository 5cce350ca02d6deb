"""Opening an Optuna storage; SQLite in the mode that is fast and safe for several processes."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.storages._rdb import models
from sqlalchemy.exc import SQLAlchemyError

from lr_search.errors import MissingPackageError, StorageError, quoted
from lr_search.storage.masking import masked_text, masked_url, parsed_url

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Dialect

StorageLike = str | BaseStorage | None
LOCK_SECONDS = 60  # how long one process waits for another's write
SERVER_SECONDS = 60  # how long it waits for a server that is gone, such as one that is started again
# what a database says of a table, a type or a row that is there already; the numbers are SQLSTATE, in any language
MADE_TWICE = ("already exists", "unique", "duplicate", "42p07", "42710", "23505")
FAILURES = (SQLAlchemyError, StorageInternalError, ImportError, OSError, RuntimeError, ValueError)
SQLITE_OPTIONS = {
    "timeout",
    "isolation_level",
    "detect_types",
    "check_same_thread",
    "cached_statements",
    "uri",
}  # in a URL
READS_ONLY = "reads_only"  # an execution option: a transaction that takes no lock
RECORD_GONE = "Record does not exist."  # Optuna's words


def open_storage(storage: StorageLike, *, must_exist: bool = False) -> BaseStorage:
    """The storage of that URL; an Optuna storage is used as it is; None keeps everything in memory.

    Args:
        storage: a database URL (sqlite:///lr_search.db, postgresql://...), an Optuna storage, or None.
        must_exist: refuse to make a new SQLite file, or tables in a database that has none.

    Raises:
        StorageError: it cannot be opened.
        MissingPackageError: the database's driver is not installed.
    """
    if storage is None:
        return InMemoryStorage()
    if isinstance(storage, BaseStorage):
        return optuna.storages.get_storage(storage)
    if "://" not in str(storage):
        raise StorageError(
            f"storage must be a database URL, but got {quoted(storage)}. For a file: {quoted(f'sqlite:///{storage}')}."
        )
    shown = masked_url(storage)
    try:
        url = parsed_url(storage)
    except ValueError as error:
        raise StorageError(
            f"storage must be a URL like postgresql://user:password@host:5432/database, but got {shown}, which cannot be parsed. "
            "Percent-encode what is special in its user and password: @ as %40, / as %2F, : as %3A."
        ) from error
    try:
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() == "sqlite":
            _require_plain_path(storage, url)
            return _open_sqlite(storage, url.database, must_exist)
        return _open_server(url, must_exist)
    except FAILURES as error:
        if isinstance(error, ImportError) and shown.startswith("postgres"):
            raise MissingPackageError(
                f"The storage {shown} needs psycopg, version 3 (or the driver that the URL names): "
                'pip install "lr-search[postgresql]".'
            ) from error
        raise StorageError(
            f"storage must be a database that can be opened, but got {quoted(shown)}: {masked_text(_reason(error), storage)}. "
            "Check the path, the server or the driver's package; the default is sqlite:///lr_search.db."
        ) from error


def _reason(error: BaseException) -> str:
    """Why the storage failed, in one line, and in the words of whatever failed first."""
    while error.__cause__ is not None and isinstance(error, ImportError | StorageInternalError):
        error = error.__cause__
    original = getattr(error, "orig", None) or error
    return (str(original).splitlines() or [type(original).__name__])[0].rstrip(".")


def _require_plain_path(storage: str, url: URL) -> None:
    """Refuse a path that SQLAlchemy and Optuna would read as another one: cut at a ?, or decoded, as newer versions do with %25."""
    path, _, after = storage.partition(":///")[2].partition("?")
    options = {option.partition("=")[0] for option in after.split("&") if after}
    cut = bool(options - SQLITE_OPTIONS) and "uri" not in options
    if cut or (path and path != url.database):
        reason = "a ? begins options" if cut else "a % and two digits stand for one character"
        raise StorageError(
            f"storage must name its file as it is, but got {storage}, which would be {url.database}: {reason}. Rename the file or folder."
        )


def _open_sqlite(url: str, database: str | None, must_exist: bool) -> BaseStorage:
    in_memory = not database or database == ":memory:"
    by_uri = str(database).startswith("file:")
    if must_exist and not in_memory and not Path(str(database)).exists():
        raise StorageError(f"storage must exist, but there is no file {database}. Run a comparison first.")
    storage = _open_database(url, {"connect_args": {"timeout": LOCK_SECONDS}})
    if not in_memory:
        sqlalchemy.event.listen(storage.engine, "connect", _on_connect)
        sqlalchemy.event.listen(storage.engine, "begin", _on_begin)
        if not by_uri:
            address = f"file:{quote(str(Path(str(database)).absolute()))}?mode=rw"
            sqlalchemy.event.listen(storage.engine, "do_connect", partial(_connect_to_file, address))
        storage.engine.dispose()  # so that every connection is made through the listeners
    return optuna.storages.get_storage(storage)


def _open_server(url: URL, must_exist: bool) -> BaseStorage:
    if must_exist:
        engine = sqlalchemy.create_engine(url)
        has_tables = sqlalchemy.inspect(engine).has_table("studies")
        engine.dispose()
        if not has_tables:
            raise StorageError(
                f"storage must exist, but {masked_url(url.render_as_string(hide_password=False))} is empty. Run a comparison first."
            )
    # with pre_ping a connection that the server has closed meanwhile is replaced before it is used
    storage = _open_database(url.render_as_string(hide_password=False), {"pool_pre_ping": True})
    sqlalchemy.event.listen(storage.engine, "do_connect", _connect)
    return optuna.storages.get_storage(storage)


def _connect(dialect: Dialect, _record: object, positional: Any, named: Any) -> Any:
    """Connect again to a server that has answered before: wait a while if it does not."""
    deadline = time.monotonic() + SERVER_SECONDS
    while True:
        try:
            return dialect.connect(*positional, **named)
        except dialect.loaded_dbapi.Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


class _Database(RDBStorage):
    """Closes its connections where it cannot be made, and when nothing uses it any more."""

    def __init__(self, url: str, settings: dict[str, Any]) -> None:
        try:
            super().__init__(url, engine_kwargs=settings)
            if self.engine.dialect.name == "sqlite":
                self._add_indexes()
        except BaseException:
            if hasattr(self, "engine"):
                self.engine.dispose()
            raise
        weakref.finalize(self, self.engine.dispose)

    def _add_indexes(self) -> None:
        """Those that a process killed between a table and its index has not made, nor would any other: two studies could have one name."""
        for table in models.BaseModel.metadata.tables.values():
            for index in table.indexes:
                index.create(self.engine, checkfirst=True)


def _open_database(url: str, settings: dict[str, Any]) -> RDBStorage:
    """The storage, with its tables; if another process is making them at this moment, once they are there."""
    for pause in (0.1, 0.2, 0.4, 0.8, 1.6):
        try:
            with _unlogged("alembic"):
                return _Database(url, settings)
        except sqlalchemy.exc.DBAPIError as error:
            message = f"{error.orig} {getattr(error.orig, 'sqlstate', '')}".lower()
            if not any(words in message for words in MADE_TWICE):
                raise
            time.sleep(pause)
    return _Database(url, settings)


def _connect_to_file(address: str, dialect: Dialect, _record: object, _positional: Any, named: Any) -> Any:
    """Connect to the file that was opened, wherever the process works by now: a new one would be empty, and look like it."""
    return dialect.connect(address, uri=True, **named)


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transaction of its own: _on_begin does
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    # Optuna reads a trial's state and then writes it; without the write lock from the start, two processes that take
    # waiting trials both read WAITING and run the same trial
    reads_only = connection.get_execution_options().get(READS_ONLY)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


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
def storage_errors() -> Iterator[None]:
    """An error of the storage while it is used becomes one that explains it. Raises: StorageError: with the reason, and how to go on."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise StorageError(
            f"The storage must answer, but it failed: {_reason(error)}. What is finished is kept in it: once it answers again, "
            "the same command goes on."
        ) from error
    except KeyError as error:
        if error.args != (RECORD_GONE,):
            raise
        raise StorageError(
            "The storage must keep a comparison while it runs, but another process has deleted this one "
            "(fresh=True, --fresh). The same command starts it again."
        ) from error


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """No lines for each study and trial from Optuna's logger, and no warnings for each trial from its samplers."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Clip non-finite values"
            )  # a divergence's, to which a GP is fitted
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # reported once, before
            yield
    finally:
        optuna.logging.set_verbosity(before)
