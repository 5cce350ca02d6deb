"""The benchmark of comparisons on Ray: that it drives the hooks as a comparison does, and that its tables say what was measured."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
TRIALS, COUNTS = 6, (1, 3)


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])


@pytest.fixture
def hooks(benchmarks: None) -> Any:
    import scale_hooks

    return scale_hooks


@pytest.fixture
def tables(benchmarks: None) -> Any:
    import scale_tables

    return scale_tables


def run(wall: float, training: float, **changes: Any) -> dict[str, Any]:
    plain = {"workers": 2, "trials": 4, "window": 8.0, "at_it": 15.0, "between": 0.025, "waiting": 0.0042}
    return {"wall": wall, "training": training, **plain, **changes}


@pytest.mark.parametrize("storage", ["memory", "SQLite"])
@pytest.mark.parametrize("pruner", ["none", "median"])
def test_every_report_and_trial_of_the_last_study_is_timed(hooks: Any, storage: str, pruner: str) -> None:
    told: list[str] = []
    rows = hooks.measured(storage, pruner, COUNTS, TRIALS, told.append)
    assert [(row["studies"], row["trials"]) for row in rows] == [(1, TRIALS), (3, 3 * TRIALS)]
    assert len(told) == len(rows)
    for row in rows:
        assert {key for key, value in row.items() if isinstance(value, float) and value > 0} == {
            "report", "report_first", "report_last", "trial", "trial_first", "trial_last",
        }  # fmt: skip


@pytest.mark.parametrize("storage", ["memory", "SQLite"])
def test_the_hooks_store_what_a_comparison_stores(hooks: Any, storage: str, tmp_path: Path) -> None:
    tasks = hooks.studies(None if storage == "memory" else f"sqlite:///{tmp_path}/a.db", "median", 3, TRIALS)
    costs = hooks.Driver(tasks[:1]).run()
    assert (len(costs.trials), len(costs.reports)) == (TRIALS, TRIALS * hooks.REPORTS)
    hooks.copied(tasks[0], tasks[1:])
    first, *copies = (list(task.trials()) for task in tasks)
    for trial in first:
        assert trial.state == TrialState.COMPLETE
        assert len(trial.user_attrs["record"]["evaluations"]["step"]) == hooks.REPORTS + 1
        assert trial.value == trial.user_attrs["record"]["evaluations"]["metrics"]["loss"][-1]
        # the last evaluation is the value, and is not reported
        assert list(trial.intermediate_values) == list(range(1, hooks.REPORTS + 1))
    for copy in copies:
        assert [trial._trial_id for trial in copy] != [trial._trial_id for trial in first]
        for one, other in zip(copy, first, strict=True):
            for what in ("number", "state", "values", "params", "intermediate_values", "user_attrs"):
                assert getattr(one, what) == getattr(other, what)
    assert all(task.complete() for task in tasks)


def test_shares_and_ratios_are_those_of_the_times(tables: Any) -> None:
    assert tables.shares(run(10.0, 12.0)) == (0.6, 0.75, 0.8)
    ours, bare = [run(wall, 12.0) for wall in (11.0, 30.0, 9.0)], [run(wall, 12.0) for wall in (10.0, 20.0, 10.0)]
    assert tables.ratio(ours, bare) == 1.1  # of 1.1, 1.5 and .9
    assert tables.cells("RayExecutor", ours, bare) == [
        "RayExecutor", "4", "3.00", "11.0", "22", "1.10", "54.5%", "75.0%", "80.0%", "25", "4.2",
    ]  # fmt: skip


def test_workers_are_told_apart_and_a_drivers_own_tries_left_out(benchmarks: None, tmp_path: Path) -> None:
    import scale_work

    def training(begin: float, end: float) -> list[str]:
        return [f"begun {begin}", f"evaluated {begin}", *[f"evaluated {end}"] * scale_work.EVALUATIONS]

    (tmp_path / "1").write_text("\n".join(["begun 1.0", "evaluated 1.5"]))  # a fingerprint's
    (tmp_path / "2").write_text("\n".join([*training(10.0, 11.75), *training(12.0, 14.0), *training(15.0, 15.5)]))
    (tmp_path / "3").write_text("\n".join(["begun 1.0", "evaluated 1.5", *training(16.0, 18.0)]))
    workers = scale_work.spans(tmp_path)
    assert [[(span.begin, span.end) for span in worker] for worker in workers] == [
        [(10.0, 11.75), (12.0, 14.0), (15.0, 15.5)],
        [(16.0, 18.0)],
    ]
    assert scale_work.between(workers) == pytest.approx((0.25 + 1.0) / 2)
    assert scale_work.between(workers[1:]) == 0.0


def test_an_aim_that_is_missed_is_said_so(tables: Any) -> None:
    runs = {"RayExecutor": [run(12.0, 12.0)], "bare Tuner": [run(10.0, 12.0)]}
    rows = [
        {"storage": "SQLite", "pruner": "median", "studies": n, "trials": 100 * n, "report": ms, "trial": 20.0}
        for n, ms in ((1, 1.0), (100, 2.5))
    ]
    told = tables.aims({"long": {"cores": 2, "runs": runs}, "hooks": rows})
    assert [line.rpartition(": ")[2] for line in told] == ["MISSED"] * 4
    better = {"RayExecutor": [run(11.0, 15.5)], "bare Tuner": runs["bare Tuner"]}
    told = tables.aims({"long": {"cores": 2, "runs": better}, "hooks": rows[:1]})
    assert [line.rpartition(": ")[2] for line in told] == ["reached"] * 4


def test_the_tables_print_from_what_was_written(tables: Any) -> None:
    path = ROOT / "benchmarks" / "scale.json"
    found = json.loads(path.read_text())
    printed = tables.text(found)
    assert "hooks" in found
    for name in found:
        assert f"\n{name}" in f"\n{printed}"
    assert printed.count("RayExecutor |") == len(found) - 1
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for line in printed.splitlines():
        if line.startswith("| "):
            assert line in page, line
