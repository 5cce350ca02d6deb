"""Bad input at the command line: exit code 2, the rule, what came, what to do, and no traceback."""

import re
import sqlite3
import subprocess
import sys

import optuna
import pytest
import typer

from lr_search.cli.command_support import errors_printed
from tests.helpers.command_line import SMALL, write

WORKLOADS = {
    "not a workload": (
        "bad = 3", "A workload must be an lr_search.Workload or an lr_search.Trainable, but got 3.", "Build one with lr_search.Workload(...)",
    ),
    "a class": ("class bad: pass", "or an lr_search.Trainable, but got <class", "Build one with"),
    "a function that returns something else": (
        "def bad(): return [good]", "or an lr_search.Trainable, but got [Workload(", "Build one with",
    ),
    "a function that raises": (
        "def bad(): raise OSError('disk on fire')", "bad() must return a workload, but it raised",
        "OSError: disk on fire (work_",
    ),
    "an empty loader": (
        "bad = replace(good, train_data=lambda: [])", "train_data must give batches, but got none.",
        "Check the data set's length",
    ),
    "a loader that turns out to be empty": (
        "bad = replace(good, train_data=lambda: iter([]))", "train_data must give batches, but got none.", "Check",
    ),
    "a loader with one batch": (
        "bad = replace(good, train_data=lambda: [_data])", "at least 2 batches a pass, but got 1",
        "Make batch_size smaller",
    ),
    "an iterator with one batch": (
        "bad = replace(good, train_data=lambda: iter([_data]))", "at least 2 batches a pass, but got 1",
        "Make batch_size smaller",
    ),
    "no validation data": (
        "bad = replace(good, valid_data=lambda: [])", "valid_data must give batches, but got none.", "Check",
    ),
    "no iterable": (
        "bad = replace(good, train_data=lambda: 3)", "train_data must return an iterable of batches", "but got int",
    ),
    "a loss of many numbers": (
        "bad = replace(good, loss=lambda model, batch: model(batch[0]))", "loss(model, batch) must return a scalar tensor",
        "but got a tensor of shape (16, 1). Reduce it with .mean()",
    ),
    "a loss that is a float": (
        "bad = replace(good, loss=lambda model, batch: 3.0)", "must return a scalar tensor, but got float",
        "return no float",
    ),
    "a loss that no weight moves": (
        "bad = replace(good, loss=lambda model, batch: batch[0].mean())", "must depend on the model's parameters",
        "Call the model inside the loss",
    ),
    "a model without parameters": (
        "bad = replace(good, model=nn.Identity)", "The model must have parameters to train, but got none",
        "unfreeze some",
    ),
    "no model": ("bad = replace(good, model=lambda: 3)", "must return a torch.nn.Module", "but got int"),
    "an objective nobody reports": (
        "bad = replace(good, metrics=lambda model, batch: {'loss': 1.0}, objective='f1')",
        "objective must be a metric that metrics(model, batch) reports", "but got 'f1'; reported: loss. Name one of these",
    ),
    "an objective that classification does not have": (
        "def bad(): return replace(good, objective='f1')", "The objective must be one that exists, but got 'f1'", "Known: loss, mae.",
    ),
    "a data set that is not there": (
        "def gone(): raise FileNotFoundError('train.npz')\nbad = replace(good, train_data=gone)",
        "train_data() must return batches, but it raised", "FileNotFoundError: train.npz",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "rule", "remedy"), WORKLOADS.values(), ids=WORKLOADS.keys())
def test_a_workload_that_cannot_be_trained(code, rule, remedy, cli, folder):
    result = cli("compare", f"{write(folder, code)}:bad", *SMALL, code=2)
    assert result.stderr.startswith("error: ")
    assert rule in result.stderr
    assert remedy in result.stderr
    assert not (folder / "report").exists()


MODULES = {
    "raises": ("1 / 0", "it raised ZeroDivisionError: division by zero (work_"),
    "is no Python": ("def f(:", "it raised SyntaxError: invalid syntax (work_"),
    "misses a package": ("import no_such_package_at_all", "No module named 'no_such_package_at_all' (work_"),
    "reads its own arguments": ("import sys\nsys.exit('usage: train.py DATA')", "SystemExit: usage: train.py DATA"),
    "raises over two lines": ("raise ValueError('one\\ntwo')", "it raised ValueError: one two (work_"),
}


@pytest.mark.parametrize(("code", "told"), MODULES.values(), ids=MODULES.keys())
def test_a_module_that_cannot_be_imported(code, told, cli, folder):
    result = cli("compare", f"{write(folder, code)}:good", *SMALL, code=2)
    assert re.match(r"error: The module 'work_\w+' must import, but it raised ", result.stderr)
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_module_that_does_not_exist(cli):
    result = cli("compare", "no_such_module_here:workload", code=2)
    assert "there is no 'no_such_module_here'" in result.stderr
    assert "Run this in the folder that holds it, or install its package." in result.stderr


