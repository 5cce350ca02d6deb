"""load(): comparisons from storages and folders, one or several together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from optuna.storages import BaseStorage

from lr_search.comparison.comparison import Comparison
from lr_search.errors import InvalidInputError, StorageError, quoted, unknown_name
from lr_search.kinds.checked import checked, taken
from lr_search.kinds.kind import PATH
from lr_search.storage.merging import merged
from lr_search.storage.open import StorageLike, open_storage, quiet_optuna, storage_errors
from lr_search.storage.reading import comparison_names
from lr_search.storage.records import StudyRecord

Source = StorageLike | Path
Named = tuple[Source, str]


@checked
def load(storage: Source | Sequence[Source | Named], name: str | None = None) -> Comparison:
    """The comparison of that name, as far as it has come; or several together, of different days or machines.

    Several are one comparison: their studies stand side by side, in the order given. All must train the same. A study that two of
    them have (same strategy, schedule, optimizer and seed: the same trainings) is taken from the one where more of it is finished.

    Args:
        storage: a database URL (sqlite:///lr_search.db), an Optuna storage, or a folder that `Comparison.to_parquet` wrote; or a
            list of these, or of pairs of one and the comparison's name in it.
        name: as given to `compare`; may be left out where a storage holds one comparison only.

    Raises:
        StorageError: a storage does not exist or cannot be opened, or its study of that name is another program's.
        UnknownNameError: it holds no comparison of that name; the message has those it holds.
        InvalidInputError: no name is given, and it holds several.
        FingerprintError: those to be put together trained different things.
    """
    if isinstance(storage, str | Path | BaseStorage) or storage is None:
        return _one(storage, name)
    result = [_one(*(each if isinstance(each, tuple) else (each, name))) for each in storage]
    if not result:
        raise InvalidInputError(
            "storage must be one or several, but got an empty list. Give a database URL, such as sqlite:///lr_search.db."
        )
    names = list(dict.fromkeys(each.name for each in result))
    return Comparison(None, " + ".join(names), read=partial(_read_all, result))


def _one(source: Source, name: str | None) -> Comparison:
    folder = _folder(source)
    if folder is not None:
        from lr_search.results.parquet import parquet_name, read_parquet

        held = parquet_name(folder)
        if name not in (None, held):
            raise unknown_name("comparison", name, [held])
        return Comparison(None, held, read=partial(read_parquet, folder))
    with quiet_optuna(), storage_errors():
        opened = open_storage(source, must_exist=True)  # type: ignore[arg-type]
        return Comparison(opened, _checked(opened, name))


def _folder(source: Source) -> Path | None:
    if isinstance(source, str | Path):
        taken(PATH, "storage", source)
    if isinstance(source, Path):
        return source
    is_path = isinstance(source, str) and "://" not in source and Path(source).is_dir()
    return Path(str(source)) if is_path else None


def _checked(storage: BaseStorage, name: str | None) -> str:
    """The name, if the storage holds a comparison of it; the only one where none is given."""
    names = comparison_names(storage)
    if name in names:
        return str(name)
    if name is None:
        if len(names) == 1:
            return names[0]
        raise InvalidInputError(
            f"name must say which comparison, but got none; the storage holds: {', '.join(names) or 'none'}."
        )
    if name in {study.study_name for study in storage.get_all_studies()}:
        raise StorageError(
            f"A comparison must be one that lr_search made, but {quoted(name)} is a study of another program (or one study of a comparison). "
            f"Comparisons in this storage: {', '.join(names) or 'none'}. For a study of your own: LRPrior.from_study."
        )
    raise unknown_name("comparison", name, names)


def _read_all(comparisons: Sequence[Comparison]) -> list[StudyRecord]:
    return merged([(each.name, each.reload().records) for each in comparisons])
