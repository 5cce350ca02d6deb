"""Every sampler of ours, each made from a seed."""

from collections.abc import Callable

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
from lr_search.samplers.range_test_sampler import PRIOR_POINTS

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
