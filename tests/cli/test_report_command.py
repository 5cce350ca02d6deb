"""lr-search report: formats for other programs, exit codes, several storages, and watching a comparison that runs."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pandas as pd
import pytest

import lr_search as lrs
from lr_search.report.notebook import comparison_html
from lr_search.report.page import page_html
from lr_search.report.terminal import FORMATS, as_text
from lr_search.results.findings import Findings
from tests.helpers.bowl import compare_in_bowl
from tests.helpers.ray_drivers import states
from tests.helpers.study_records import study

pytestmark = pytest.mark.usefixtures("quick_pictures")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    found = f"sqlite:///{tmp_path_factory.mktemp('report')}/bowl.db"
    compare_in_bowl(found, strategies=["grid", "random"], seeds=3, schedules=["constant"])
    return found


def test_the_table_is_in_the_terminal_and_the_report_in_the_folder(cli, url, tmp_path):
    result = cli("report", url, "--out", tmp_path / "there")
    best = lrs.load(url).recommend()
    lines = result.stdout.splitlines()
    assert lines[0] == f"Train with: constant, learning rate {best.lr:.3g}, SGD"
    assert 70 < max(map(len, lines[:-1])) <= 80  # as by print, also where it goes to a pipe; last is the report's path
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["strategy", "schedule", "loss", "at", "LR", "steps", "trials"]
    rows = lrs.load(url).trials.groupby(["strategy", "seed"], observed=True)
    bests = rows["objective"].min().groupby("strategy", observed=True).mean()
    told = {words[0]: float(words[2]) for words in (line.split() for line in table[1:3])}
    assert told == {str(name): pytest.approx(value, rel=1e-3) for name, value in bests.items()}
    assert (tmp_path / "there" / "report.html").exists()


def test_json_is_read_back(cli, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = json.loads(cli("report", url, "--format", "json").stdout)
    found = lrs.load(url)
    assert told["name"] == "bowl"
    assert told["recommendation"] == found.recommend().to_json()
    assert [row["best"] for row in told["summary"]] == found.summary(full=True)["best"].tolist()
    assert [row["worse_by"] for row in told["pairwise"]] == found.pairwise()["worse_by"].tolist()
    assert {row["part"] for row in told["costs"]} >= {"finished", "diverged"}
    assert (told["running"], told["lack"]) == (0, None)
    assert list(tmp_path.iterdir()) == []  # what is printed for other programs writes nothing


def test_csv_is_the_summary_and_md_and_html_are_those_of_the_folder(cli, url, tmp_path):
    folder = lrs.load(url).save(tmp_path).parent
    assert cli("report", url, "--format", "csv").stdout == (folder / "summary.csv").read_text()
    assert cli("report", url, "--format", "md").stdout == (folder / "summary.md").read_text()
    csv = pd.read_csv(io.StringIO(cli("report", url, "--format", "csv").stdout), dtype=str)
    assert [float(text) for text in csv["best"]] == lrs.load(url).summary(full=True)["best"].tolist()
    html = cli("report", url, "--format", "html").stdout
    assert html.startswith("<!doctype html>")
    assert html.rstrip().endswith("</html>")


@pytest.mark.parametrize("form", ["text", "md", "csv", "json", "html"])
def test_without_an_answer_the_exit_code_is_3_and_the_report_says_so(form, cli, tmp_path):
    empty = f"sqlite:///{tmp_path}/empty.db"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lr_search.executors.local.LocalExecutor.run", lambda *_: None)
        compare_in_bowl(empty)
    result = cli("report", empty, "--format", form, "--out", tmp_path / "out", code=3)
    assert "No trial is complete yet" in result.stdout or form == "csv"


def test_two_storages_are_reported_as_one(cli, url, tmp_path):
    other = f"sqlite:///{tmp_path}/other.db"
    compare_in_bowl(other, strategies=["tpe"], seeds=3, schedules=["constant"])
    told = json.loads(cli("report", url, "--also", other, "--format", "json").stdout)
    assert {row["strategy"] for row in told["summary"]} == {"grid", "random", "tpe"}


def test_what_two_storages_both_hold_is_a_note(cli, url, tmp_path):
    other = f"sqlite:///{tmp_path}/other.db"
    compare_in_bowl(other, strategies=["grid"], seeds=1, schedules=["constant"])
    result = cli("report", url, "--also", other, "--format", "csv")
    assert result.stderr.startswith("note: 1 study is in more than one of the comparisons")
    assert ".py" not in result.stderr


def test_watching_prints_a_table_only(cli, url):
    result = cli("report", url, "--watch", "--format", "json", code=2)
    assert "--watch shows a table, but got --format json" in result.stderr


def test_watching_a_comparison_that_nobody_works_on_ends_by_itself(cli, url, tmp_path):
    result = cli("report", url, "--watch", "--every", "0.1", "--out", tmp_path / "out")
    assert "Nobody works on it any more." in result.stdout
    assert result.stdout.count("Train with") == 2  # once while watching, once at the end
    assert (tmp_path / "out" / "report.html").exists()


RUN = """
import sys, time
import lr_search as lrs
from tests.helpers.bowl import bowl
slow = lambda model, batch: (time.sleep(0.02), (model(batch) ** 2).mean())[1]
lrs.compare(bowl(loss=slow), strategies=["grid"], schedules=["constant"], budget=int(sys.argv[2]), seeds=1, storage=sys.argv[1],
            name="bowl", lr_range=(1e-3, 0.5))
