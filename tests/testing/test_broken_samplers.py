"""Samplers and strategies that break their contract fail it, with a message that has the rule, what came, and what to do."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler

from lr_search.samplers import FixedSampler, GridSampler, PerTrialSampler, PointSampler, RandomSampler, Strategy
from lr_search.samplers.points import at_share
from lr_search.testing import SamplerContract, StrategyContract
from tests.helpers.contract_failures import fails

# --- samplers


class Beyond(PointSampler):
    """Leaves the range."""

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        return at_share(distribution, 0.5) * (100 if number == 5 else 1) * 1e3**number


class Unseeded(PointSampler):
    """Draws from what nobody seeded."""

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        return at_share(distribution, float(np.random.default_rng().random()))


class Stubborn(TPESampler):
    """Leaves the range once a trial diverged."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        if param_name == "lr" and any(t.values and math.isinf(t.values[0]) for t in study.trials):
            return 1e9
        return super().sample_independent(study, trial, param_name, param_distribution)


class SaidToBeIndependent(SamplerContract):
    independent = None


def stateful(seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: list[tuple[Callable[[int], BaseSampler], str, tuple[Any, ...], str]] = [
    (
        lambda seed: Beyond(seed=seed),
        "test_every_parameter_of_every_trial_is_inside_its_range",
        (),
        r"inside its distribution, but got lr=",
    ),
    (
        lambda seed: Unseeded(seed=seed),
        "test_a_seed_always_gives_the_same_points",
        (),
        r"same seed must give.*Draw from a generator",
    ),
    (
        stateful,
        "test_a_restart_goes_on_as_an_undisturbed_study",
        ((5, 4),),
        r"must go on as an undisturbed.*PerTrialSampler its class",
    ),
    (
        stateful,
        "test_two_workers_on_one_storage_give_the_points_of_one",
        (),
        r"two workers on one storage must give.*PerTrialSampler",
    ),
    (stateful, "test_pickling_and_reseeding_change_no_point", (), r"reseed_rng\(\) must change no point"),
    (
        lambda seed: Stubborn(seed=seed),
        "test_it_goes_on_after_trials_that_diverged_failed_or_were_pruned",
        ("minimize",),
        r"inside its range, but got number=2, lr=1000000000",
    ),
]


@pytest.mark.parametrize(("make", "test", "more", "message"), SAMPLERS, ids=[test for _, test, _, _ in SAMPLERS])
def test_a_broken_sampler_fails(
    make: Callable[[int], BaseSampler], test: str, more: tuple[Any, ...], message: str
) -> None:
    fails(message, getattr(SamplerContract(), test), make, *more)


def test_a_sampler_that_is_not_as_independent_as_it_says_fails() -> None:
    contract = SaidToBeIndependent()
    test = contract.test_trials_that_run_side_by_side_have_the_points_of_their_numbers
    test(lambda seed: RandomSampler(seed=seed))
    make = partial(PerTrialSampler, partial(TPESampler, n_startup_trials=1))
    fails(r"the first 6 LRs must depend on the seed and the trial's number alone", test, make)


# --- strategies

SHARED = RandomSampler(seed=3)
STRATEGIES: list[tuple[Strategy, str, str]] = [
    (Strategy("a/b", lambda search: GridSampler(4), "words"), "test_what_it_declares_can_be", r"must not hold a slash"),
    (
        Strategy("a", lambda search: GridSampler(4)),
        "test_what_it_declares_can_be",
        r"describe must be one line, not empty, but got ''",
    ),
    (
        Strategy("a", lambda search: SHARED),
        "test_each_study_gets_a_sampler_of_its_own",
        r"a sampler of its own, but got .*within the function",
    ),
    (
        Strategy("a", lambda search: GridSampler(4), first_round=lambda search: 10 * search.num_trials),
        "test_its_first_round_is_paid_for",
        r"first_round=60, cost=600, budget=180",
    ),
    (
        Strategy("a", lambda search: Unseeded(seed=search.seed)),
        "test_the_same_seed_gives_the_same_points_inside_the_range",
        r"the same seed must give",
    ),
    (
        Strategy("a", lambda search: FixedSampler(50.0)),
        "test_the_same_seed_gives_the_same_points_inside_the_range",
        r"inside the range, but got low=1e-05, high=10.0",
    ),
    (
        Strategy("a", lambda search: FixedSampler(0.2), fixed_lr=0.1),
        "test_the_same_seed_gives_the_same_points_inside_the_range",
        r"the one LR that it says, but got says=0\.1",
    ),
    (
        Strategy("a", lambda search: PerTrialSampler(partial(TPESampler, n_startup_trials=2)), independent=12),
        "test_the_points_that_it_says_are_independent_depend_on_no_result",
        r"the first 12 points must depend on no result.*Say a lower number",
    ),
    (
        Strategy("a", lambda search: stateful(search.seed)),
        "test_a_restart_goes_on_as_an_undisturbed_study",
        r"a restart must go on.*PerTrialSampler",
    ),
]


@pytest.mark.parametrize(("strategy", "test", "message"), STRATEGIES, ids=[test for _, test, _ in STRATEGIES])
def test_a_broken_strategy_fails(strategy: Strategy, test: str, message: str) -> None:
    if "slash" in message:
        with pytest.raises(Exception, match=message):
            getattr(StrategyContract(), test)(strategy)
        return
    fails(message, getattr(StrategyContract(), test), strategy)
