"""What is PostgreSQL's own: its URLs, and a server that goes away and comes back."""

import contextlib
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from sqlalchemy.engine import make_url

import lr_search as lrs
from lr_search.errors import MissingPackageError, StorageError
from lr_search.executors.solo_runs import run_trial
from lr_search.storage import open as storages
from lr_search.storage.open import open_storage
from tests.helpers import postgresql, sharing
from tests.helpers.postgresql import Server
from tests.helpers.sharing import begun
from tests.helpers.workloads import line, squared_error

pytestmark = pytest.mark.postgresql

TIMES = ["seconds", "started", "ended", "device", "worker"]
ONE_STUDY: dict[str, Any] = {"strategies": ["grid"], "schedules": ["constant"], "seeds": 1, "budget": 4}


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """One that only these tests stop."""
    if postgresql.programs() is None:
        pytest.skip(postgresql.PACKAGE)
    with postgresql.running_server() as server:
        yield server


@pytest.fixture
def server(own_server: Server) -> Server:
    own_server.stop()
    own_server.start()
    return own_server


def tables(server: Server, url: str) -> int:
    database = make_url(url).database
    assert database is not None
    return int(server.sql(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql", "postgres"])
def test_each_way_to_write_the_url_opens_it(postgresql_server: Server, scheme: str) -> None:
    url = postgresql_server.new_database().replace("postgresql+psycopg", scheme)
    assert open_storage(url).get_all_studies() == []


def test_a_driver_that_is_not_installed_is_told_with_the_command() -> None:
    with pytest.raises(MissingPackageError) as error:
        open_storage("postgresql+psycopg2://me:secret@somewhere/trials")
    assert str(error.value) == (
        "The storage postgresql+psycopg2://me:***@somewhere/trials needs psycopg, version 3 (or the driver that the URL names): "
        'pip install "lr-search[postgresql]".'
    )


def test_a_message_has_no_password() -> None:
    with pytest.raises(StorageError, match=r"me:\*\*\*@127.0.0.1:1/trials'") as error:
        open_storage("postgresql://me:secret@127.0.0.1:1/trials")
    assert "secret" not in str(error.value)


def test_reading_makes_no_tables(postgresql_server: Server) -> None:
    url = postgresql_server.new_database()
    with pytest.raises(StorageError, match=r"is empty\. Run a comparison first"):
        lrs.load(url, "digits")
    assert tables(postgresql_server, url) == 0


def connections(server: Server) -> int:
    return int(server.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'test_%'"))


def no_connection_stays(server: Server) -> bool:
    """The server takes a moment to see that one was closed."""
    deadline = time.monotonic() + 20
    while connections(server) > 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    return connections(server) == 0


def test_no_connection_stays_when_a_storage_goes_or_cannot_be_made(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new_database()
    storage = open_storage(url)
    assert storage.get_all_studies() == []
    assert connections(server) > 0
    del storage
    gc.collect()
    assert no_connection_stays(server)

    def refuse(_: object) -> None:
        raise RuntimeError("made by another version")

    monkeypatch.setattr(optuna.storages._rdb.storage._VersionManager, "check_table_schema_compatibility", refuse)
    with pytest.raises(StorageError, match="made by another version"):
        open_storage(url)
    assert no_connection_stays(server)


def test_a_server_that_is_started_again_is_waited_for(server: Server) -> None:
    storage = open_storage(server.new_database())
    server.stop()
    starting = threading.Timer(1.0, server.start)
    starting.start()
    assert storage.get_all_studies() == []
    starting.join()


def test_a_server_that_is_not_there_at_the_beginning_is_not_waited_for(server: Server) -> None:
    url = server.new_database()
    server.stop()
    begun = time.monotonic()
    with pytest.raises(StorageError, match="Check the path, the server"):
        open_storage(url)
    assert time.monotonic() - begun < storages.SERVER_SECONDS / 2


def test_a_sign_of_life_that_cannot_be_given_is_left_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "SERVER_SECONDS", 0.1)
    job = sharing.tasks(server.new_database(), **ONE_STUDY)[0].ask()
    assert job is not None
    server.stop()
    job.beat()
    server.start()
    job.beat()
    job.release()


def test_a_report_that_cannot_be_made_is_no_fault_of_the_trial(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "SERVER_SECONDS", 0.1)
    task = sharing.tasks(server.new_database(), **ONE_STUDY, pruner=optuna.pruners.NopPruner())[0]
    job = task.ask()
    assert job is not None
    server.stop()
    with pytest.raises(StorageError, match="the same command goes on"):
        run_trial(job.workload, job.spec, job.report)
    server.start()
    job.release()
    assert [trial.state.name for trial in task.trials()] == ["WAITING"]


@pytest.mark.parametrize("pruner", [None, optuna.pruners.NopPruner()])
def test_a_server_lost_in_the_middle_is_told_and_the_same_command_goes_on(
    server: Server, monkeypatch: pytest.MonkeyPatch, pruner: optuna.pruners.BasePruner | None
) -> None:
    monkeypatch.setattr(storages, "SERVER_SECONDS", 0.1)
    calls = {"left": 100}

    def stopping(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        calls["left"] -= 1
        if calls["left"] == 0:
            server.stop()
        return squared_error(model, batch)

    url = server.new_database()
    settings = {**sharing.settings(**ONE_STUDY), "pruner": pruner, "progress": False}
    with pytest.raises(StorageError) as error:
        lrs.compare(line(loss=stopping), storage=url, **settings)
    assert str(error.value).startswith("The storage must answer, but it failed: ")
    assert "once it answers again, the same command goes on" in str(error.value)
    assert "\n" not in str(error.value)
    server.start()
    found = lrs.compare(line(), storage=url, **settings).trials
    undisturbed = lrs.compare(line(), storage=None, **settings).trials
    pd.testing.assert_frame_equal(found.drop(columns=TIMES), undisturbed.drop(columns=TIMES), check_exact=True)


def test_several_processes_outlive_a_restart_or_go_on_after_it(server: Server, tmp_path: Any) -> None:
    url, log = server.new_database(), tmp_path / "log"
    with begun(2, sharing.compare, None, url, log, {"seeds": 1}) as workers:
        while len(sharing.started(log)) < 6:
            assert all(worker.process.is_alive() for worker in workers)
            time.sleep(0.05)
        server.stop()
        server.start()
        for worker in workers:
            try:
                worker.result()
            except AssertionError as error:  # a query was on its way
                assert "lr_search.errors.StorageError: The storage must answer" in str(error)  # noqa: PT017
    with begun(1, sharing.compare, None, url, log, {"seeds": 1}) as (worker,):
        worker.result()
    found = lrs.load(url, sharing.NAME).trials
    undisturbed = lrs.compare(
        line(loss=sharing.slow_error), storage=None, progress=False, **sharing.settings(seeds=1)
    ).trials
    pd.testing.assert_frame_equal(found.drop(columns=TIMES), undisturbed.drop(columns=TIMES), check_exact=True)


def test_the_server_ends_with_its_tests() -> None:
    if postgresql.programs() is None:
        pytest.skip(postgresql.PACKAGE)
    with contextlib.suppress(RuntimeError), postgresql.running_server() as server:
        folder, process = server._folder, server._process
        raise RuntimeError
    assert process is not None
    assert process.poll() is not None
    assert not folder.exists()
