"""Search where a range test points: its prior's mode first, then its quantiles."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution

from lr_search.errors import InvalidInputError, require
from lr_search.prior import LRPrior
from lr_search.samplers.points import PointSampler, van_der_corput


class RangeTestSampler(PointSampler):
    """The prior's mode, then points that cover its quantiles evenly from coarse to fine, its tails among them.

    Args:
        prior: over the LR; cut to the range of the parameter's distribution.
        param: the name of the LR, a log-scaled float; other parameters are drawn at random.
        seed: of the other parameters, >= 0.

    >>> import optuna
    >>> sampler = RangeTestSampler(LRPrior(low=1e-5, high=10.0, mode=0.01, log10_std=0.5))
    >>> study = optuna.create_study(sampler=sampler)
    >>> [f"{study.ask().suggest_float('lr', 1e-5, 10.0, log=True):.1e}" for _ in range(3)]
    ['1.0e-02', '4.1e-03', '2.5e-02']
    """

    def __init__(self, prior: LRPrior, param: str = "lr", *, seed: int = 0) -> None:
        super().__init__(param, seed)
        self.prior = prior

    def point(self, number: int, distribution: BaseDistribution) -> Any:
        """See the class."""
        if not isinstance(distribution, FloatDistribution) or not distribution.log:
            raise InvalidInputError(
                f"The parameter {self.param!r} must be a log-scaled float, but got {distribution}. "
                "Suggest it with trial.suggest_float(name, low, high, log=True)."
            )
        low, high = distribution.low, distribution.high
        lr = self.prior.mode
        if number > 0:
            # 0 and 1/2 are left out: the mode stands for the middle, and the very ends come last
            share = van_der_corput(number + 1)
            below, above = self.prior.cdf([low, high]).tolist()
            require(
                below < above,
                f"the range of {self.param!r} must overlap the prior's, {self.prior.low:g} to {self.prior.high:g}",
                low=low,
                high=high,
            )
            lr = self.prior.ppf(below + share * (above - below))
        return min(max(lr, low), high)
