"""What TensorBoard reads of an exported comparison."""

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

from lr_search.errors import InvalidInputError, MissingPackageError, OutputError
from lr_search.report.to_tensorboard import write_tensorboard
from tests.helpers.exported_frames import STARTED, tables, trial

RUN = Path("digits", "grid", "sgdr", "SGD", "seed 0", "trial 000")
PLUGIN = "hparams"


def read(run):
    found = EventAccumulator(str(run))
    found.Reload()
    return found


def points(run, tag):
    return [(event.step, event.value) for event in read(run).Scalars(tag)]


def runs(directory):
    return sorted({file.parent.relative_to(directory) for file in directory.rglob("*tfevents*")})


def hyperparameters(run):
    content = read(run).PluginTagToContent(PLUGIN)
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    return {name: value.string_value or value.number_value for name, value in start.hparams.items()}


def test_every_value_is_there_at_its_step(tmp_path):
    assert write_tensorboard(*tables(trial()), tmp_path / "runs") == tmp_path / "runs"
    assert runs(tmp_path / "runs") == [RUN]
    run = tmp_path / "runs" / RUN
    assert points(run, "train_loss") == [(50, 2.0), (100, 1.0)]  # none at step 0: nothing has been trained on
    assert points(run, "loss") == [(0, 2.5), (50, 1.5), (100, 0.75)]
    assert points(run, "lr") == [(step, float(np.float32(lr))) for step, lr in ((0, 0.1), (50, 0.05), (100, 0.1))]
    assert points(run, "objective") == [(100, 0.75)]
    assert points(run, "steps") == [(100, 100.0)]
    assert points(run, "seconds") == [(100, 20.0)]


def test_times_go_evenly_from_start_to_end(tmp_path):
    write_tensorboard(*tables(trial()), tmp_path)
    times = [event.wall_time - STARTED.timestamp() for event in read(tmp_path / RUN).Scalars("loss")]
    assert times == [0.0, 10.0, 20.0]


def test_a_pruned_training_ends_at_its_last_step(tmp_path):
    row = trial(steps=50, state="PRUNED", outcome="pruned", objective=1.5)
    write_tensorboard(*tables(row, points=[(0, np.nan, 0.1, 2.5), (50, 2.0, 0.1, 1.5)]), tmp_path)
    loss = read(tmp_path / RUN).Scalars("loss")
    assert [event.wall_time - STARTED.timestamp() for event in loss] == [0.0, 20.0]
    assert hyperparameters(tmp_path / RUN)["outcome"] == "pruned"


def test_the_hyperparameters_stand_in_the_same_run(tmp_path):
    write_tensorboard(*tables(trial(), trial(number=1, schedule="triangular", cycles=np.nan, T_mult=2.0)), tmp_path)
    common = {"lr": 0.1, "strategy": "grid", "optimizer": "SGD", "seed": 0.0, "outcome": "finished"}
    assert hyperparameters(tmp_path / RUN) == {**common, "schedule": "sgdr", "cycles": 3.0}
    other = tmp_path / "digits" / "grid" / "triangular" / "SGD" / "seed 0" / "trial 001"
    assert hyperparameters(other) == {**common, "schedule": "triangular", "T_mult": 2.0}
    for run in (tmp_path / RUN, other):  # the page takes the columns from any one run
        content = read(run).PluginTagToContent(PLUGIN)[metadata.EXPERIMENT_TAG]
        experiment = metadata.parse_experiment_plugin_data(content)
        types = {info.name: info.type for info in experiment.hparam_infos}
        assert set(types) == {*common, "schedule", "cycles", "T_mult"}
        assert types["lr"] == api_pb2.DATA_TYPE_FLOAT64
        assert types["schedule"] == api_pb2.DATA_TYPE_STRING
        assert [info.name.tag for info in experiment.metric_infos] == ["objective", "steps"]


@pytest.mark.parametrize(
    ("state", "status"),
    [("COMPLETE", api_pb2.STATUS_SUCCESS), ("PRUNED", api_pb2.STATUS_SUCCESS), ("FAIL", api_pb2.STATUS_FAILURE)],
)
def test_the_session_says_when_it_ran_and_how_it_ended(state, status, tmp_path):
    write_tensorboard(*tables(trial(state=state)), tmp_path)
    content = read(tmp_path / RUN).PluginTagToContent(PLUGIN)
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert (start.start_time_secs, end.end_time_secs) == (STARTED.timestamp(), STARTED.timestamp() + 20)
    assert end.status == status


def test_infinite_values_are_left_out_and_nan_stays(tmp_path):
    row = trial(objective=math.inf, outcome="diverged")
    walk = [
        (0, np.nan, 0.1, 2.5),
        (50, math.nan, 0.1, math.inf),
        (100, math.inf, np.nan, 1e39),
    ]  # 1e39 is infinite as float32
    write_tensorboard(*tables(row, points=walk), tmp_path)
    run = tmp_path / RUN
    assert "objective" not in read(run).Tags()["scalars"]
    assert points(run, "loss") == [(0, 2.5)]
    assert points(run, "lr") == [(step, float(np.float32(0.1))) for step in (0, 50)]
    [(step, value)] = points(run, "train_loss")
    assert step == 50
    assert math.isnan(value)
    assert hyperparameters(run)["outcome"] == "diverged"


