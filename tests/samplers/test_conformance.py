"""Optuna's own suites over every sampler of ours: 66 tests of any sampler, 16 of one that serves several objectives.

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
from optuna.samplers import BaseSampler

from tests.helpers.marks import usually
from tests.helpers.sampler_cases import SAMPLERS

suites = pytest.importorskip(
    "optuna.testing.pytest_samplers", reason="this Optuna has no conformance suite: 5 brought it"
)
USUALLY = ("grid of x", "random of x", "range test", "probe")  # the others take as long again, and share their code


@pytest.mark.parametrize("name", usually(USUALLY, SAMPLERS, others="conformance"))
class TestOurs(suites.BasicSamplerTestCase, suites.MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self, name: str) -> Callable[[], BaseSampler]:
        return partial(SAMPLERS[name], 0)


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
