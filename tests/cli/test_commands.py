"""The command line at work: list, range-test, compare and report; what is trained again and what is not."""

import json
import math
import re
from importlib.metadata import version

import optuna
import pandas as pd
import pytest

import lr_search as lrs
from tests.helpers.command_line import SMALL, write
from tests.helpers.workloads import line

pytestmark = pytest.mark.usefixtures("quick_pictures")

FIGURES = ("best_so_far", "learning_curves", "objective_by_lr")  # of one strategy, under a constant LR, by one process
TABLES = ("basins", "pairwise", "summary", "trials")
FILES = {f"{name}.{end}" for name in FIGURES for end in ("png", "svg")} | {f"{name}.csv" for name in TABLES}
FILES |= {"report.html", "summary.md", "recommendation.json"}
BAR = re.compile(r"\r|\d+%\||it/s|step/s|trials:")


def searched(name):
    """A comparison of one trial in the default storage of the current folder."""
    return lrs.compare(
        line(),
        strategies=["grid"],
        schedules=["constant"],
        lr_range=(1e-5, 10.0),
        budget=1,
        seeds=1,
        storage="sqlite:///lr_search.db",
        name=name,
    )


def trials(folder, out="report"):
    return pd.read_csv(folder / out / "trials.csv")


def test_list_names_everything_there_is(cli):
    lines = cli("list").stdout.splitlines()
    named = {}
    for text in lines:
        if not text.startswith(" "):
            named[title := text] = []
        else:
            named[title].append(text.split()[0])
            assert len(text.split()) > 3  # and says what it is
    assert set(named) == {"strategies", "schedules", "optimizers", "ranges", "rules", "executors"}
    assert set(named["strategies"]) >= {"grid", "random", "range_test"}
    assert set(named["schedules"]) >= {"constant", "triangular", "triangular2", "exp_range", "sgdr"}
    assert set(named["optimizers"]) == set(lrs.optimizers.NAMES)
    assert set(named["rules"]) == set(lrs.suggest.RULES) >= {"minimum", "steepest", "valley", "gain_ratio"}
    assert "local" in named["executors"]
    assert "  SGD-like           LRs from 0.0001 to 10 are searched where no range is given" in lines
    assert [text.split()[0] for text in lines if text.endswith("(default)")] == [lrs.suggest.DEFAULT_RULE]


def test_without_a_command_the_help_is_shown(cli):
    older = tuple(map(int, version("click").split(".")[:2])) < (8, 2)
    text = cli(code=0 if older else 2).output
    assert all(command in text for command in ("demo", "range-test", "compare", "report", "list"))


def test_compare_with_pilots_alone_prints_what_they_tell_and_exits_with_0(cli, folder):
    module = write(folder, "long = replace(good, num_steps=480)")
    options = (
        "--strategies",
        "transfer",
        "--schedules",
        "cosine",
        "--range-test-steps",
        "20",
        "--budget",
        "0.3",
        "--seeds",
        "1",
    )
    result = cli("compare", f"{module}:long", *options)
    told = re.search(r"LR ([\d.]+) \(80% between", " ".join(result.stdout.split()))
    assert len(trials(folder)) == 0
    (found,) = json.loads(cli("report", "sqlite:///lr_search.db", "--format", "json").stdout)["transfers"]
    assert f"{found['lr']:.3g}" == told[1]
    assert found["steps"] <= 0.3 * 480


def test_compare_writes_the_report_and_prints_the_winner(cli, folder):
    result = cli("compare", f"{write(folder)}:good", *SMALL)
    assert {path.name for path in (folder / "report").iterdir()} == FILES
    found = trials(folder)
    assert len(found) == 2
    # two points in a range of six decades are too far apart to speak for each other: the lower wins
    assert math.log10(found["lr"].max() / found["lr"].min()) == pytest.approx(3)
    best = found.loc[found["objective"].idxmin()]
    assert f"Train with: constant, learning rate {best.lr:.3g}, SGD" in result.stdout
    assert f"Expect loss {best.objective:.4g}: " in result.stdout
    assert result.stdout.endswith("Report: report/report.html\n")
    assert result.stderr == ""
    assert not BAR.search(result.output)  # nobody looks at a terminal


@pytest.mark.parametrize(("today", "under"), [("1e-3", "constant"), ("1e-3,cosine", "cosine")])
def test_compare_tells_the_answer_against_what_is_used_today(today, under, cli, folder):
    result = cli("compare", f"{write(folder)}:good", *SMALL, "--today", today)
    recorded = json.loads((folder / "report" / "recommendation.json").read_text())["against_today"]
    assert (recorded["lr"], recorded["schedule"], recorded["steps"]) == (1e-3, under, 2 * 20)
    said = " ".join(result.stdout.splitlines())
    assert f"{recorded['sentence']} Train with: constant" in said
    again = cli("report", "sqlite:///lr_search.db", "--out", "there").stdout
    assert again.startswith(recorded["sentence"][:40])
    assert (folder / "there" / "summary.md").read_text().splitlines()[2] == recorded["sentence"]