@pytest.mark.parametrize("name", ["lr", "objective", "steps", "seconds"])
def test_a_metric_with_a_name_of_ours_is_kept_apart(name, tmp_path):
    write_tensorboard(*tables(trial(), metric=name), tmp_path)
    assert points(tmp_path / RUN, f"metric/{name}") == [(0, 2.5), (50, 1.5), (100, 0.75)]
    assert len(points(tmp_path / RUN, name)) == (3 if name == "lr" else 1)


def test_a_trial_that_runs_or_has_nothing_to_show(tmp_path):
    running = trial(state="RUNNING", outcome=None, steps=None, seconds=np.nan, ended=pd.NaT)
    failed = trial(number=1, lr=np.nan, state="FAIL", outcome="failed", objective=np.nan, steps=0, ended=pd.NaT)
    trials, evaluations = tables(running, failed)
    write_tensorboard(trials, evaluations[evaluations["number"] == 0], tmp_path)
    assert runs(tmp_path) == [RUN.parent / "trial 001"]
    found = read(tmp_path / RUN.parent / "trial 001")
    assert sorted(found.Tags()["scalars"]) == ["seconds", "steps"]
    assert found.Scalars("steps")[0].wall_time == STARTED.timestamp()
    assert "lr" not in hyperparameters(tmp_path / RUN.parent / "trial 001")


def test_writing_again_doubles_nothing(tmp_path):
    write_tensorboard(*tables(trial()), tmp_path)
    [file] = (tmp_path / RUN).iterdir()
    before = file.stat()
    write_tensorboard(*tables(trial()), tmp_path)
    assert [each.name for each in (tmp_path / RUN).iterdir()] == [file.name]
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(points(tmp_path / RUN, "loss")) == 3


def test_a_trial_that_ran_again_replaces_what_was_written(tmp_path):
    theirs = tmp_path / RUN / "events.out.tfevents.1.other"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"")
    write_tensorboard(*tables(trial()), tmp_path)
    later = trial(started=STARTED + pd.Timedelta(days=1), ended=STARTED + pd.Timedelta(days=2))
    write_tensorboard(*tables(later, points=[(0, np.nan, 0.1, 9.0)]), tmp_path)
    assert points(tmp_path / RUN, "loss") == [(0, 9.0)]
    assert theirs.exists()
    write_tensorboard(*tables(later, points=[(0, np.nan, 0.1, 8.0)]), tmp_path)  # the same end, other values
    assert points(tmp_path / RUN, "loss") == [(0, 8.0)]


HOSTILE = [
    "..",
    ".",
    "",
    "/etc/passwd",
    "../../up",
    "a/b",
    "a_b",
    "a:b",
    "a\\b",
    "a\0b",
    "CON",
    "nul.txt",
    "Abc",
    "abc",
    "x" * 400,
    "x" * 401,
    "é" * 300,
]


def test_names_stay_under_the_directory_and_apart(tmp_path):
    rows = [trial(comparison=name) for name in HOSTILE] + [trial(strategy=name) for name in HOSTILE]
    inside = tmp_path / "inside"
    write_tensorboard(*tables(*rows), inside)
    assert [each.name for each in tmp_path.iterdir()] == ["inside"]
    found = runs(inside)
    assert len(found) == len(rows)
    assert {len(run.parts) for run in found} == {len(RUN.parts)}
    assert len({str(run).casefold() for run in found}) == len(rows)
    assert {len(points(inside / run, "loss")) for run in found} == {3}
    devices = {part for run in found for part in run.parts if part.split(".")[0].casefold() in ("con", "nul")}
    assert devices == set()  # which are no files on Windows


def test_usual_names_are_kept(tmp_path):
    write_tensorboard(*tables(trial(strategy="tpe+range_test", schedule="sgdr (T_mult=2)")), tmp_path)
    assert runs(tmp_path) == [Path("digits", "tpe+range_test", "sgdr (T_mult=2)", "SGD", "seed 0", "trial 000")]


@pytest.mark.parametrize("taken", ["runs", "runs/digits/grid"])
def test_a_file_in_the_way_is_told(taken, tmp_path):
    file = tmp_path / taken
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("a file")
    with pytest.raises(
        OutputError, match=f"The runs must go to a folder .* but got .*{taken}.*: .* Give another folder"
    ):
        write_tensorboard(*tables(trial()), tmp_path / "runs")
    assert file.read_text() == "a file"


def test_a_trial_that_is_there_twice_is_told(tmp_path):
    with pytest.raises(InvalidInputError, match=r"Each trial must be in the table once, but got .*'number': 0"):
        write_tensorboard(*tables(trial(), trial()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_tensorboard_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(MissingPackageError) as caught:
        write_tensorboard(*tables(trial()), tmp_path)
    assert str(caught.value) == 'to_tensorboard needs TensorBoard: pip install "lr-search[tensorboard]".'
