"""Search where a range test points: its prior's mode first, then above and below it, then what a Gaussian process expects most of.

Hvarfner et al., "piBO: Augmenting Acquisition Functions with User Beliefs for Bayesian Optimization", 2022, arXiv:2204.11051.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from lr_search.curves.prior import PRIOR_ATTRIBUTE, LRPrior
from lr_search.errors import InvalidInputError, quoted, require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.samplers.gaussian_process import MIXED_NOISES, NOISES, believe, standardized
from lr_search.samplers.points import Inner, PointSampler, radical_inverse, uniform
from lr_search.samplers.trial_results import Results, results_of

PRIOR_POINTS = 3  # the prior's points before results decide: its mode, and those beside it
BESIDE = {1: 1.0, 2: -1.0}  # standard deviations from the mode: above it first, where most of what may be the best lies
OUTER_FIRST = {
    2: 7,
    3: 4,
    4: 2,
    7: 3,
}  # of the quantiles from coarse to fine, 1/4, 3/4, 1/8, ..., those stand for 7/8 and 1/8
BETA = 1.0  # how many trials the prior counts for beside the results
MIXED_BETA = 4.0  # how many it counts for where other parameters change from trial to trial, so that a result says less of the LR
# standard deviations that an improvement must exceed: or the search stays where all LRs are equally good, or bad
MARGIN = 0.1
CELL = 0.02  # decades between the LRs that are weighed
PRIMES = (2, 3, 5, 7, 11, 13)

Priors = LRPrior | Mapping[str, LRPrior] | None


@checked
class RangeTestSampler(PointSampler):
    r"""The prior's mode, one log10_std above it and one below, then where expected improvement x prior is highest.

    After the first three points, each LR is the one with the highest

        expected improvement(lr) * prior(lr)^(beta / n)

    under a Gaussian process over log LR, n being the number of results: the prior's say fades, so that a wrong one costs little.
    Beta is 1; 4 where other parameters change from trial to trial. Trials that run are taken to end as expected, those that
    diverged count as bad, pruned ones as the worst of those they were behind. Where no result is there, or under several
    objectives, the prior's quantiles follow from coarse to fine. A mode that was enqueued is not tried again.

    Args:
        prior: over the LR, cut to the range of the parameter's distribution; of several LRs a prior each, by name; None: the one
            stored in the study (`lr_search_optuna.seed_study`).
        param: the name of the LR, a log-scaled float; or several names, each searched by itself.
        seed: of where exactly the LRs that are weighed lie, and of the other parameters, >= 0.
        inner: the sampler of the other parameters; see `PointSampler`.

    Raises:
        InvalidInputError: an argument is none of these; later: the study holds no prior, the parameter is no log-scaled float, or its
            range misses the prior's.

    >>> import optuna
    >>> sampler = RangeTestSampler(LRPrior(low=1e-5, high=10.0, mode=0.01, log10_std=0.5))
    >>> study = optuna.create_study(sampler=sampler)
    >>> [f"{study.ask().suggest_float('lr', 1e-5, 10.0, log=True):.1e}" for _ in range(3)]
    ['1.0e-02', '3.2e-02', '3.2e-03']
    """

    def __init__(
        self, prior: Priors = None, param: str | Sequence[str] = "lr", *, seed: Seed = 0, inner: Inner = None
    ) -> None:
        super().__init__(param, seed, inner)
        require(len(self.params) <= len(PRIMES), f"param must be at most {len(PRIMES)} names", param=param)
        self.prior = prior
        if prior is not None:
            priors = list(prior.values()) if isinstance(prior, Mapping) else [prior]
            good = all(isinstance(value, LRPrior) for value in priors)
            require(good, "prior must be an LRPrior, one for each name, or None", prior=prior)
        if isinstance(prior, Mapping):
            missing = [name for name in self.params if name not in prior]
            require(not missing, "prior must hold one for each name of param", missing=missing)

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """The prior's mode, a log10_std above it and below, then its quantiles, from coarse to fine."""
        require(self.prior is not None, "prior must be given, for a point without a study", prior=self.prior)
        return self._quantile(self._of(name, {}), number, name, distribution)

    def value(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """See the class."""
        # of the storage: Hyperband's bracket studies have no attributes
        stored = {} if self.prior is not None else study._storage.get_study_user_attrs(study._study_id)
        prior = self._of(name, stored)
        number = self.place(study, trial, name) + _mode_was_given(study, trial, name, prior)
        if number < PRIOR_POINTS or len(study.directions) > 1:
            return self._quantile(prior, number, name, distribution)
        results = results_of(study, name, without=trial.number)
        if len(results.places) == 0:
            return self._quantile(prior, number, name, distribution)
        low, high = self._range(prior, name, distribution)
        cells = max(1, round((np.log10(high) - np.log10(low)) / CELL))
        # a grid of its own for each trial: no LR is tried twice, even by processes that know the same results
        shares = (np.arange(cells) + uniform(self.seed, trial.number, name)) / cells
        return float(np.clip(most_promising(results, prior, low, high, shares), low, high))

    def _of(self, name: str, stored: Mapping[str, Any]) -> LRPrior:
        """The prior of one parameter."""
        if isinstance(self.prior, LRPrior):
            return self.prior
        if self.prior is not None:
            return self.prior[name]
        if PRIOR_ATTRIBUTE not in stored:
            raise InvalidInputError(
                f"The study must hold a prior for {quoted(name)}, since the sampler was given none, but it has no attribute "
                f"{PRIOR_ATTRIBUTE!r}. Call lr_search_optuna.seed_study(study, workload) first, or give RangeTestSampler(prior)."
            )
        return LRPrior.from_json(stored[PRIOR_ATTRIBUTE])

    def _quantile(self, prior: LRPrior, number: int, name: str, distribution: BaseDistribution) -> float:
        low, high = self._range(prior, name, distribution)
        if number == 0:
            return min(max(prior.mode, low), high)
        base = PRIMES[self.params.index(name)]
        beside = prior.mode * 10 ** (BESIDE.get(number, 0.0) * prior.log10_std)
        if base == 2 and number in BESIDE and low < beside < high:
            return float(beside)
        # 0 and, of halves, 1/2 are left out: the mode stands for the middle, and the very ends come last
        place = OUTER_FIRST.get(number + 1, number + 1) if base == 2 else number
        share = radical_inverse(place, base)
        below, above = prior.cdf([low, high]).tolist()
        return min(max(float(prior.ppf(below + share * (above - below))), low), high)

    def _range(self, prior: LRPrior, name: str, distribution: BaseDistribution) -> tuple[float, float]:
        """The range of the parameter. Raises: InvalidInputError: it is no log float, or misses the prior's range."""
        if not isinstance(distribution, FloatDistribution) or not distribution.log:
            raise InvalidInputError(
                f"The parameter {quoted(name)} must be a log-scaled float, but got {distribution}. "
                "Suggest it with trial.suggest_float(name, low, high, log=True)."
            )
        below, above = prior.cdf([distribution.low, distribution.high]).tolist()
        require(
            below < above,
            f"the range of {quoted(name)} must overlap the prior's, {prior.low:g} to {prior.high:g}",
            "Give the prior an lr_range that holds it, or search where the prior lies.",
            low=distribution.low,
            high=distribution.high,
        )
        return distribution.low, distribution.high


def _mode_was_given(study: Study, trial: FrozenTrial, name: str, prior: LRPrior) -> bool:
    """Whether `enqueue_trial` gave the prior's mode to an earlier trial, before any was placed: it is not tried twice."""
    for earlier in study._storage.get_all_trials(study._study_id, deepcopy=False)[: trial.number]:
        given = earlier.system_attrs.get("fixed_params", {})
        if name not in given:
            return False
        if given[name] == prior.mode:
            return True
    return False


def most_promising(results: Results, prior: LRPrior, low: float, high: float, shares: np.ndarray) -> float:
    """The LR with the highest expected improvement x prior^(beta / n).

    Args:
        results: at least one.
        prior: over the LR.
        low: the lower end of the range.
        high: its upper end.
        shares: how far up the log range each LR lies that is weighed, in [0, 1], (LRs,).
    """
    at = np.log10(low) + shares * (np.log10(high) - np.log10(low))
    places, values = results.places, standardized(results.values)
    noises, beta = (MIXED_NOISES, MIXED_BETA) if results.mixed else (NOISES, BETA)
    known = believe(places, values, np.concatenate([places, results.pending]), noises).mean
    goal = known.min() - MARGIN
    if len(results.pending):
        values = np.concatenate([values, known[len(places) :]])
        places = np.concatenate([places, results.pending])
    improvement = believe(places, values, at, noises).expected_improvement(goal)
    density = prior.pdf(10**at)
    # logs: far from the best, an improvement is as good as zero
    tiny = np.finfo(float).tiny
    weighed = np.log(improvement + tiny) + beta / len(results.places) * np.log(density + tiny)
    return float(10 ** at[int(np.argmax(weighed))])
