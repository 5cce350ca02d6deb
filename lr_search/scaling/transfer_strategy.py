"""The strategy `transfer`: a range test, then pilots, then full trainings where the pilots point."""

from __future__ import annotations

import numpy as np

from lr_search.curves.prior import LRPrior
from lr_search.samplers.range_test_sampler import PRIOR_POINTS, RangeTestSampler
from lr_search.samplers.strategies import PARAM, Pilots, Rung, Search, Strategy
from lr_search.scaling.belief import TargetBelief, target_belief
from lr_search.scaling.pilot_sampler import PilotSampler

RUNGS = (Rung(1 / 16, 3, independent=3), Rung(1 / 4, 3))
SHORTEST = 20  # steps of a pilot: shorter ones learn too little to be told apart


def _pilot_sampler(search: Search) -> PilotSampler:
    assert search.prior is not None
    return PilotSampler(
        search.prior,
        search.pilots,
        num_steps=search.num_steps,
        target_steps=search.target_steps,
        schedule=search.schedule,
        seed=search.seed,
    )


def prior_of_belief(belief: TargetBelief, prior: LRPrior) -> LRPrior:
    """The prior at the full length, over the range tests' range. Args: prior: of the range tests."""
    lr = float(np.clip(belief.lr, prior.low, prior.high))
    return LRPrior(prior.low, prior.high, lr, belief.log10_std)


def _prior(search: Search) -> LRPrior:
    assert search.prior is not None
    belief = target_belief(search.pilots, search.prior, target_steps=search.target_steps, schedule=search.schedule)
    return prior_of_belief(belief, search.prior)


def _sampler(search: Search) -> RangeTestSampler:
    assert search.prior is not None
    return RangeTestSampler(search.prior, PARAM, seed=search.seed)


by_pilots = Strategy(
    "transfer",
    _sampler,
    "a range test, then whole trainings of a sixteenth to a quarter of the length; the budget may be below 1",
    needs_curves=True,
    independent=PRIOR_POINTS,
    pilots=Pilots(RUNGS, _pilot_sampler, _prior, shortest=SHORTEST),
)
