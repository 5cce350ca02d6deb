"""A storage's file that is lost while a comparison runs is noticed, said, and what is still known of it is written beside it."""

import os
import re
import shutil
import sqlite3

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

import lr_search as lrs
from lr_search.errors import StorageError
from lr_search.storage.kept_file import KeptFile
from lr_search.storage.open import open_storage
from tests.helpers.marks import usually
from tests.helpers.workloads import line, squared_error

TIMES = ["seconds", "started", "ended", "device", "worker"]
SETTINGS = {
    "strategies": ["random", "range_test"], "schedules": ["constant"], "range_test": {"num_steps": 20}, "budget": 3, "seeds": 1,
    "lr_range": (1e-3, 0.5), "name": "lost",
}  # fmt: skip
EXECUTORS = {"local": lrs.LocalExecutor(), "fused": lrs.FusedExecutor(width=2)}


def compare(storage, strike=lambda: None, at=120, executor="local", **changes):
    """A comparison in whose course, when the loss is computed for that time, something happens."""
    computed = iter(range(10**9))

    def loss(model, batch):
        if next(computed) == at:
            strike()
        return squared_error(model, batch)

    settings = {**SETTINGS, **changes}
    return lrs.compare(line(loss=loss), storage=storage, executor=EXECUTORS[executor], progress=False, **settings)


def delete(path):
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def delete_the_folder(path):
    shutil.rmtree(path.parent)


def rename(path):
    path.rename(path.with_name("renamed.db"))


def replace(path):
    (path.parent / "other").write_bytes(b"")
    os.replace(path.parent / "other", path)


def replace_by_a_database(path):
    made = optuna.create_study(storage=f"sqlite:///{path.parent}/other")
    made.optimize(lambda trial: 1.0, n_trials=1)
    os.replace(path.parent / "other", path)


def write_down(path):
    """All into the file itself, as SQLite does now and then."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def cut_short(path):
    write_down(path)
    os.truncate(path, 8192)


def empty(path):
    write_down(path)
    os.truncate(path, 0)


def overwrite(path):
    write_down(path)
    with path.open("r+b") as file:
        file.write(b"x" * path.stat().st_size)


GONE, OTHER, CUT = "was deleted or moved away", "was replaced by another file", "was cut short or overwritten"
WAYS = {
    delete: GONE, delete_the_folder: GONE, rename: GONE, replace: OTHER, replace_by_a_database: OTHER, cut_short: CUT, empty: CUT,
    overwrite: CUT,
}  # fmt: skip


def rescued_by(error):
    """The URL in its message, and how many finished trials that is said to have."""
    count, url = re.search(
        r"still knew of it, (\d+) finished trials?, is in .*: with the storage (\S+) the same", str(error)
    ).groups()
    return url, int(count)


def plain(comparison):
    return comparison.trials.drop(columns=TIMES)


@pytest.fixture(scope="module")
def undisturbed():
    return plain(compare(None))


@pytest.mark.parametrize(
    ("way", "executor"),
    usually(
        ["delete", "replace", "empty"],
        [
            *(pytest.param(way, "local", id=way.__name__) for way in WAYS),
            pytest.param(delete, "fused", id="delete, fused"),  # the storage is the same, and watched as it is
        ],
    ),
)
def test_it_is_said_and_what_is_known_goes_on(way, executor, tmp_path, undisturbed):
    path = tmp_path / "folder" / "lr_search.db"
    path.parent.mkdir()
    with pytest.raises(StorageError) as raised:
        compare(f"sqlite:///{path}", lambda: way(path), executor=executor)
    assert f"The storage's file must stay while a comparison runs, but {path} {WAYS[way]}." in str(raised.value)
    url, count = rescued_by(raised.value)
    assert url.startswith(f"sqlite:///{path}.rescued-")
    known = lrs.load(url, "lost")
    assert (
        sum(trial.state in ("COMPLETE", "PRUNED", "FAIL") for study in known.records for trial in study.trials)
        == count
        >= 1
    )
    again = plain(compare(url, executor=executor))
    assert again["lr"].tolist() == undisturbed["lr"].tolist()
    assert again["objective"].to_numpy() == pytest.approx(undisturbed["objective"].to_numpy(), rel=1e-4)


@pytest.mark.parametrize("at", [0, 30])
def test_what_comes_to_light_only_at_the_end(at, tmp_path):
    """Overwritten beneath what memory holds, which a look at the file's place and size does not show."""
    path = tmp_path / "lr_search.db"
    steps = 3 * 2 * 30 + 20  # about as often as the loss is computed
    with pytest.raises(StorageError, match=CUT):
        compare(f"sqlite:///{path}", lambda: overwrite(path), at=steps + at)


