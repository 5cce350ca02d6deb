"""Strategies by name or by value, and any Optuna sampler as one."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, TPESampler

from lr_search import plugins
from lr_search.errors import InvalidInputError, UnknownNameError
from lr_search.prior import LRPrior
from lr_search.samplers import FixedSampler, GridSampler, RandomSampler, RangeTestSampler, Strategy, strategies
from lr_search.samplers.per_trial import PerTrialSampler
from lr_search.samplers.strategies import Search, resolve

LOW, HIGH = 1e-5, 10.0
PRIOR = LRPrior(low=LOW, high=HIGH, mode=0.02, log10_std=0.6)


def only(given: Any) -> Strategy:
    (strategy,) = resolve(given)
    return strategy


def searched(sampler: BaseSampler, count: int, storage: str | None = None, name: str | None = None) -> list[float]:
    """The LRs of `count` trials whose value is a parabola in log LR."""
    study = optuna.create_study(sampler=sampler, storage=storage, study_name=name, load_if_exists=name is not None)
    lrs = []
    for _ in range(count):
        trial = study.ask()
        lrs.append(trial.suggest_float("lr", LOW, HIGH, log=True))
        study.tell(trial, math.log10(lrs[-1] / 0.03) ** 2)
    return lrs


def test_names_give_the_registered_strategies() -> None:
    assert set(plugins.registered(plugins.STRATEGIES)) == {"defaults", "grid", "probe", "random", "range_test"}
    assert resolve(["grid", "random", "range_test"]) == [strategies.grid, strategies.random, strategies.range_test]
    assert resolve("grid") == [strategies.grid]


def test_the_built_in_strategies_make_our_samplers() -> None:
    search = Search(seed=3, num_trials=5, prior=PRIOR)
    grid, random, range_test = (s.sampler(search) for s in resolve(["grid", "random", "range_test"]))
    assert searched(grid, 5) == searched(GridSampler(num_points=5, seed=3), 5)
    assert searched(random, 5) == searched(RandomSampler(seed=3), 5)
    assert searched(range_test, 5) == searched(RangeTestSampler(PRIOR, seed=3), 5)


def test_only_the_range_test_needs_curves_and_all_are_independent_of_results() -> None:
    built_in = {strategy.name: strategy for strategy in resolve(["grid", "random", "range_test", "probe"])}
    assert [name for name, strategy in built_in.items() if strategy.probe is not None] == ["probe"]
    assert [name for name, strategy in built_in.items() if strategy.needs_curves] == ["range_test"]
    assert all(strategy.independent and strategy.describe for strategy in built_in.values())


def test_a_number_is_one_training_at_that_lr() -> None:
    for value in (3e-4, 1):
        strategy = only({"mine": value})
        sampler = strategy.sampler(Search(seed=0, num_trials=1))
        assert isinstance(sampler, FixedSampler)
        assert searched(sampler, 3) == [value] * 3
        assert (strategy.name, strategy.max_trials, strategy.fixed_lr) == ("mine", 1, float(value))
        assert strategy.independent


def test_fixed_lrs_of_one_name_differ_in_their_settings() -> None:
    assert only({"mine": 3e-4}).settings != only({"mine": 3e-3}).settings


def test_a_strategy_can_be_given_a_name_of_its_own() -> None:
    assert only({"coarse": "grid"}).name == "coarse"
    assert only({"coarse": "grid"}).sampler is strategies.grid.sampler
    assert only({"coarse": strategies.grid}).name == "coarse"
    assert only([strategies.grid]) is strategies.grid


def test_the_order_given_is_kept() -> None:
    given = {"z": 0.1, "a": "random", "m": TPESampler}
    assert [strategy.name for strategy in resolve(given)] == ["z", "a", "m"]


def test_an_instance_is_used_as_it_is() -> None:
    sampler = TPESampler(seed=5)
    strategy = only({"tpe": sampler})
    assert strategy.sampler(Search(seed=0, num_trials=3)) is sampler
    assert not strategy.independent
    assert only({"points": RandomSampler(seed=1)}).independent


FACTORIES: dict[str, Callable[..., BaseSampler]] = {
    "TPE": lambda seed: TPESampler(seed=seed, n_startup_trials=4),
    "random": optuna.samplers.RandomSampler,
    "NSGA-II": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=4),
}


def test_a_restart_goes_on_as_an_undisturbed_search_and_repeats_no_point(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    for name, factory in FACTORIES.items():
        strategy = only({"theirs": factory})
        assert not strategy.independent
        search = Search(seed=2, num_trials=11)
        before = searched(strategy.sampler(search), 6, storage, name)
        after = searched(strategy.sampler(search), 5, storage, name)
        assert before + after == searched(strategy.sampler(search), 11), name
        assert len({*before, *after}) == 11, name


def test_seeds_give_different_searches() -> None:
    strategy = only({"tpe": TPESampler})
    first, second = (searched(strategy.sampler(Search(seed, 4)), 4) for seed in (0, 1))
    assert not set(first) & set(second)


def test_a_model_based_sampler_learns_from_the_trials_of_the_study() -> None:
    sampler = only({"tpe": TPESampler}).sampler(Search(seed=0, num_trials=40))
    lrs = searched(sampler, 40)

    def mean_error(some: list[float]) -> float:
        return sum(abs(math.log10(lr / 0.03)) for lr in some) / len(some)

    assert mean_error(lrs[10:]) < mean_error(lrs[:10]) / 2


def test_a_factory_without_a_seed_gets_none_and_its_hooks_are_called() -> None:
    points = [1e-3, 1e-2, 1e-1, 1.0]
    strategy = only({"theirs": lambda: optuna.samplers.GridSampler({"lr": points})})
    study = optuna.create_study(sampler=strategy.sampler(Search(seed=0, num_trials=4)))
    study.optimize(lambda trial: trial.suggest_float("lr", LOW, HIGH, log=True), n_trials=10)
    assert sorted(trial.params["lr"] for trial in study.trials) == points  # after the fourth, its hook ended the study


def test_a_sequence_that_is_kept_in_the_study_goes_on_from_trial_to_trial() -> None:
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        lrs = searched(only({"qmc": optuna.samplers.QMCSampler}).sampler(Search(seed=0, num_trials=9)), 9)
    # the first trial is drawn at random; the others are the first 8 points of one Sobol sequence: the eighths
    shares = sorted(math.log(lr / LOW) / math.log(HIGH / LOW) for lr in lrs[1:])
    assert shares == pytest.approx([k / 8 for k in range(8)])


def test_parameters_beside_the_lr_work_with_any_sampler() -> None:
    study = optuna.create_study(sampler=PerTrialSampler(TPESampler, seed=0))

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("kind", ["a", "b"])
        return trial.suggest_float("lr", LOW, HIGH, log=True) * trial.suggest_int("layers", 1, 3)

    study.optimize(objective, n_trials=15)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 15
    assert all(set(trial.params) == {"kind", "lr", "layers"} for trial in study.trials)


def test_a_factory_that_returns_no_sampler_is_an_error() -> None:
    study = optuna.create_study(sampler=only({"theirs": dict}).sampler(Search(seed=0, num_trials=1)))
    with pytest.raises(InvalidInputError, match="must return an Optuna sampler, but got dict"):
        study.ask().suggest_float("lr", LOW, HIGH, log=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "strategies must name at least one"),
        ({}, "strategies must name at least one"),
        (["grid", "grid"], "strategies must differ in name, but got names=['grid', 'grid']"),
        ([3e-4], "a strategy must be a name, or have one: strategies={'mine': 3e-4}, but got 0.0003"),
        ([TPESampler], "a strategy must be a name, or have one"),
        ({"mine": -0.1}, "lr must be positive and finite, but got lr=-0.1"),
        ({"mine": 0}, "lr must be positive and finite, but got lr=0"),
        ({"mine": math.nan}, "lr must be positive and finite, but got lr=nan"),
        ({"mine": True}, "'mine' must be a name, a number, an Optuna sampler or a Strategy, but got True"),
        ({"mine": None}, "'mine' must be a name, a number, an Optuna sampler or a Strategy, but got None"),
        ({"a/b": 0.1}, "a strategy's name must not hold a slash, but got names=['a/b']"),
        ({"a/b": "grid"}, "a strategy's name must not hold a slash, but got names=['a/b']"),
        ({"a/b": strategies.grid}, "a strategy's name must not hold a slash, but got names=['a/b']"),
    ],
)
def test_what_is_no_strategy_is_an_error_that_says_why(given: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        resolve(given)
    assert message in str(error.value)


def test_an_unknown_name_is_an_error_that_tells_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"strategy must be one that exists, but got 'gird'\. Did you mean 'grid'"
    ):
        resolve(["random", "gird"])
