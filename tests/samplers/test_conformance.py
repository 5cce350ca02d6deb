"""Our contract over every sampler of ours, and Optuna's own suites: 66 tests of any sampler, 16 of one that serves several objectives.

The counts, and those of Optuna's GridSampler: `python benchmarks/conformance.py`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, TPESampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase

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
from lr_search.samplers.range_test_sampler import PRIOR_POINTS
from lr_search.testing import SamplerContract

PRIOR = LRPrior(low=1e-5, high=10.0, mode=0.02, log10_std=0.6)
# "x" is what the suites call the parameter they look at: there our own points are looked at, elsewhere the other parameters'
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "grid": lambda seed: GridSampler(8, seed=seed),
    "grid of x": lambda seed: GridSampler(8, param="x", seed=seed),
    "grid of x and y": lambda seed: GridSampler(8, param=["x", "y"], seed=seed),
    "grid of x, TPE inside": lambda seed: GridSampler(8, param="x", seed=seed, inner=TPESampler),
    "random": lambda seed: RandomSampler(seed=seed),
    "random of x": lambda seed: RandomSampler(param="x", seed=seed),
    "random, TPE inside": lambda seed: RandomSampler(seed=seed, inner=TPESampler),
    "range test": lambda seed: RangeTestSampler(PRIOR, seed=seed),
    "range test, TPE inside": lambda seed: RangeTestSampler(PRIOR, seed=seed, inner=TPESampler),
    "probe": lambda seed: ProbeSampler(0.5, seed=seed),
    "probe, TPE inside": lambda seed: ProbeSampler(0.5, seed=seed, inner=TPESampler),
    "probe without a usable LR": lambda seed: ProbeSampler(None, seed=seed),
    "fixed": lambda seed: FixedSampler(0.1, seed=seed),
    "TPE anew for each trial": lambda seed: PerTrialSampler(TPESampler, seed),
    "range test, then TPE": lambda seed: HandoverSampler(
        RangeTestSampler(PRIOR, seed=seed), PerTrialSampler(TPESampler, seed), PRIOR_POINTS + 1
    ),
}
AT_ONCE = ("grid of x", "random of x", "range test", "probe")  # the others take as long again, and share their code


@pytest.mark.parametrize(
    "name", [name if name in AT_ONCE else pytest.param(name, marks=pytest.mark.conformance) for name in SAMPLERS]
)
class TestOurs(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self, name: str) -> Callable[[], BaseSampler]:
        return partial(SAMPLERS[name], 0)


POINTS = [name for name in SAMPLERS if " of " not in name and "range test" not in name and "anew" not in name]
FOREIGN: dict[str, Callable[[int], BaseSampler]] = {
    "TPE": SAMPLERS["TPE anew for each trial"],
    "CMA-ES": lambda seed: PerTrialSampler(CmaEsSampler, seed),
    "NSGA-II": lambda seed: PerTrialSampler(partial(NSGAIISampler, population_size=4), seed),
}


@pytest.mark.parametrize("name", POINTS)
class TestPoints(SamplerContract):
    independent = None

    @pytest.fixture
    def make_sampler(self, name: str) -> Callable[[int], BaseSampler]:
        return SAMPLERS[name]


@pytest.mark.parametrize("name", [name for name in SAMPLERS if "range test" in name])
class TestOfAPrior(SamplerContract):
    independent = PRIOR_POINTS

    @pytest.fixture
    def make_sampler(self, name: str) -> Callable[[int], BaseSampler]:
        return SAMPLERS[name]


@pytest.mark.parametrize("name", FOREIGN)
class TestForeign(SamplerContract):
    @pytest.fixture
    def make_sampler(self, name: str) -> Callable[[int], BaseSampler]:
        return FOREIGN[name]


@pytest.mark.conformance
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