def test_a_module_inside_one_that_is_no_package(cli, folder):
    name = write(folder)
    assert f"there is no '{name}.inner'" in cli("compare", f"{name}.inner:workload", code=2).stderr


def test_a_name_that_does_not_exist_brings_up_the_nearest(cli, folder):
    name = write(folder)
    result = cli("compare", f"{name}:goood", code=2)
    assert f"The name in {name} must be one that exists, but got 'goood'. Did you mean 'good'?" in result.stderr


@pytest.mark.parametrize("target", ["work", "work:", ":good", ""])
def test_a_target_that_is_no_pair(target, cli):
    stderr = cli("compare", target, code=2).stderr
    assert f"The workload must be given as pkg.mod:name or path/file.py:name, but got {target!r}." in stderr


OPTIONS = {
    "strategy": (["--strategies", "gird"], "The strategy must be one that exists, but got 'gird'. Did you mean 'grid'?"),
    "schedule": (
        ["--schedules", "triangluar2"], "The schedule must be one that exists, but got 'triangluar2'. "
        "Did you mean 'triangular2' or 'triangular'?",
    ),
    "schedule unlike any": (["--schedules", "zzz"], "Known: constant, cosine, exp_range, exponential, inverse_sqrt, linear, one_cycle, "),
    "pruner": (["--pruner", "medain"], "The pruner must be one that exists, but got 'medain'. Did you mean 'median'?"),
    "pruner that needs arguments": (["--pruner", "threshold"], "The pruner must be one that needs no bound, but got 'threshold'."),
    "executor": (["--executor", "loacl"], "The executor must be one that exists, but got 'loacl'. Did you mean 'local'?"),
    "no strategy": (["--strategies", ","], "strategies must name at least one"),
    "strategy twice": (["--strategies", "grid,grid"], "--strategies must differ in name, but got 'grid' twice."),
    "schedule twice": (["--schedules", "sgdr,sgdr"], "schedules must differ in name, but got schedules=['sgdr', 'sgdr']."),
    "LR that is no number": (["--strategies", "mine=high"], "--strategies takes NAME or NAME=LR, but got 'mine=high'."),
    "LR that is negative": (["--strategies", "mine=-0.1"], "lr must be positive and finite, but got lr=-0.1."),
    "budget of nothing": (["--budget", "0"], "budget must be above 0 and at most 100,000 full trainings, but got budget=0.0."),
    "budget that is nan": (["--budget", "nan"], "budget must be a number, but got nan."),
    "budget too small": (
        ["--budget", "0.5"], "budget must pay for one full training of 20 steps in 'grid', but got budget=0.5. Give at least 1.",
    ),
    "budget too small for a range test": (
        ["--strategies", "range_test", "--budget", "2"], "budget must pay for its range test and one full training of 20 "
        "steps in 'range_test', but got budget=2. Give at least 2.35.\n",
    ),
    "budget too small for a long range test": (
        ["--strategies", "range_test", "--budget", "5.5", "--range-test-steps", "100"], "Give at least 7.7. Or have a shorter range test, "
        'of 20 steps (range_test={"num_steps": 20}): then 2.35 is enough.',
    ),
    "LR range upside down": (["--lr-range", "1,0.1"], "lr_range must be (low, high) with 0 < low < high"),
    "LR range of one": (["--lr-range", "1"], "--lr-range must be LOW,HIGH such as 1e-5,10, but got '1'."),
    "storage that is no URL": (
        ["--storage", "some.db"], "storage must be a database URL, but got 'some.db'. For a file: 'sqlite:///some.db'",
    ),
    "storage in a folder that is not there": (
        ["--storage", "sqlite:///no/such/folder/x.db"], "storage must be a database that can be opened, but got "
        "'sqlite:///no/such/folder/x.db': unable to open database file. Check the path",
    ),
    "storage of an unknown kind": (["--storage", "oracel://x"], "storage must be a database that can be opened"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "told"), OPTIONS.values(), ids=OPTIONS.keys())
def test_an_option_that_breaks_a_rule(options, told, cli, folder):
    result = cli("compare", f"{write(folder)}:good", *SMALL, *options, code=2)
    assert result.stderr.startswith("error: ")
    assert told in result.stderr
    assert not (folder / "report").exists()


def test_the_budget_the_message_asks_for_is_enough(cli, folder):
    assert "1 trial " in cli("compare", f"{write(folder)}:good", *SMALL, "--budget", "1", "--dry-run").stdout
    result = cli(
        "compare", f"{write(folder)}:good", *SMALL, "--strategies", "range_test", "--budget", "2.35", "--dry-run"
    )
    assert "at most 2 trials and 47 steps in all" in result.stdout


@pytest.mark.parametrize(
    "command", [("compare",), ("compare", "a:b", "--budget", "much"), ("compare", "a:b", "--seeds", "0")]
)
def test_a_command_that_is_not_understood_shows_how_to_get_help(command, cli):
    assert "--help" in cli(*command, code=2).stderr


