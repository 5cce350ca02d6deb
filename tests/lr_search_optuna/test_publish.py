"""publish: what optuna-dashboard then serves."""

import json
import math
import os
import socket
import subprocess
import sys
import time
import urllib.request
import wsgiref.util
from pathlib import Path

import optuna
import optuna_dashboard
import pytest
import torch

import lr_search as lrs
from lr_search.curves.prior import PRIOR_ATTRIBUTE
from lr_search.errors import InvalidInputError, MissingPackageError
from lr_search_optuna import publish, seed_study
from tests.helpers.bowl import compare_in_bowl
from tests.helpers.workloads import line

ROOT = Path(__file__).parents[2]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def served(storage, study):
    """What the dashboard answers its page about a study: through its web application, without a server."""
    environ = {"PATH_INFO": f"/api/studies/{storage.get_study_id_from_name(study)}", "QUERY_STRING": "after=0"}
    wsgiref.util.setup_testing_defaults(environ)
    status = []
    body = b"".join(optuna_dashboard.wsgi(storage)(environ, lambda line, *_: status.append(line)))
    assert status == ["200 OK"], body
    return json.loads(body)


def plots_of(page):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON: a browser could not read it")

    return {
        plot["id"]: json.loads(plot["graph_object"], parse_constant=refuse) for plot in page["plotly_graph_objects"]
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A published comparison, read from its URL as another process would."""
    url = f"sqlite:///{tmp_path_factory.mktemp('published') / 'bowl.db'}"
    compare_in_bowl(url, budget=3, seeds=1, today=0.01)
    comparison = lrs.load(url, "bowl")
    publish(comparison)
    return comparison


def page_of(comparison, study):
    return served(comparison.storage, study)


SEARCH = "bowl/range_test/constant/SGD/seed 0"


def test_every_study_has_a_note_with_the_recommendation_and_the_summary(published):
    best = published.recommend()
    assert len(published.records) == 8  # what is used today, the range test, and three strategies under two schedules
    for record in published.records:
        note = page_of(published, record.name)["note"]["body"]
        assert note.startswith("# lr_search: bowl\n")
        assert f"learning rate {best.lr:.3g}, SGD**" in note
        rows = [row for row in note.splitlines() if "SGD" in row and row.count("|") > 10]
        assert len(rows) == len(published.summary(full=True)) == 6


def test_what_is_used_today_has_a_note_too(published):
    note = page_of(published, "bowl/today's LR/constant/SGD/seed 0")["note"]["body"].replace("\u2003", " ")
    assert "## This study: the learning rate that is used today" in note
    weight = 1 + torch.rand((), generator=torch.Generator().manual_seed(0)).item()
    assert f"| best | {(weight * (1 - 2 * 0.01) ** 20) ** 2:.4g} at LR 0.01 |" in note
    assert published.recommend().against_today.sentence in note


def test_a_searchs_note_says_what_it_is_and_its_prior(published):
    record = next(each for each in published.records if each.name == SEARCH)
    note = page_of(published, SEARCH)["note"]["body"].replace("\u2003", " ")
    low, high = record.prior.ppf([0.1, 0.9])
    assert "## This study: a search" in note
    assert "| strategy | range_test |" in note
    assert f"| prior of the LR | mode **{record.prior.mode:.3g}**, 80% between {low:.2g} and {high:.2g} |" in note
    values = [trial.value for trial in record.trials]
    best = record.trials[values.index(min(values))]
    assert f"| best | {best.value:.4g} at LR {best.lr:.3g} |" in note
    tests = next(each for each in published.records if each.kind == "range_test")
    assert f"| charged before | {tests.trials[0].steps} steps (range_test) |" in note


def test_a_range_tests_note_has_its_suggestion(published):
    tests = next(each for each in published.records if each.kind == "range_test")
    note = page_of(published, tests.name)["note"]["body"]
    assert "## This study: the range tests" in note
    found = tests.curves[0].suggest()
    assert f"LR **{found.lr:.3g}** ({found.status})" in note


def test_the_plots_hold_every_trial_and_no_number_that_json_does_not_know(published):
    plots = plots_of(page_of(published, SEARCH))
    assert set(plots) == {"objective_by_lr", "best_so_far"}
    trials = published.trials.query("schedule == 'constant'")
    drawn = {}
    for trace in plots["objective_by_lr"]["data"]:
        if trace["mode"] == "markers":
            drawn.setdefault(trace["name"].removesuffix(", diverged"), []).extend(trace["x"])
    for strategy, rows in trials.groupby("strategy", observed=True):
        assert sorted(drawn[strategy]) == pytest.approx(sorted(rows["lr"]), rel=1e-3)
    prior = next(trace for trace in plots["objective_by_lr"]["data"] if trace["name"] == "prior")
    record = next(each for each in published.records if each.name == SEARCH)
    highest = prior["x"][prior["y"].index(max(prior["y"]))]
    assert abs(math.log10(highest / record.prior.mode)) < 0.1


def test_the_best_so_far_falls_and_counts_the_range_tests(published):
    lines = {trace["name"]: trace for trace in plots_of(page_of(published, SEARCH))["best_so_far"]["data"]}
    assert set(lines) == {"grid", "range_test", "mine"}
    for trace in lines.values():
        assert trace["y"] == sorted(trace["y"], reverse=True)
    charged = published.trials.query("strategy == 'range_test' and schedule == 'constant'")["steps_charged"]
    assert lines["range_test"]["x"] == charged.tolist()
    assert lines["range_test"]["line"]["width"] > lines["grid"]["line"]["width"]


def test_the_range_tests_curve_is_drawn(published):
    tests = next(each for each in published.records if each.kind == "range_test")
    (plot,) = plots_of(page_of(published, tests.name)).values()
    drawn = {trace["name"].split(" ")[0]: trace for trace in plot["data"]}
    assert drawn["loss"]["x"] == pytest.approx(tests.curves[0].lr, rel=1e-3)
    assert drawn["loss"]["y"] == pytest.approx(tests.curves[0].loss, rel=1e-3)
    assert drawn["suggestion"]["x"] == pytest.approx([tests.curves[0].suggest().lr] * 2, rel=1e-3)


def test_publishing_again_replaces_ours_and_keeps_what_a_person_wrote(published):
    study = optuna.load_study(study_name=SEARCH, storage=published.storage)
    before = optuna_dashboard.get_note(study)
    plots = plots_of(page_of(published, SEARCH))
    optuna_dashboard.save_note(study, f"Mine: do not touch # lr_search: this.\n\n{before}")
    for _ in range(2):
        publish(published)
    assert optuna_dashboard.get_note(study) == f"Mine: do not touch # lr_search: this.\n\n{before}"
    assert plots_of(page_of(published, SEARCH)) == plots


def test_trials_that_diverged_are_drawn_where_they_began(tmp_path):
    comparison = compare_in_bowl(f"sqlite:///{tmp_path / 'high.db'}", strategies={"high": 900.0}, seeds=1)
    publish(comparison)
    plot = plots_of(page_of(comparison, "bowl/high/constant/SGD/seed 0"))["objective_by_lr"]
    (lost,) = plot["data"]
    assert (lost["name"], lost["marker"]["symbol"]) == ("high, diverged", "x")
    assert lost["y"] == pytest.approx([comparison.records[0].worst], rel=1e-3)


def test_names_of_ones_own_break_neither_the_table_nor_the_page(tmp_path):
    strategies = {"<b>a|b": 0.3}
    comparison = compare_in_bowl(
        f"sqlite:///{tmp_path / 'names.db'}", strategies=strategies, seeds=1, schedules="constant"
    )
    publish(comparison)
    page = page_of(comparison, comparison.records[0].name)
    assert "<b>" not in page["note"]["body"]
    assert "&lt;b>a\\|b" in page["note"]["body"]
    assert {trace["name"] for trace in plots_of(page)["objective_by_lr"]["data"]} == {"&lt;b>a|b"}


# ---- a study of one's own ----


def test_a_study_of_ones_own_gets_its_prior_its_cost_and_its_best_trial():
    study = optuna.create_study(study_name="own")
    prior = seed_study(study, line(), num_steps=40, gain_ratio=False)

    def objective(trial):
        lr, depth = trial.suggest_float("lr", 1e-5, 10.0, log=True), trial.suggest_int("depth", 3, 3)
        if trial.number == 1:
            trial.set_user_attr("diverged", "it did")
            return math.inf
        return lr + depth

    study.optimize(objective, n_trials=3)
    publish(study)
    page = served(study._storage, "own")
    note = page["note"]["body"].replace("\u2003", " ")
    assert note.startswith("# lr_search: own\n")
    assert "| range tests | 40 steps |" in note
    assert f"mode **{prior.mode:.3g}**" in note
    assert "| trials | 2 complete, 1 diverged |" in note
    best = study.best_trial
    assert f"| best | trial {best.number}: {best.value:.4g} |" in note
    assert f"| its lr | **{best.params['lr']:.4g}** |" in note
    assert "| its depth | 3 |" in note
    traces = {trace["name"]: trace for trace in plots_of(page)["objective_by_lr"]["data"]}
    assert set(traces) == {"prior", "trials", "trials, diverged"}
    assert len(traces["trials"]["x"]) == 2
    assert traces["trials, diverged"]["y"] == [max(traces["trials"]["y"])]


@pytest.mark.parametrize("outcome", [None, math.inf, optuna.TrialPruned()])
def test_a_study_without_a_good_trial_can_be_published(outcome):
    study = optuna.create_study(study_name="poor", direction="minimize")

    def objective(trial):
        trial.suggest_float("lr", 1e-5, 10.0, log=True)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    study.optimize(objective, n_trials=0 if outcome is None else 1)
    publish(study)
    page = served(study._storage, "poor")
    assert ("none yet" if outcome is None else "1 ") in page["note"]["body"]
    assert set(plots_of(page)) == {"objective_by_lr"}


def test_a_prior_of_a_newer_version_is_told():
    study = optuna.create_study()
    study.set_user_attr(PRIOR_ATTRIBUTE, {"format": 99})
    with pytest.raises(InvalidInputError, match="format"):
        publish(study)


def test_something_else_is_refused():
    with pytest.raises(
        InvalidInputError, match=r"found must be an lr_search.Comparison or an optuna.study.Study, but got 'sqlite"
    ):
        publish("sqlite:///lr_search.db")


def test_without_the_dashboard_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(MissingPackageError, match=r'needs optuna-dashboard: pip install "lr-search\[dashboard\]"'):
        publish(optuna.create_study())


# ---- the example, on the real server ----


def fetched(url, seconds=120):
    """The JSON at that address, once the server is up."""
    for _ in range(seconds * 4):
        try:
            with urllib.request.urlopen(url) as answer:
                return json.load(answer)
        except OSError:
            time.sleep(0.25)
    raise AssertionError(f"no answer from {url}")


@pytest.mark.processes
def test_the_example_runs_and_the_dashboard_serves_its_study(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(ROOT / "examples" / "optuna_study.py"), "6"]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    best = done.stdout.strip()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("optuna-dashboard"), "--port", str(port), "sqlite:///optuna_study.db"]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        (study,) = fetched(f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
        page = fetched(f"http://127.0.0.1:{port}/api/studies/{study['study_id']}?after=0")
        note, plots = page["note"]["body"], plots_of(page)
    finally:
        server.kill()
        server.wait()
    assert study["study_name"] == "digits"
    assert len(page["trials"]) == 6
    assert note.startswith("# lr_search: digits")
    assert all(name in note for name in ("its lr", "its width", "its weight_decay"))
    assert eval(best).keys() == {"lr", "width", "weight_decay"}
    assert set(plots) == {"objective_by_lr"}
    study = optuna.load_study(study_name="digits", storage=f"sqlite:///{tmp_path / 'optuna_study.db'}")
    assert study.trials[0].params["lr"] == pytest.approx(study.user_attrs[PRIOR_ATTRIBUTE]["mode"])
    assert study.best_value < 0.2  # 1.2 without training is 2.3


def test_a_comparison_put_together_is_refused(published):
    together = lrs.load([published.storage])
    with pytest.raises(InvalidInputError, match="publish takes a comparison of one storage, but got 'bowl'"):
        publish(together)