def test_storages_of_ones_own_are_watched_too(tmp_path):
    path = tmp_path / "own.db"
    with pytest.raises(StorageError, match=GONE) as raised:
        compare(RDBStorage(f"sqlite:///{path}"), lambda: delete(path))
    assert rescued_by(raised.value)[1] >= 1


@pytest.mark.parametrize("way", usually([delete], [delete, replace, empty]))
def test_a_journal_is_written_from_memory(way, tmp_path, undisturbed):
    path = tmp_path / "journal.log"
    with pytest.raises(StorageError, match=CUT if way is empty else OTHER) as raised:  # Optuna makes a new one
        compare(JournalStorage(JournalFileBackend(str(path))), lambda: way_of(way, path))
    url, count = rescued_by(raised.value)
    assert count >= 1
    again = plain(compare(url))
    assert again["objective"].tolist() == undisturbed["objective"].tolist()


def way_of(way, path):
    os.truncate(path, 0) if way is empty else way(path)


def test_other_comparisons_of_the_file_are_not_counted(tmp_path):
    path = tmp_path / "lr_search.db"
    compare(f"sqlite:///{path}", name="lost/too")
    with pytest.raises(StorageError) as raised:
        compare(f"sqlite:///{path}", lambda: delete(path))
    url, count = rescued_by(raised.value)
    assert count < 5 == len(lrs.load(url, "lost/too").trials)
    with pytest.raises(StorageError, match=r"report .* lost/too$"):
        compare(f"sqlite:///{path}", lambda: delete(path), name="lost/too")


def test_ctrl_c_does_not_hide_it(tmp_path):
    path = tmp_path / "lr_search.db"

    def stop():
        delete(path)
        raise KeyboardInterrupt

    with pytest.raises(StorageError, match=GONE) as raised:
        compare(f"sqlite:///{path}", stop)
    assert isinstance(raised.value.__cause__, KeyboardInterrupt)


def test_where_nothing_can_be_written_that_is_said(tmp_path, monkeypatch):
    path = tmp_path / "lr_search.db"
    monkeypatch.setattr("lr_search.storage.rescue.Rescue._copy", fails)
    monkeypatch.setattr("lr_search.storage.rescue.Rescue._rebuild", fails)
    with pytest.raises(StorageError, match=r"deleted or moved away\. What was finished could not be written elsewhere"):
        compare(f"sqlite:///{path}", lambda: delete(path))


def fails(self, path):
    raise OSError("no space left on device")


# ---- what is no loss ----


def test_a_storage_that_shrinks_is_kept(tmp_path, undisturbed):
    path = tmp_path / "lr_search.db"

    def shrink():
        write_down(path)
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE large AS SELECT randomblob(1000000) AS bytes")
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("DROP TABLE large")
            connection.commit()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    found = compare(f"sqlite:///{path}", shrink)
    assert plain(found).equals(undisturbed)
    file = KeptFile(open_storage(f"sqlite:///{path}"), "lost")
    assert file.lost(thorough=True) == ""


def test_memory_and_servers_have_no_file(tmp_path):
    for storage in (None, "sqlite://", "sqlite:///:memory:"):
        assert KeptFile(open_storage(storage), "lost").path is None


def test_a_workload_that_changes_the_folder_loses_nothing(tmp_path, monkeypatch, undisturbed):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    found = compare("sqlite:///lr_search.db", lambda: os.chdir("elsewhere"))
    assert plain(found).equals(undisturbed)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_database_that_is_gone_is_not_made_again(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/lr_search.db")
    (tmp_path / "lr_search.db").unlink()
    storage._backend.engine.dispose()  # as where another thread needs a connection of its own
    with pytest.raises(optuna.exceptions.StorageInternalError):
        storage.get_all_studies()
    assert not (tmp_path / "lr_search.db").exists()
