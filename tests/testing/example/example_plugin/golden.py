"""A strategy: the range in steps of the golden ratio, which cover it evenly however many there are."""

from typing import Any

from optuna.distributions import BaseDistribution

from lr_search.samplers import PointSampler, Strategy
from lr_search.samplers.points import at_share, uniform
from lr_search.samplers.strategies import Search

RATIO = (5**0.5 - 1) / 2


class GoldenSampler(PointSampler):
    """The n-th point lies n golden sections up the range from a phase of the seed's, modulo the range."""

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        return at_share(distribution, (uniform(self.seed, 0, name) + number * RATIO) % 1)


def sampler(search: Search) -> GoldenSampler:
    return GoldenSampler(seed=search.seed)


golden = Strategy("golden", sampler, "steps of the golden ratio, phase from the seed", independent=None)