"""


def started(folder, budget):
    """A comparison in a process of its own, of which a trial has ended. Returns: the process, and the storage's URL."""
    url = f"sqlite:///{folder}/trials.db"
    program = subprocess.Popen([sys.executable, "-c", RUN, url, str(budget)], stdout=subprocess.DEVNULL)
    wait(lambda: "COMPLETE" in states(folder))
    return program, url


def wait(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def watch(url, folder):
    return ["report", url, "--watch", "--every", "0.5", "--out", str(folder / "out")]


@pytest.mark.processes
def test_watching_follows_a_comparison_to_its_end(cli, tmp_path):
    program, url = started(tmp_path, budget=20)
    seen = cli(*watch(url, tmp_path)).stdout
    assert program.wait(60) == 0
    assert "running." in seen  # while it ran
    assert len({line for line in seen.splitlines() if line.startswith("grid")}) > 1  # and changed
    last = seen[seen.rindex("Train with") :]
    assert "running." not in last
    assert f"Train with: constant, learning rate {lrs.load(url).recommend().lr:.3g}" in last


@pytest.mark.processes
def test_a_killed_comparison_is_not_watched_for_ever_and_ctrl_c_ends_watching(cli, tmp_path):
    program, url = started(tmp_path, budget=400)
    command = [sys.executable, "-m", "lr_search", *watch(url, tmp_path)]
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background of a shell ignores it
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeded)
    wait(lambda: (tmp_path / "out" / "report.html").exists())
    watching.send_signal(signal.SIGINT)
    told, error = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert (error, "Report: " in told) == ("", True)
    os.kill(program.pid, signal.SIGKILL)
    program.wait()
    assert "Nobody works on it any more." in cli(*watch(url, tmp_path)).stdout


@pytest.mark.parametrize("width", [80, 50])
def test_no_line_is_wider_than_the_terminal_however_long_a_name(width):
    records = [study([(0.1, 0.5), (0.2, 0.4)], strategy=name, seed=s) for name in ("grid", "x" * 90) for s in range(3)]
    lines = as_text(Findings("by hand", records), width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.count("x") for line in lines[lines.index("") + 2 :]) == 90


def test_a_name_with_line_breaks_breaks_no_row_and_is_no_markup():
    records = [study([(0.1, 0.5)], strategy="two\nlines", schedule="[red]:smile:")]
    assert "\ntwo lines  [red]:smile:   0.5    0.1     10       1" in as_text(Findings("by hand", records), 120)


def test_one_line_says_why_the_best_row_is_not_the_answer():
    lucky = [study([(0.1, 0.4), (0.11, 0.1), (0.12, 0.5)], seed=seed) for seed in range(3)]
    lines = as_text(Findings("by hand", lucky), 80).splitlines()
    assert lines[-1] == "Rows show each seed's best trial, partly luck; the answer averages all nearby."
    fresh = [study([(lr, 0.5)], kind="confirm", seed=9) for lr in (0.1, 0.11, 0.12)]
    lines = as_text(Findings("by hand", [*lucky, *fresh]), 80).splitlines()
    assert lines[-1] == "Rows show each seed's best trial, partly luck; the answer is of fresh seeds."
    alone = as_text(Findings("by hand", [study([(0.1, 0.4)])]), 80).splitlines()
    assert alone[-1].split() == ["grid", "constant", "0.4", "0.1", "10", "1"]


def test_an_answer_before_every_study_has_a_trial_says_so_everywhere():
    records = [study([(0.1, 0.5)]), study([], seed=1), study([], seed=2)]
    told = "Not finished: 2 of 3 studies have no trial yet; started again, it goes on."
    findings = Findings("by hand", records)
    shown = [as_text(findings, 120), *(FORMATS[form](findings) for form in ("md", "html")), comparison_html(findings)]
    assert [told in text for text in shown] == [True] * 4
    assert "more steps, and first what is left of the search" in page_html(findings)
    pilots = [study([(0.1, 0.5)], kind="pilot", strategy="transfer"), study([], strategy="transfer")]
    assert Findings("by hand", [records[0], *pilots]).not_begun == ""  # they may be all that is paid for


def test_running_trials_are_counted():
    text = as_text(Findings("by hand", [study([(0.1, 0.5), (0.2, "RUNNING"), (0.3, "RUNNING")])]), 120)
    assert text.endswith("1 trial is done, 2 running.")
