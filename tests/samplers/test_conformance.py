"""Optuna's own suites over every sampler of ours: 66 tests of any sampler, 16 of one that serves several objectives.

The counts, and those of Optuna's GridSampler: `python benchmarks/conformance.py`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.samplers import BaseSampler, TPESampler

from lr_search.curves.prior import LRPrior
from lr_search.samplers import (
    FixedSampler,
    GridSampler,
    HandoverSampler,
    PerTrialSampler,
    ProbeSampler,
    RandomSampler,
    RangeTestSampler,
)

suites = pytest.importorskip(
    "optuna.testing.pytest_samplers", reason="this Optuna has no conformance suite: 5 brought it"
)

PRIOR = LRPrior(low=1e-5, high=10.0, mode=0.02, log10_std=0.6)
# "x" is what the suites call the parameter they look at: there our own points are looked at, elsewhere the other parameters'
SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "grid": lambda: GridSampler(8),
    "grid of x": lambda: GridSampler(8, param="x"),
    "grid of x and y": lambda: GridSampler(8, param=["x", "y"]),
    "grid of x, TPE inside": lambda: GridSampler(8, param="x", inner=TPESampler),
    "random": lambda: RandomSampler(),
    "random of x": lambda: RandomSampler(param="x"),
    "random, TPE inside": lambda: RandomSampler(inner=TPESampler),
    "range test": lambda: RangeTestSampler(PRIOR),
    "range test, TPE inside": lambda: RangeTestSampler(PRIOR, inner=TPESampler),
    "probe": lambda: ProbeSampler(0.5),
    "probe, TPE inside": lambda: ProbeSampler(0.5, inner=TPESampler),
    "fixed": lambda: FixedSampler(0.1),
    "TPE anew for each trial": lambda: PerTrialSampler(TPESampler),
    "range test, then TPE": lambda: HandoverSampler(RangeTestSampler(PRIOR), PerTrialSampler(TPESampler), 4),
}
AT_ONCE = ("grid of x", "random of x", "range test", "probe")  # the others take as long again, and share their code


@pytest.mark.parametrize(
    "name", [name if name in AT_ONCE else pytest.param(name, marks=pytest.mark.slow) for name in SAMPLERS]
)
class TestOurs(suites.BasicSamplerTestCase, suites.MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self, name: str) -> Callable[[], BaseSampler]:
        return SAMPLERS[name]


@pytest.mark.slow
def test_the_benchmark_counts_what_passes_and_what_does_not(tmp_path: Path) -> None:
    script, out = Path(__file__).parents[2] / "benchmarks" / "conformance.py", tmp_path / "counts.json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script, "--out", out], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counts = {(row["suite"], row["sampler"]): (row["passed"], row["tests"]) for row in json.loads(out.read_text())}
    theirs = {suite: counts.pop((suite, "optuna.samplers.GridSampler")) for suite in ("Basic", "MultiObjective")}
    assert set(counts.values()) == {(66, 66), (16, 16)}
    assert theirs["Basic"][0] < 66
    assert theirs["MultiObjective"][0] < 16
    assert "Basic           GridSampler                          66 of 66" in done.stdout
