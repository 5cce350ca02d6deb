"""Any storage, as a process works on it."""

from __future__ import annotations

from optuna.storages import BaseStorage

from lr_search.storage.kept_file import database_of
from lr_search.storage.working.database_storage import DatabaseStorage
from lr_search.storage.working.plain_storage import PlainStorage
from lr_search.storage.working.working_storage import WorkingStorage


def working_storage(storage: BaseStorage) -> WorkingStorage:
    """The storage, to work on; one that is that already as it is."""
    if isinstance(storage, WorkingStorage):
        return storage
    database = database_of(storage)
    return PlainStorage(storage) if database is None else DatabaseStorage(storage, database)
