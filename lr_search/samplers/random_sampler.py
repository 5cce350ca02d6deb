"""Random search (Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution

from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.samplers.points import Inner, PointSampler, at_share, uniform


@checked
class RandomSampler(PointSampler):
    """Draws every parameter at random from its distribution: log-uniformly for an LR given with log=True.

    Args:
        param: the name of the LR, or several names.
        seed: >= 0; trial n of a seed gets the same point in every process and after every restart.
        inner: the sampler of the other parameters; see `PointSampler`.

    >>> import optuna
    >>> study = optuna.create_study(sampler=RandomSampler(seed=0))
    >>> 1e-4 <= study.ask().suggest_float("lr", 1e-4, 1.0, log=True) <= 1.0
    True
    """

    def __init__(self, *, param: str | Sequence[str] = "lr", seed: Seed = 0, inner: Inner = None) -> None:
        super().__init__(param, seed, inner)

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """See the class."""
        return at_share(distribution, uniform(self.seed, number, name))
