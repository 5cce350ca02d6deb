"""What the search benchmark looks up, and that docs/benchmarks.md says what was measured."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]


@pytest.fixture
def curves(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import search_curves

    return search_curves


@pytest.fixture
def search(curves: Any) -> Any:
    import search

    return search


def test_a_training_of_the_grid_is_looked_up_as_it_was_and_others_lie_between(curves: Any) -> None:
    task = "mixer_digits_adamw"
    rows = curves.table(task, 3)
    for place in (0, 7, 24):
        np.testing.assert_allclose(curves.looked_up(task, 3, curves.GRID[place]), rows[place])
    between = curves.looked_up(task, 3, 10 ** (np.log10(curves.GRID[7]) + 0.1))
    np.testing.assert_allclose(between, 0.6 * rows[7] + 0.4 * rows[8])


def test_beside_a_training_that_diverged_the_nearer_one_counts(curves: Any) -> None:
    task = "survival_maxout_sgd"
    rows = curves.table(task, 0)
    last = int(np.flatnonzero(np.isfinite(rows[:, -1]))[-1])
    if last == len(rows) - 1:
        pytest.fail("the task no longer diverges within the range: choose another")
    edge = np.log10(curves.GRID[last])
    assert np.isfinite(curves.looked_up(task, 0, 10 ** (edge + 0.1))[-1])
    assert np.isinf(curves.looked_up(task, 0, 10 ** (edge + 0.15))[-1])


def test_regret_is_none_at_the_best_and_whole_without_training(curves: Any) -> None:
    for task in curves.kept():
        regrets = curves.regrets(task)
        assert regrets.min() == pytest.approx(0, abs=1e-12)
        assert regrets.max() <= 1
        assert curves.regret(task, curves.GRID[int(regrets.argmin())]) == pytest.approx(0, abs=1e-12)


def test_the_judging_tasks_are_ten_with_ten_seeds_each(curves: Any) -> None:
    judge = {task: entry for task, entry in curves.kept().items() if entry["set"] == "judge"}
    assert len(judge) == 10
    assert {len(entry["losses"]) for entry in judge.values()} == {10}
    assert {len(row) for entry in judge.values() for row in entry["losses"]} == {len(curves.GRID)}


def test_the_page_has_the_table_that_was_measured(search: Any) -> None:
    summary = json.loads((ROOT / "benchmarks" / "search.json").read_text())
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for line in search.markdown(summary).splitlines():
        assert line in page


def test_the_page_has_the_other_numbers_that_were_measured(search: Any) -> None:
    summary = json.loads((ROOT / "benchmarks" / "search.json").read_text())
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    at_4, at_8 = (summary[f"range_test over grid at {budget}"]["ratio"] for budget in (4, 8))
    prior, wrong, cut = summary["prior"], summary["wrong"], summary["pruning"]["range_test"]
    for told in (
        f"is {at_4:.2f} of the grid's",
        f"and {summary['range_test over tpe at 4']['ratio']:.2f} of\nTPE's",
        f"at budget 8 {at_8:.2f} of the grid's",
        f"holds the best LR in {prior['holds']:.0%} of {prior['priors']} priors",
        f"at a median width of {prior['width']:.2f} decades",
        f"{wrong['prior -3 decades']:.3f} and {wrong['prior +3 decades']:.3f} (random {wrong['random']:.3f}",
        f"`range_test` {cut['saved']['mean']:.0%} ({cut['saved']['low']:.0%} to {cut['saved']['high']:.0%}), {cut['added']['mean']:+.4f}",
    ):
        assert told in page, told
