"""What MLflow reads of a logged comparison, from a database of its own."""

import math
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import optuna
import pandas as pd
import pytest

from lr_search.errors import InvalidInputError, MissingPackageError, OutputError
from tests.helpers.exported_frames import STARTED, tables, trial

from lr_search.report import to_mlflow
from lr_search.report.to_mlflow import log_to_mlflow

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:DeprecationWarning"
)  # MLflow's, of SQLAlchemy 2.1
START = int(STARTED.timestamp() * 1000)
TAG = "lr_search.trial"


def client_of(uri):
    """MLflow's import takes a second: not while tests are collected."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


@pytest.fixture(scope="module", autouse=True)
def no_telemetry():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("DO_NOT_TRACK", "true")
        yield


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """One database for all tests: making its tables takes seconds. Each test has experiments of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def logged(uri, request):
    """Logs to an experiment of the test's own; returns the runs that are there then."""

    def log(*rows, **points):
        name = request.node.name
        experiment = log_to_mlflow(*tables(*rows, **points), tracking_uri=uri, experiment=name)
        client = client_of(uri)
        assert client.get_experiment(experiment).name == name
        return sorted(client.search_runs([experiment], max_results=100), key=lambda run: run.data.tags[TAG])

    return log


def history(uri, run, metric):
    found = client_of(uri).get_metric_history(run.info.run_id, metric)
    return sorted((each.step, each.value, each.timestamp - START) for each in found)


@pytest.mark.long
def test_a_trial_becomes_a_run_of_the_comparison(uri):
    experiment = log_to_mlflow(*tables(trial()), tracking_uri=uri)
    client = client_of(uri)
    assert client.get_experiment(experiment).name == "digits"
    [run] = client.search_runs([experiment])
    assert run.data.params == {
        "lr": "0.1", "strategy": "grid", "schedule": "sgdr", "optimizer": "SGD", "seed": "0", "cycles": "3.0",
    }  # fmt: skip
    assert {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")} == {
        TAG: "digits/grid/sgdr/SGD/0/0", "state": "COMPLETE", "outcome": "finished", "reason": "all its steps", "device": "cpu",
    }  # fmt: skip
    assert run.info.run_name == "grid sgdr SGD seed 0 trial 000"
    assert (run.info.start_time, run.info.end_time, run.info.status) == (START, START + 20_000, "FINISHED")
    assert history(uri, run, "train_loss") == [(50, 2.0, 10_000), (100, 1.0, 20_000)]
    assert history(uri, run, "loss") == [(0, 2.5, 0), (50, 1.5, 10_000), (100, 0.75, 20_000)]
    assert history(uri, run, "lr") == [(0, 0.1, 0), (50, 0.05, 10_000), (100, 0.1, 20_000)]
    finals = {name: history(uri, run, name) for name in ("objective", "steps", "seconds")}
    assert finals == {
        "objective": [(100, 0.75, 20_000)],
        "steps": [(100, 100.0, 20_000)],
        "seconds": [(100, 20.0, 20_000)],
    }


@pytest.mark.parametrize(("state", "status"), [("COMPLETE", "FINISHED"), ("PRUNED", "KILLED"), ("FAIL", "FAILED")])
def test_how_it_ended_is_the_run_s_status(state, status, logged):
    [run] = logged(trial(state=state))
    assert (run.info.status, run.data.tags["state"]) == (status, state)


def test_a_trial_that_runs_is_left_out(logged):
    running = trial(state="RUNNING", outcome=None, steps=None, seconds=np.nan, ended=pd.NaT)
    [run] = logged(running, trial(number=1))
    assert run.data.tags[TAG] == "digits/grid/sgdr/SGD/0/1"


def test_infinite_values_are_left_out_and_nan_stays(uri, logged):
    row = trial(objective=math.inf, outcome="diverged")
    [run] = logged(
        row, points=[(0, np.nan, 0.1, 2.5), (50, math.nan, 0.1, -math.inf), (100, math.inf, np.nan, math.inf)]
    )
    assert "objective" not in run.data.metrics
    assert history(uri, run, "loss") == [(0, 2.5, 0)]
    [(step, value, _)] = history(uri, run, "train_loss")
    assert step == 50
    assert math.isnan(value)
    assert run.data.tags["outcome"] == "diverged"


def test_more_values_than_a_request_takes(uri, logged):
    walk = [(step, 0.5, 0.1, step / 4) for step in range(1200)]
    [run] = logged(trial(steps=1199), points=walk)
    assert [(step, value) for step, value, _ in history(uri, run, "loss")] == [(step, step / 4) for step in range(1200)]


def test_logging_again_adds_only_what_is_new(logged, monkeypatch):
    monkeypatch.setattr(to_mlflow, "PAGE", 2)
    rows = [trial(number=number) for number in range(5)]
    first = logged(*rows)
    again = logged(*rows, trial(number=5))
    assert [run.data.tags[TAG][-1] for run in again] == ["0", "1", "2", "3", "4", "5"]
    assert [run.info.run_id for run in again[:5]] == [run.info.run_id for run in first]


def test_a_trial_that_ran_again_gets_a_run_of_its_own(logged):
    logged(trial())
    runs = logged(trial(ended=STARTED + pd.Timedelta(days=1)))
    assert {run.info.end_time - START for run in runs} == {20_000, 86_400_000}


