"""The report's benchmarks: a comparison as compare() stores it, and the numbers of docs/benchmarks.md as they were kept."""

import json
import sys
from pathlib import Path

import pytest

import lr_search as lrs
from lr_search.storage.open import quiet_optuna

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split())


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "report", raising=False)
    import report

    yield report
    del sys.modules["report"]


def test_what_is_written_is_read_as_a_comparison(benchmark, tmp_path):
    url = f"sqlite:///{tmp_path}/many.db"
    with quiet_optuna():
        benchmark.write(url, 10, 200)
    found = lrs.load(url)
    assert (len(found.trials), len(found.summary(full=True)), found.name) == (200, 10, "many")
    assert set(found.trials["outcome"]) == {"finished", "diverged"}
    assert 0.01 < found.recommend().lr < 0.3  # the valley's bottom is at 0.05
    assert len(found.evaluations.query("metric == 'accuracy'")) > 200 * 5


def test_the_page_has_the_reports_numbers():
    kept = json.loads((ROOT / "benchmarks" / "report.json").read_text())
    assert (kept["trials"], kept["studies"]) == (100_000, 500)
    for part, row in (
        ("summary", "summary"),
        ("tables", "every table"),
        ("report", "the whole report, a page of 5.8 MB"),
    ):
        found = kept["parts"][part]
        assert f"| {row} | {found['import_seconds']:.1f} | {found['seconds']:.1f} | {found['megabytes']:.0f} |" in PAGE
    assert f"a page of {kept['page_megabytes']:.1f} MB" in PAGE
    assert all(round(100 * share) == 95 for share in kept["coverage"]["normal"].values())
    assert {round(100 * share) for share in kept["coverage"]["lognormal"].values()} == {82, 84}


def test_the_page_has_the_recommended_lrs_numbers():
    rules = json.loads((ROOT / "benchmarks" / "recommendation.json").read_text())["judge"]["rules"]

    def told(value):
        return f"{value:.3f}".removeprefix("0")

    ours, single, process = (rules[n] for n in ("lr_search", "best trial of any seed", "process 1.0 of roots, dense"))
    at = ours["settings"]
    three = f"(three strategies together: {told(at['all three at 4'])} at budget 4, {told(at['all three at 8'])} at 8)"
    assert f"mean regret {told(ours['mean'])} {three}" in PAGE
    assert f"best single trial {told(single['mean'])}" in PAGE
    random = told(at["random at 4"]), told(single["settings"]["random at 4"])
    assert f"random search alone at budget 4, {random[0]} against {random[1]}" in PAGE
    assert f"({told(process['mean'])} in all;" in PAGE