@pytest.mark.parametrize("today", ["fast", "1e-3,", "1e-3,cosine,sgdr", ""])
def test_today_is_an_lr_and_maybe_a_schedule(today, cli, folder):
    result = cli("compare", f"{write(folder)}:good", *SMALL, "--today", today, code=2)
    assert f"--today must be LR or LR,SCHEDULE such as 3e-4,cosine, but got {today!r}." in result.stderr


def test_compare_says_what_it_will_cost_before_it_begins(cli, folder):
    name = write(folder)
    options = ("--strategies", "grid,random,mine=0.1", "--schedules", "constant,sgdr", "--budget", "3", "--seeds", "2")
    lines = cli("compare", f"{name}:good", *options, "--dry-run").stdout.splitlines()
    assert lines[0] == (
        f"{name}:good: 12 studies (3 strategies x 2 schedules x 1 optimizer x 2 seeds), "
        "budget 3 full trainings of 20 steps each"
    )
    # grid and random 3 trainings each, a fixed LR one: (3 + 3 + 1) x 2 schedules x 2 seeds, of 20 steps
    assert lines[1] == "SGD: LRs from 0.0001 to 10 (SGD-like)"
    assert lines[2].startswith("at most 28 trials and 560 steps in all: about ")
    assert len(lines) == 3


def test_a_dry_run_writes_nothing(cli, folder):
    name = write(folder)
    cli("compare", f"{name}:good", *SMALL, "--dry-run")
    assert {path.name for path in folder.iterdir()} <= {f"{name}.py", "__pycache__"}


def test_a_dry_run_leaves_what_the_storage_holds_alone_even_with_fresh(cli, folder):
    found = searched("mine")
    cli("compare", f"{write(folder)}:good", *SMALL, "--name", "mine", "--dry-run", "--fresh")
    assert found.reload().trials["started"].tolist() == found.trials["started"].tolist()


def test_the_same_command_again_trains_nothing_and_a_larger_budget_goes_on(cli, folder):
    name = write(folder)
    first = cli("compare", f"{name}:good", *SMALL)
    written, before = (folder / "report" / "trials.csv").read_bytes(), trials(folder)
    again = cli("compare", f"{name}:good", *SMALL)
    assert (folder / "report" / "trials.csv").read_bytes() == written  # with the times at which each trial began
    assert again.stdout.splitlines()[-5:] == first.stdout.splitlines()[-5:]

    cli("compare", f"{name}:good", *SMALL, "--budget", "4")
    after = trials(folder)
    assert len(after) == 4
    assert after.head(2)[["lr", "objective", "started"]].equals(before[["lr", "objective", "started"]])


def test_another_workload_under_the_same_name_is_refused_and_fresh_starts_over(cli, folder):
    name = write(folder, "other = replace(good, clip_norm=0.5)")
    cli("compare", f"{name}:good", *SMALL, "--name", "mine")
    before = trials(folder)
    result = cli("compare", f"{name}:other", *SMALL, "--name", "mine", code=2)
    assert "clip_norm differs: none then, 0.5 now" in result.stderr
    assert "--fresh" in result.stderr
    cli("compare", f"{name}:good", *SMALL, "--name", "mine", "--fresh")
    after = trials(folder)
    assert (pd.to_datetime(after["started"]) > pd.to_datetime(before["ended"]).max()).all()
    times = ["started", "ended", "seconds"]
    assert after.drop(columns=times).equals(before.drop(columns=times))


def test_every_option_of_compare_reaches_the_comparison(cli, folder):
    result = cli(
        "compare", f"{write(folder)}:good", "--strategies", "grid,range_test,mine=0.02", "--schedules", "constant",
        "--lr-range", "1e-3,1", "--budget", "8", "--seeds", "1", "--seed", "5", "--pruner", "median", "--confirm", "2",
        "--storage", "sqlite:///other.db", "--name", "named", "--out", "there",
    )  # fmt: skip
    comparison = lrs.load("sqlite:///other.db", "named")
    found = comparison.trials
    assert set(found["strategy"]) == {"grid", "range_test", "mine"}
    assert set(found["seed"]) == {5}
    assert found["lr"].between(1e-3, 1).all()
    assert found.query("strategy == 'mine'")["lr"].item() == 0.02
    assert (found.query("strategy == 'range_test'")["steps_charged"] > 20).all()
    assert len(comparison.confirmations) == 2
    assert {study.plan["pruner"].split()[0] for study in comparison.records if study.kind == "search"} == {
        "MedianPruner"
    }
    assert "2 fresh seeds" in result.stdout
    assert (folder / "there" / "range_tests.png").exists()
    assert not (folder / "lr_search.db").exists()