def test_a_file_that_is_no_database(cli, folder):
    (folder / "notes.txt").write_text("no database " * 100)
    name = write(folder)
    for command in (("report", "sqlite:///notes.txt"), ("compare", f"{name}:good", "--storage", "sqlite:///notes.txt")):
        assert "'sqlite:///notes.txt': file is not a database." in cli(*command, code=2).stderr
    assert (folder / "notes.txt").read_text() == "no database " * 100


def test_output_that_cannot_be_written_is_found_out_before_anything_runs(cli, folder):
    name = write(folder)
    (folder / "taken").write_text("mine")
    for out in ("taken", "taken/deeper", "/proc/nowhere"):
        result = cli("compare", f"{name}:good", *SMALL, "--out", out, code=2)
        assert f"The output must go to a folder that can be written, but got {out}: " in result.stderr
        assert "Give another with --out." in result.stderr
        assert not result.stdout
    assert not (folder / "lr_search.db").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--start-lr", "1", "--end-lr", "0.1"], "start_lr must be below end_lr, but got start_lr=1.0, end_lr=0.1."),
        (["--start-lr", "0"], "start_lr must be positive, but got start_lr=0.0."),
        (["--num-steps", "3"], "num_steps must be at least 20, but got num_steps=3."),
        (["--ramp", "cubic"], "ramp must be 'exponential' or 'linear', but got 'cubic'."),
        (["--rule", "valey"], "The rule must be one that exists, but got 'valey'. Did you mean 'valley'?"),
        (["--plot", "curve.xyz"], "--plot must name a file that ends in .png, .svg, .pdf, but got curve.xyz."),
        (["--plot", "."], "--plot must name a file that ends in .png, .svg, .pdf, but got ."),
        (["--save", "."], "--save must name a file, but got ., which is a folder."),
        (["--save", "/proc/nowhere/x.json"], "/proc/nowhere: No such file or directory. Give another with --save."),
    ],
)
def test_a_range_test_that_breaks_a_rule(options, told, cli, folder):
    result = cli("range-test", f"{write(folder)}:good", *options, code=2)
    assert told in result.stderr


def test_a_range_test_of_a_bad_workload(cli, folder):
    name = write(
        folder, "one = replace(good, train_data=lambda: [_data])\ndef broken(model, batch): raise ValueError('mine')"
    )
    assert "at least 2 batches a pass" in cli("range-test", f"{name}:one", code=2).stderr


def test_a_users_exception_in_a_range_test_is_told_with_its_place(cli, folder):
    name = write(folder, "def broken(model, batch):\n    raise ValueError('mine')\nbad = replace(good, loss=broken)")
    line = (folder / f"{name}.py").read_text().splitlines().index("    raise ValueError('mine')") + 1
    result = cli("range-test", f"{name}:bad", code=1)
    assert f"it raised ValueError: mine ({name}.py, line {line})." in result.stderr


def test_a_report_of_a_file_that_is_not_there(cli, folder):
    result = cli("report", "sqlite:///nothing.db", code=2)
    assert "storage must exist, but there is no file nothing.db. Run a comparison first." in result.stderr
    assert not (folder / "nothing.db").exists()


def test_a_report_of_a_comparison_that_is_not_there_names_those_that_are(cli, bowl_storage, bowl_comparison):
    result = cli("report", bowl_storage, "bowel", code=2)
    assert (
        f"The comparison must be one that exists, but got 'bowel'. Did you mean '{bowl_comparison.name}'?"
        in result.stderr
    )


def test_a_report_of_a_database_without_comparisons(cli, folder):
    optuna.create_study(storage="sqlite:///other.db", study_name="theirs")
    assert "holds: none" in cli("report", "sqlite:///other.db", code=2).stderr
    assert "'theirs' is a study of another program" in cli("report", "sqlite:///other.db", "theirs", code=2).stderr
    with sqlite3.connect(folder / "other.db") as database:
        assert database.execute("select count(*) from studies").fetchone() == (1,)
    database.close()


def test_the_installed_command_ends_with_2_and_without_a_traceback(folder):
    command = [sys.executable, "-m", "lr_search", "compare", f"{write(folder)}:good", "--storage", "some.db"]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert found.returncode == 2
    assert found.stderr.startswith("error: storage must be a database URL")
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize("there", [False, True])
def test_what_is_stopped_before_it_stored_anything_names_no_storage_to_look_into(there, tmp_path, monkeypatch, capsys):
    """`lr-search report`, as proposed, would say that there is no such file."""
    monkeypatch.setattr(sys, "argv", ["lr-search", "compare", "w.py:workload"])
    if there:
        (tmp_path / "kept.db").touch()
    with pytest.raises(typer.Exit), errors_printed(f"sqlite:///{tmp_path}/kept.db", "w"):
        raise KeyboardInterrupt
    told = capsys.readouterr().err
    assert "Go on with:  lr-search compare w.py:workload\n" in told
    assert ("Nothing is finished yet." in told, "lr-search report" in told) == (not there, there)
