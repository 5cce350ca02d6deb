"""How many of Optuna's own tests of samplers each of ours passes: `python benchmarks/conformance.py` (half a minute).

The suites are `optuna.testing.pytest_samplers`: 66 tests of any sampler, 16 of one that serves several objectives. Beside ours
stands Optuna's GridSampler, on a grid that holds every parameter of the suites.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler, TPESampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase

from lr_search.curves.prior import LRPrior
from lr_search.samplers import GridSampler, PerTrialSampler, ProbeSampler, RandomSampler, RangeTestSampler

PRIOR = LRPrior(low=1e-5, high=10.0, mode=0.02, log10_std=0.6)
GRID = {name: [1] for name in "abcdefz"} | {"x": [*range(1, 11)], "y": [1, 2], "category": ["x"]}
SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "GridSampler": lambda: GridSampler(param="x"),  # the suites' own parameter
    "RandomSampler": lambda: RandomSampler(param="x"),
    "RangeTestSampler": lambda: RangeTestSampler(PRIOR),
    "RangeTestSampler(inner=TPESampler)": lambda: RangeTestSampler(PRIOR, inner=TPESampler),
    "ProbeSampler": lambda: ProbeSampler(0.5),
    "PerTrialSampler(TPESampler)": lambda: PerTrialSampler(TPESampler),
    "optuna.samplers.GridSampler": lambda: optuna.samplers.GridSampler(GRID, seed=0),
}


@pytest.fixture(params=SAMPLERS)
def named(request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
    """The sampler under test, its name kept for the count."""
    request.node.user_properties.append(("sampler", request.param))
    return SAMPLERS[request.param]


class TestBasic(BasicSamplerTestCase):
    """Any sampler."""

    @pytest.fixture
    def sampler(self, named: Callable[[], BaseSampler]) -> Callable[[], BaseSampler]:
        """See `named`."""
        return named


class TestMultiObjective(MultiObjectiveSamplerTestCase):
    """One that serves several objectives."""

    @pytest.fixture
    def sampler(self, named: Callable[[], BaseSampler]) -> Callable[[], BaseSampler]:
        """See `named`."""
        return named


class Count:
    """A pytest plug-in that counts the tests of each sampler and suite, and those passed."""

    def __init__(self) -> None:
        self.all: Counter[tuple[str, str]] = Counter()
        self.passed: Counter[tuple[str, str]] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest after each phase of a test."""
        if report.when == "call":
            key = (
                dict(report.user_properties)["sampler"],
                "Basic" if "::TestBasic::" in report.nodeid else "MultiObjective",
            )
            self.all[key] += 1
            self.passed[key] += report.passed


def counted() -> list[dict[str, object]]:
    """A row for each sampler and suite."""
    count = Count()
    with contextlib.redirect_stdout(io.StringIO()):
        # none of our settings: a warning fails no test here
        pytest.main([__file__, "-q", "-c", os.devnull, "-p", "no:cacheprovider"], plugins=[count])
    return [
        {"sampler": name, "suite": suite, "passed": count.passed[name, suite], "tests": count.all[name, suite]}
        for suite in ("Basic", "MultiObjective")
        for name in SAMPLERS
    ]


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    rows = counted()
    for row in rows:
        print(f"{row['suite']:<15} {row['sampler']:<35} {row['passed']:>3} of {row['tests']}")
    if given.out is not None:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
