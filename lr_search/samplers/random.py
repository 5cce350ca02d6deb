"""Random search (Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012)."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution

from lr_search.samplers.points import PointSampler, at_share, uniform


class RandomSampler(PointSampler):
    """Draws every parameter at random from its distribution: log-uniformly for an LR given with log=True.

    Args:
        param: the name of the LR.
        seed: >= 0; trial n of a seed gets the same point in every process and after every restart.

    >>> import optuna
    >>> study = optuna.create_study(sampler=RandomSampler(seed=0))
    >>> 1e-4 <= study.ask().suggest_float("lr", 1e-4, 1.0, log=True) <= 1.0
    True
    """

    def __init__(self, *, param: str = "lr", seed: int = 0) -> None:
        super().__init__(param, seed)

    def point(self, number: int, distribution: BaseDistribution) -> Any:
        """See the class."""
        return at_share(distribution, uniform(self.seed, number, self.param))
