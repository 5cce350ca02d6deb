"""Opening storages, and SQLite under several processes."""

import contextlib
import math
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from lr_search.errors import StorageError
from lr_search.storage.open import open_storage, quiet_optuna

OPEN = """
import sys, time
from lr_search.storage.open import open_storage
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
open_storage(sys.argv[1]).get_all_studies()
"""

POP = """
import sys, optuna
from lr_search.storage.open import open_storage
optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.load_study(study_name="queue", storage=open_storage(sys.argv[1]))
taken = []
while (number := study._pop_waiting_trial_id()) is not None:
    taken.append(number)
print(*taken)
"""


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.processes)])
def test_processes_take_each_waiting_trial_once(tmp_path: Path, count: int) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with quiet_optuna():
        study = optuna.create_study(study_name="queue", storage=open_storage(url))
        for number in range(20 * count):
            study.enqueue_trial({"x": number})
    command = [sys.executable, "-c", POP, url]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    taken = [int(word) for worker in workers for word in worker.communicate()[0].split()]
    assert len(taken) == 20 * count
    assert len(set(taken)) == 20 * count


@pytest.mark.processes
def test_processes_that_make_one_database_at_once_all_get_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    start = time.time() + 5
    workers = [
        subprocess.Popen([sys.executable, "-c", OPEN, url, str(start)], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [(worker.wait(), worker.communicate()[1]) for worker in workers] == [(0, "")] * 4


def test_sqlite_is_opened_with_a_write_ahead_log(tmp_path: Path) -> None:
    open_storage(f"sqlite:///{tmp_path}/a.db").get_all_studies()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_none_is_memory_and_a_storage_is_used_as_it_is() -> None:
    memory = optuna.storages.InMemoryStorage()
    assert open_storage(memory) is memory
    assert open_storage(None).get_all_studies() == []


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (
            "lr_search.db",
            "storage must be a database URL, but got 'lr_search.db'. For a file: 'sqlite:///lr_search.db'",
        ),
        ("sqlite:////no/such/folder/a.db", "unable to open database file"),
        ("nodialect://somewhere/a", "nodialect"),
        ("postgresql://nobody@127.0.0.1:1/none", "storage must be a database that can be opened"),
    ],
)
def test_a_storage_that_cannot_be_opened_gets_a_message(storage: str, message: str) -> None:
    with pytest.raises(StorageError) as error:
        open_storage(storage)
    assert message in str(error.value)


def test_a_file_that_is_no_database_gets_a_message(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("these are not the bytes you are looking for" * 100)
    with pytest.raises(StorageError, match="file is not a database"):
        open_storage(f"sqlite:///{tmp_path}/a.db")


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no file"):
        open_storage(f"sqlite:///{tmp_path}/a.db", must_exist=True)
    assert list(tmp_path.iterdir()) == []


VALUES = [(0, 0.5), (3, math.inf), (5, -math.inf), (7, math.nan), (9, 1e-300)]


def test_reports_are_stored_as_optuna_stores_them(tmp_path: Path) -> None:
    ours = open_storage(f"sqlite:///{tmp_path}/a.db")
    theirs = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/b.db")
    found = []
    for storage in (ours, theirs):
        trial = optuna.create_study(storage=storage).ask()
        for step, value in VALUES:
            storage.set_trial_intermediate_value(trial._trial_id, step, value)
        storage.set_trial_intermediate_value(trial._trial_id, 3, 2.0)  # again: the later one counts
        found.append(storage.get_trial(trial._trial_id).intermediate_values)
    assert repr(found[0]) == repr(found[1])
    assert found[0][3] == 2.0


def test_a_report_to_a_trial_that_has_ended_or_is_unknown_is_refused_as_optuna_does(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/a.db")
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_intermediate_value(trial._trial_id, 1, 0.5)
    with pytest.raises(KeyError):
        storage.set_trial_intermediate_value(trial._trial_id + 1, 1, 0.5)
    assert storage.get_trial(trial._trial_id).intermediate_values == {}


@pytest.mark.parametrize(
    ("path", "other"), [("a?b.db", "a"), ("a%25b.db", "a%b.db"), ("a%20b.db", "a b.db"), ("what?mode=ro", "what")]
)
def test_a_path_that_would_be_another_files_is_refused_with_that_one(tmp_path: Path, path: str, other: str) -> None:
    if sqlalchemy.engine.make_url(f"sqlite:///{path}").database == path:  # an older SQLAlchemy decodes nothing
        open_storage(f"sqlite:///{tmp_path}/{path}")
        assert [file.name for file in tmp_path.iterdir()] == [path]
        return
    with pytest.raises(StorageError, match=re.escape(f"which would be {tmp_path}/{other}: ")):
        open_storage(f"sqlite:///{tmp_path}/{path}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["a b.db", "100%.db", "a#b.db", "ü.db", "a&b=c.db", "a@b:c.db", "a.db?timeout=5"])
def test_any_other_path_is_the_files(tmp_path: Path, path: str) -> None:
    open_storage(f"sqlite:///{tmp_path}/{path}")
    assert [file.name for file in tmp_path.iterdir()] == [path.partition("?")[0]]


def test_an_index_that_a_killed_process_has_not_made_is_made_by_the_next(tmp_path: Path) -> None:
    url, indexes = (
        f"sqlite:///{tmp_path}/a.db",
        "select name from sqlite_master where type = 'index' and sql is not null",
    )
    open_storage(url)
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        made = connection.execute(indexes).fetchall()
        assert ("ix_studies_study_name",) in made
        for (name,) in made:
            connection.execute(f"drop index {name}")
    open_storage(url)
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute(indexes).fetchall() == made