def test_shapes_are_searched_and_ensembles_judged_as_the_command_line_says(cli, folder):
    name = write(folder, "combined = replace(good, combine='mean')")
    options = ["--strategies", "random", "--schedules", "sgdr", "--budget", "2", "--seeds", "1"]
    result = cli("compare", f"{name}:combined", *options, "--search-shape", "--snapshots", "2", "--name", "both")
    found = lrs.load("sqlite:///lr_search.db", "both").trials
    assert found["cycles"].between(3, 6).all()
    assert found["T_mult"].between(1, 2).all()
    assert found["ensemble_members"].tolist() == [2, 2]
    assert "Train with: sgdr (cycles " in result.stdout
    cli("compare", f"{name}:combined", *options, "--snapshots", "0", "--name", "neither")
    found = lrs.load("sqlite:///lr_search.db", "neither").trials
    assert "cycles" not in found
    assert found["ensemble_members"].isna().all()


def test_a_function_that_returns_a_workload_is_called(cli, folder):
    name = write(folder, "def make(): return replace(good, num_steps=10)")
    assert "of 10 steps each" in cli("compare", f"{name}:make", *SMALL, "--dry-run").stdout


def test_a_report_is_made_from_the_storage_alone_by_name_where_there_are_two(cli, folder):
    found = searched("one")
    unnamed = cli("report", "sqlite:///lr_search.db")
    searched("two")
    result = cli("report", "sqlite:///lr_search.db", code=2)
    assert "name must say which comparison, but got none; the storage holds: one, two." in result.stderr
    named = cli("report", "sqlite:///lr_search.db", "one", "--out", "again")
    assert named.stdout.replace("again/", "report/") == unnamed.stdout
    assert f"Train with: constant, learning rate {found.recommend().lr:.3g}, SGD" in named.stdout
    assert {path.name for path in (folder / "again").iterdir()} == FILES
    assert trials(folder, "again")["objective"].tolist() == found.trials["objective"].tolist()


BROKEN = """
def loss(model, batch):
    model.steps = getattr(model, "steps", 0) + model.training
    if model.steps > 2:
        raise ZeroDivisionError("<b>my own</b> mistake")
    return model(batch[0]).square().mean()
bad = replace(good, loss=loss, metrics=None)
"""


@pytest.mark.parametrize("budget", [2, 5])
def test_a_users_exception_in_every_trial_ends_with_1_and_stays_in_record_and_report(budget, cli, folder):
    name = write(folder, BROKEN)
    result = cli("compare", f"{name}:bad", *SMALL, "--budget", budget, code=1)
    assert result.stderr.startswith("error: ")
    again = f"lr-search report sqlite:///lr_search.db {name}:bad"
    assert f"See them with:  {again}\n" in result.stderr

    study = optuna.load_study(
        study_name=f"{name}:bad/grid/constant/SGD/seed 0", storage=f"sqlite:///{folder / 'lr_search.db'}"
    )
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * min(budget, 3)
    for trial in study.trials:
        assert "Traceback" in trial.user_attrs["record"]["error"]
        assert "ZeroDivisionError: <b>my own</b> mistake" in trial.user_attrs["record"]["error"]

    shown = cli(*again.split()[1:], code=3)
    assert "Every trial that ended failed" in shown.stdout
    page = (folder / "report" / "report.html").read_text()
    assert "ZeroDivisionError: &lt;b&gt;my own&lt;/b&gt; mistake" in page
    assert f"{name}.py" in page


def test_three_failures_in_a_row_name_the_cause_and_its_place(cli, folder):
    name = write(folder, BROKEN)
    result = cli("compare", f"{name}:bad", *SMALL, "--budget", "5", code=1)
    place = (folder / f"{name}.py").read_text().splitlines().index(
        '        raise ZeroDivisionError("<b>my own</b> mistake")'
    ) + 1
    assert "3 trials in a row failed, the last with ZeroDivisionError: <b>my own</b> mistake" in result.stderr
    assert f"({name}.py, line {place})" in result.stderr
    assert "--fresh" in result.stderr


def test_where_every_training_diverged_no_lr_is_named(cli, folder):
    name = write(
        folder, "bad = replace(good, loss=lambda model, batch: 1e12 * model(batch[0]).pow(4).mean(), metrics=None)"
    )
    result = cli("compare", f"{name}:bad", *SMALL, code=3)
    assert "Every complete trial diverged" in result.stdout
    assert "Train with" not in result.stdout


def test_the_demo_says_what_it_will_cost(cli):
    lines = cli("demo", "--dry-run").stdout.splitlines()
    assert lines[0] == (
        "digits: 18 studies (3 strategies x 3 schedules x 1 optimizer x 2 seeds), budget 8 full trainings of 300 steps each"
    )
    # of 8 x 300 steps a range test is charged 100 + 101 / 3, which leaves 7 trainings: (8 + 8 + 7) x 3 schedules x 2 seeds,
    # and 2 range tests
    assert (
        lines[1] == "SGD: LRs from 0.0001 to 10 (SGD-like), and further where its range tests show that as too narrow"
    )
    assert lines[2].startswith("at most 140 trials and 41,668 steps in all: about ")
    assert lines[2].endswith(" at the pace of the first steps on one cpu, 24 trials at once")