def test_an_interrupted_logging_is_done_again(uri, logged, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(to_mlflow, "_metrics", lambda point: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            logged(trial())
    client = client_of(uri)
    [run] = logged(trial())
    assert run.info.status == "FINISHED"
    from mlflow.entities import ViewType

    every = client.search_runs([run.info.experiment_id], run_view_type=ViewType.ALL)
    assert sorted(each.info.lifecycle_stage for each in every) == ["active", "deleted"]
    theirs = client.create_run(run.info.experiment_id).info.run_id  # a run of the user's own that still goes on
    log_to_mlflow(*tables(trial()), tracking_uri=uri, experiment=client.get_experiment(run.info.experiment_id).name)
    assert client.get_run(theirs).info.lifecycle_stage == "active"


HOSTILE = ["..", "a/b", "a//b", "a%2Fb", "'; DROP TABLE runs", "<script>", "%", "x" * 600, "x" * 601, ""]


def test_any_name_is_taken_and_kept_apart(uri, logged):
    runs = logged(*(trial(strategy=name, reason="y" * 9000) for name in HOSTILE))
    assert len({run.data.tags[TAG] for run in runs}) == len(HOSTILE)
    assert {run.data.params["strategy"] for run in runs} == set(HOSTILE)
    assert {len(run.data.tags["reason"]) for run in runs} == {to_mlflow.LONGEST_TEXT}
    assert len(logged(*(trial(strategy=name) for name in HOSTILE))) == len(HOSTILE)


def test_any_metric_name_is_taken_and_kept_apart(uri, logged):
    names = [
        *HOSTILE,
        "top-5",
        "/root",
        "../up",
        "./here",
        ".",
        "a:b",
        "a_b",
        "été",
        "lr",
        "x" * 250,
        "valid/top-5 error.1",
    ]
    valid = [to_mlflow.valid_name(name) for name in names]
    assert len(set(valid)) == len(names)
    assert {"été", "lr", "top-5", "valid/top-5 error.1"} <= set(valid)
    [run] = logged(trial())
    client = client_of(uri)
    for number, name in enumerate(valid):
        client.log_metric(run.info.run_id, name, number, step=200)
    metrics = client.get_run(run.info.run_id).data.metrics
    assert {name: metrics[name] for name in valid} == {name: float(number) for number, name in enumerate(valid)}


def test_a_metric_with_a_name_of_ours_is_kept_apart(uri, logged):
    [run] = logged(trial(), metric="lr")
    assert [value for _, value, _ in history(uri, run, "metric/lr")] == [2.5, 1.5, 0.75]
    assert [value for _, value, _ in history(uri, run, "lr")] == [0.1, 0.05, 0.1]


def test_nothing_of_the_process_changes(logged):
    import mlflow

    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mlflow, "set_tracking_uri", lambda uri: 1 / 0)
        assert len(logged(trial())) == 1
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None


def test_several_comparisons_need_an_experiment_named(uri, logged):
    rows = [trial(comparison="a"), trial(comparison="b")]
    with pytest.raises(
        InvalidInputError, match=r"must be of one comparison .* but got comparisons=\['a', 'b'\]. Name one with"
    ):
        log_to_mlflow(*tables(*rows), tracking_uri=uri)
    assert [run.data.tags[TAG][:2] for run in logged(*rows)] == ["a/", "b/"]


def test_a_deleted_experiment_is_told(uri):
    client = client_of(uri)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(
        OutputError, match=r"not deleted, but got 'gone'. Restore it, or name another with experiment=\."
    ):
        log_to_mlflow(*tables(trial()), tracking_uri=uri, experiment="gone")


def test_a_server_that_does_not_answer_is_told_without_the_password():
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(OutputError) as caught:
            log_to_mlflow(*tables(trial()), tracking_uri=f"http://me:secret@127.0.0.1:{port}")
    assert str(caught.value).startswith(f"MLflow must be reached and written to, but got http://***@127.0.0.1:{port}: ")
    assert str(caught.value).endswith("Start its server, or give another tracking_uri.")
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_mlflow_is_told():
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(
                OutputError, match=r"MLflow must be reached and written to, but got http://127.0.0.1.*404"
            ):
                log_to_mlflow(*tables(trial()), tracking_uri=f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "mlflow.db").write_text("a text" * 1000)
    with pytest.raises(OutputError, match=r"MLflow must be reached and written to, but got sqlite.*not a database"):
        log_to_mlflow(*tables(trial()), tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


def test_an_optuna_storage_is_left_alone(tmp_path):
    storage = f"sqlite:///{tmp_path}/lr_search.db"
    optuna.create_study(storage=storage, study_name="mine")
    before = (tmp_path / "lr_search.db").read_bytes()
    with pytest.raises(OutputError, match="it is an Optuna storage"):
        log_to_mlflow(*tables(trial()), tracking_uri=storage)
    assert (tmp_path / "lr_search.db").read_bytes() == before


def test_a_scheme_that_mlflow_does_not_know_is_told():
    with pytest.raises(OutputError, match="MLflow must be reached and written to, but got nowhere://here: "):
        log_to_mlflow(*tables(trial()), tracking_uri="nowhere://here")


def test_without_mlflow_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingPackageError) as caught:
        log_to_mlflow(*tables(trial()))
    assert str(caught.value) == 'to_mlflow needs MLflow: pip install "lr-search[mlflow]".'
