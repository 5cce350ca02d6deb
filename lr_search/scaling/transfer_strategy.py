"""The strategy `transfer`: a range test, then pilots of two lengths, then full trainings where these point."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lr_search.curves.prior import LRPrior
from lr_search.samplers.range_test_sampler import PRIOR_POINTS, RangeTestSampler
from lr_search.samplers.strategies import PARAM, PilotResult, Pilots, Rung, Search, Strategy
from lr_search.scaling.pilot_sampler import PilotSampler
from lr_search.scaling.posterior import Pilot, TransferPosterior, transfer_posterior

PILOTS_AT_ONCE = 2  # pilots of a rung that depend on no other; the third looks at them
LONGER = 2 / 9  # of the training: with a range test and the first rung, three of these are less than one training
RUNGS = (Rung(1 / 16, 3, independent=PILOTS_AT_ONCE), Rung(LONGER, 3, independent=PILOTS_AT_ONCE))
SHORTEST_PILOT = 20  # steps of a pilot
MOST_SKEW = 0.8


def posterior_of(
    pilots: Sequence[PilotResult], prior: LRPrior, *, num_steps: int, schedule: str, steps_per_epoch: float | None
) -> TransferPosterior:
    """What pilots, as a storage keeps them, tell of the training of `num_steps` steps. Args: prior: of its range tests."""
    known = [pilot.untrained for pilot in pilots if math.isfinite(pilot.untrained)]
    told = [Pilot(pilot.lr, pilot.value, pilot.num_steps, not math.isfinite(pilot.value)) for pilot in pilots]
    return transfer_posterior(
        told,
        num_steps=num_steps,
        schedule=schedule,
        prior=prior,
        untrained=known[0] if known else None,
        steps_per_epoch=steps_per_epoch,
    )


def prior_of(posterior: TransferPosterior, prior: LRPrior) -> LRPrior:
    """The posterior as a prior over the range of the range tests' prior: its LR, and as wide and lopsided as its interval."""
    low, high = posterior.interval
    below, above = math.log10(posterior.lr / low), math.log10(high / posterior.lr)
    skew = (above - below) / (above + below) if above + below > 0 else 0.0
    skew = min(max(skew, -MOST_SKEW), MOST_SKEW)
    return LRPrior(prior.low, prior.high, posterior.lr, posterior.log10_std, skew=skew)


def _prior(search: Search) -> LRPrior:
    """Of the full training, from the range tests' prior and the pilots so far."""
    assert search.prior is not None
    if not search.pilots:
        return search.prior
    found = posterior_of(
        search.pilots,
        search.prior,
        num_steps=search.target_steps,
        schedule=search.schedule,
        steps_per_epoch=search.steps_per_epoch,
    )
    return prior_of(found, search.prior)


def _pilot_sampler(search: Search) -> PilotSampler:
    return PilotSampler(
        _prior(search),
        num_steps=search.target_steps,
        pilot_steps=search.num_steps,
        schedule=search.schedule,
        steps_per_epoch=search.steps_per_epoch,
        fixed=PILOTS_AT_ONCE,
        narrowed=bool(search.pilots),
        seed=search.seed,
    )


def _sampler(search: Search) -> RangeTestSampler:
    assert search.prior is not None
    return RangeTestSampler(search.prior, PARAM, seed=search.seed)


by_pilots = Strategy(
    "transfer",
    _sampler,
    "a range test, then whole trainings of a sixteenth and two ninths of the length, then full ones where these point",
    needs_curves=True,
    independent=PRIOR_POINTS,
    pilots=Pilots(RUNGS, _pilot_sampler, _prior, shortest=SHORTEST_PILOT),
)
