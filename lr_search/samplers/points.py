"""The base of samplers whose n-th point depends on (seed, trial number, parameter name) alone.

Such a sampler repeats no point under threads or processes, and goes on where it was after a restart.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from lr_search.errors import require


class PointSampler(BaseSampler):
    """Gives the parameter `param` the value of `point`, and draws every other parameter at random.

    Args:
        param: the name of the LR.
        seed: >= 0.
    """

    def __init__(self, param: str = "lr", seed: int = 0) -> None:
        require(isinstance(seed, int | np.integer) and seed >= 0, "seed must be a whole number, at least 0", seed=seed)
        self.param, self.seed = param, int(seed)

    @abstractmethod
    def point(self, number: int, distribution: BaseDistribution) -> Any:
        """The LR of trial `number`, inside the distribution."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Empty: each parameter is placed by itself."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Empty: each parameter is placed by itself."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of one parameter of one trial."""
        if param_name == self.param:
            return self.point(trial.number, param_distribution)
        return at_share(param_distribution, uniform(self.seed, trial.number, param_name))


def uniform(seed: int, number: int, name: str) -> float:
    """A uniform draw in [0, 1) that depends on its arguments alone."""
    return float(np.random.default_rng([seed, number, zlib.crc32(name.encode())]).random())


def van_der_corput(number: int) -> float:
    """The bits of `number` mirrored at the binary point: 0, 1/2, 1/4, 3/4, 1/8, ... in [0, 1)."""
    share, weight = 0.0, 0.5
    while number:
        share += weight * (number & 1)
        number >>= 1
        weight /= 2
    return share


def at_share(distribution: BaseDistribution, share: float) -> Any:
    """The value that far up a distribution's range, on its own scale and grid. Args: share: in [0, 1]."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(share * len(distribution.choices)), len(distribution.choices) - 1)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if distribution.step is not None:
        low, high = low - distribution.step / 2, high + distribution.step / 2  # each place on the grid: an equal share
    if distribution.log:
        value = float(np.exp(np.log(low) + share * (np.log(high) - np.log(low))))
    else:
        value = low + share * (high - low)
    if distribution.step is not None:
        steps = round((value - distribution.low) / distribution.step)
        value = distribution.low + steps * distribution.step
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else value
