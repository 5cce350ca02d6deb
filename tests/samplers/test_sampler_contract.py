"""Our contract over every sampler of ours, and over some of Optuna's that are made anew for each trial."""

from collections.abc import Callable
from functools import partial

import pytest
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler

from lr_search.samplers import PerTrialSampler
from lr_search.samplers.range_test_sampler import PRIOR_POINTS
from lr_search.testing import SamplerContract
from tests.helpers.sampler_cases import SAMPLERS

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
