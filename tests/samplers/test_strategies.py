"""Strategies by name or by value, under the contract for all, and any Optuna sampler as one."""

import math
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, TPESampler

from lr_search import plugins
from lr_search.curves.prior import LRPrior
from lr_search.errors import InvalidInputError, MissingPackageError, UnknownNameError
from lr_search.samplers import (
    FixedSampler,
    GridSampler,
    RandomSampler,
    RangeTestSampler,
    Strategy,
    per_trial,
    strategies,
)
from lr_search.samplers.per_trial import NOT_BY_NAME, OPTUNA_SAMPLERS, PerTrialSampler
from lr_search.samplers.strategies import Search
from lr_search.samplers.strategy_names import resolve_strategies
from lr_search.testing import StrategyContract
from tests.helpers.bowl import compare_in_bowl

LOW, HIGH = 1e-5, 10.0
RANGE = FloatDistribution(LOW, HIGH, log=True)
PRIOR = LRPrior(low=LOW, high=HIGH, mode=0.02, log10_std=0.6)


def only(given: Any) -> Strategy:
    (strategy,) = resolve_strategies(given)
    return strategy


def parabola(lr: float) -> float:
    return math.log10(lr / 0.03) ** 2


def searched(sampler: BaseSampler, count: int, value: Callable[[float], float] = parabola) -> list[float]:
    """The LRs of `count` trials."""
    study = optuna.create_study(sampler=sampler)
    lrs = []
    for _ in range(count):
        trial = study.ask()
        lrs.append(trial.suggest_float("lr", LOW, HIGH, log=True))
        study.tell(trial, value(lrs[-1]))
    return lrs


@pytest.mark.parametrize("name", plugins.registered(plugins.STRATEGIES))
class TestOurs(StrategyContract):
    @pytest.fixture
    def strategy(self, name: str) -> Strategy:
        return only(name)


@pytest.mark.parametrize("given", [3e-4, TPESampler], ids=["an LR", "a class of Optuna's"])
class TestGiven(StrategyContract):
    @pytest.fixture
    def strategy(self, given: Any) -> Strategy:
        return only({"mine": given})


def test_names_give_the_registered_strategies() -> None:
    ours = {"defaults", "grid", "one_epoch", "probe", "random", "range_test", "tpe", "tpe+range_test", "transfer"}
    assert set(plugins.registered(plugins.STRATEGIES)) == ours | {"tpe_range_test"}
    assert resolve_strategies(["grid", "random", "range_test"]) == [
        strategies.grid,
        strategies.random,
        strategies.range_test,
    ]
    assert resolve_strategies("grid") == [strategies.grid]


def test_the_built_in_strategies_make_our_samplers() -> None:
    search = Search(seed=3, num_trials=5, prior=PRIOR)
    grid, random, range_test = (s.sampler(search) for s in resolve_strategies(["grid", "random", "range_test"]))
    assert searched(grid, 5) == searched(GridSampler(num_points=5, seed=3), 5)
    assert searched(random, 5) == searched(RandomSampler(seed=3), 5)
    assert searched(range_test, 5) == searched(RangeTestSampler(PRIOR, seed=3), 5)


def test_what_comes_first_and_which_are_independent_of_results() -> None:
    built_in = {name: only(name) for name in plugins.registered(plugins.STRATEGIES) if name != "tpe_range_test"}
    assert [name for name, strategy in built_in.items() if strategy.probe is not None] == ["probe"]
    assert [name for name, strategy in built_in.items() if strategy.needs_curves] == [
        "range_test",
        "tpe+range_test",
        "transfer",
    ]
    assert [name for name, strategy in built_in.items() if strategy.pilots is not None] == ["transfer"]
    assert all(built_in[name].independent is None for name in ("grid", "random", "probe", "defaults"))
    assert built_in["tpe"].independent == 0  # the last of its random points begins when TPE has enough results
    assert built_in["range_test"].independent == built_in["tpe+range_test"].independent == 3
    assert all(strategy.describe and strategy.name == name for name, strategy in built_in.items())


def test_a_number_is_one_training_at_that_lr() -> None:
    for value in (3e-4, 1):
        strategy = only({"mine": value})
        sampler = strategy.sampler(Search(seed=0, num_trials=1))
        assert isinstance(sampler, FixedSampler)
        assert searched(sampler, 3) == [value] * 3
        assert (strategy.name, strategy.max_trials, strategy.fixed_lr) == ("mine", 1, float(value))
        assert strategy.independent is None


def test_fixed_lrs_of_one_name_differ_in_their_settings() -> None:
    assert only({"mine": 3e-4}).settings != only({"mine": 3e-3}).settings


def test_a_strategy_can_be_given_a_name_of_its_own() -> None:
    assert only({"coarse": "grid"}).name == "coarse"
    assert only({"coarse": "grid"}).sampler is strategies.grid.sampler
    assert only({"coarse": strategies.grid}).name == "coarse"
    assert only([strategies.grid]) is strategies.grid


def test_the_order_given_is_kept() -> None:
    given = {"z": 0.1, "a": "random", "m": TPESampler}
    assert [strategy.name for strategy in resolve_strategies(given)] == ["z", "a", "m"]


def test_each_study_gets_a_copy_of_an_instance() -> None:
    given = TPESampler(seed=5)
    strategy = only({"tpe": given})
    one, other = (strategy.sampler(Search(seed, num_trials=3)) for seed in (0, 1))
    # a sampler that all share would go on in the second study where it was left by the first
    assert searched(one, 3) == searched(other, 3) == searched(TPESampler(seed=5), 3)
    assert searched(given, 3) == searched(TPESampler(seed=5), 3)
    assert strategy.independent == 0
    assert "restart" in strategy.describe
    ours = only({"points": RandomSampler(seed=1)})
    assert ours.independent is None
    assert "restart" not in ours.describe


def test_an_instance_that_cannot_be_copied_is_an_error() -> None:
    class Locked(TPESampler):
        def __init__(self) -> None:
            super().__init__(seed=0)
            self.lock = threading.Lock()

    with pytest.raises(InvalidInputError, match=r"can be copied for each study, but .*Give its class"):
        resolve_strategies({"locked": Locked()})


def test_seeds_give_different_searches() -> None:
    strategy = only({"tpe": TPESampler})
    first, second = (searched(strategy.sampler(Search(seed, 4)), 4) for seed in (0, 1))
    assert not set(first) & set(second)


def test_a_model_based_sampler_learns_from_the_trials_of_the_study() -> None:
    def mean_error(some: list[float]) -> float:
        return sum(abs(math.log10(lr / 0.03)) for lr in some) / len(some)

    runs = [searched(only("tpe").sampler(Search(seed, num_trials=30)), 30) for seed in range(5)]
    assert sum(mean_error(lrs[10:]) for lrs in runs) < 0.75 * sum(mean_error(lrs[:10]) for lrs in runs)


def test_a_factory_without_a_seed_gets_none_and_its_hooks_are_called() -> None:
    points = [1e-3, 1e-2, 1e-1, 1.0]
    strategy = only({"theirs": lambda: optuna.samplers.GridSampler({"lr": points})})
    study = optuna.create_study(sampler=strategy.sampler(Search(seed=0, num_trials=4)))
    study.optimize(lambda trial: trial.suggest_float("lr", LOW, HIGH, log=True), n_trials=10)
    assert sorted(trial.params["lr"] for trial in study.trials) == points  # after the fourth, its hook ended the study


def test_parameters_beside_the_lr_work_with_any_sampler() -> None:
    study = optuna.create_study(sampler=PerTrialSampler(TPESampler, seed=0))

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("kind", ["a", "b"])
        return trial.suggest_float("lr", LOW, HIGH, log=True) * trial.suggest_int("layers", 1, 3)

    study.optimize(objective, n_trials=15)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 15
    assert all(set(trial.params) == {"kind", "lr", "layers"} for trial in study.trials)


def test_our_own_class_keeps_the_study_s_seed_over_its_trials() -> None:
    for given in (GridSampler, partial(GridSampler, 8), lambda seed: GridSampler(8, seed=seed)):
        strategy = only({"mine": given})
        assert strategy.independent is None
        assert searched(strategy.sampler(Search(seed=3, num_trials=4)), 8) == searched(GridSampler(8, seed=3), 8)


# --- tpe+range_test


def test_tpe_range_test_begins_with_the_prior_and_goes_on_with_a_tpe_that_has_no_random_points() -> None:
    search = Search(seed=3, num_trials=8, prior=PRIOR)
    lrs = searched(only("tpe+range_test").sampler(search), 30)
    assert lrs[:3] == [RangeTestSampler(PRIOR).point(number, "lr", RANGE) for number in range(3)]
    # one that still had random points to draw would draw the same whatever the results were
    upside_down = searched(only("tpe+range_test").sampler(search), 8, value=lambda lr: -(math.log10(lr / 0.03) ** 2))
    assert upside_down[:3] == lrs[:3]
    assert upside_down[3:5] != lrs[3:5]
    assert any(lr < PRIOR.ppf(0.1) or lr > PRIOR.ppf(0.9) for lr in lrs[3:])  # the whole range


def test_tpe_range_test_is_another_name_of_the_same() -> None:
    assert only("tpe_range_test") is only("tpe+range_test") is strategies.tpe_range_test
    assert only({"tpe_range_test": "tpe_range_test"}) is strategies.tpe_range_test  # as the command line gives it
    assert only({"mine": "tpe_range_test"}).name == "mine"
    with pytest.raises(InvalidInputError, match="strategies must differ in name"):
        resolve_strategies(["tpe_range_test", "tpe+range_test"])


def test_what_began_under_one_name_goes_on_under_the_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    first, again = (
        compare_in_bowl(url, strategies=[name], schedules=["constant"], seeds=1, budget=budget).trials
        for name, budget in (("tpe+range_test", 6), ("tpe_range_test", 8))
    )
    assert set(again["strategy"]) == {"tpe+range_test"}
    assert again["lr"].tolist()[: len(first)] == first["lr"].tolist()
    alone = compare_in_bowl(None, strategies=["tpe_range_test"], schedules=["constant"], seeds=1, budget=8).trials
    assert len(first) < len(again) == len(alone)
    assert again["lr"].tolist() == alone["lr"].tolist()


def test_tpe_as_it_comes_begins_at_random() -> None:
    search = Search(seed=3, num_trials=8)
    upside_down = searched(only("tpe").sampler(search), 12, value=lambda lr: -(math.log10(lr / 0.03) ** 2))
    lrs = searched(only("tpe").sampler(search), 12)
    assert upside_down[:10] == lrs[:10]
    assert upside_down[10:] != lrs[10:]


# --- Optuna's by name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gp", optuna.samplers.GPSampler),
        ("GPSampler", optuna.samplers.GPSampler),
        ("cmaes", optuna.samplers.CmaEsSampler),
        ("CMA-ES", optuna.samplers.CmaEsSampler),
        ("nsgaii", optuna.samplers.NSGAIISampler),
        ("TPESampler", TPESampler),
        ("RandomSampler", optuna.samplers.RandomSampler),
    ],
)
@pytest.mark.filterwarnings("ignore:GPSampler is experimental")  # in Optuna 4
def test_optuna_s_samplers_go_by_name(name: str, kind: type[BaseSampler]) -> None:
    strategy = only(name)
    sampler = strategy.sampler(Search(seed=0, num_trials=3))
    assert strategy.name == name
    assert isinstance(sampler, PerTrialSampler)
    assert type(sampler.first) is kind
    assert strategy.settings == kind.__name__
    assert only({"mine": name}).name == "mine"


@pytest.mark.long
def test_they_run_in_a_comparison_whose_larger_lrs_diverge() -> None:
    given = {
        "gp": partial(optuna.samplers.GPSampler, n_startup_trials=4),
        "tpe": partial(TPESampler, n_startup_trials=4),
        "nsgaii": partial(optuna.samplers.NSGAIISampler, population_size=4),
        **{name: name for name in ("cmaes", "qmc", "tpe+range_test")},
    }
    with pytest.warns(optuna.exceptions.ExperimentalWarning) as told:
        trials = compare_in_bowl(None, strategies=given, schedules=["constant"], budget=7, lr_range=(1e-3, 1e3)).trials
    named = sorted(str(warning.message).partition(" ")[0] for warning in told)
    # once, not for each trial; Optuna 4 warns of its GP too
    assert named in (["QMCSampler"], ["GPSampler", "QMCSampler"])
    counts = trials.groupby("strategy", observed=True).size()
    assert set(counts.drop("tpe+range_test")) == {14}  # two seeds
    assert 8 <= counts["tpe+range_test"] < 14
    diverged = trials[trials["outcome"] == "diverged"]
    assert set(diverged["strategy"]) == set(given)
    studies = trials[trials["strategy"] != "gp"].groupby(
        ["strategy", "seed"], observed=True
    )  # which may try an end of the range twice
    assert studies["lr"].nunique().equals(studies.size())


def test_every_sampler_of_optuna_that_needs_no_arguments_has_a_name() -> None:
    assert set(OPTUNA_SAMPLERS.values()) | set(NOT_BY_NAME) == {
        k for k in optuna.samplers.__all__ if k.endswith("Sampler")
    }
    for name in OPTUNA_SAMPLERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            assert len(searched(only({"theirs": f"{name}sampler"}).sampler(Search(seed=0, num_trials=3)), 3)) == 3


@pytest.mark.parametrize(("name", "package"), [("cmaes", "cmaes"), ("gp", "scipy"), ("qmc", "scipy")])
@pytest.mark.filterwarnings("ignore:.*Sampler is experimental")
def test_a_sampler_whose_package_is_missing_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setattr(per_trial, "find_spec", lambda wanted: None)
    kind = per_trial.sampler_class(name)
    assert kind is not None
    for given in (name, {"mine": kind}, {"mine": lambda seed: kind(seed=seed)}):
        with pytest.raises(MissingPackageError, match=f"{kind.__name__} needs {package}: pip install {package}"):
            resolve_strategies(given)
    assert len(resolve_strategies(["tpe", "nsgaii"])) == 2


def test_a_sampler_that_imports_what_is_missing_says_so() -> None:
    def factory() -> BaseSampler:
        import a_package_that_is_not_there

        return a_package_that_is_not_there.Sampler()  # type: ignore[no-any-return]

    with pytest.raises(MissingPackageError, match="pip install a_package_that_is_not_there"):
        resolve_strategies({"theirs": factory})


# --- errors


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (dict, "must return an Optuna sampler, but got dict"),
        (optuna.samplers.GridSampler, "must return an Optuna sampler when it is called, but it raised TypeError"),
        (lambda: 1 / 0, "it raised ZeroDivisionError: division by zero (test_strategies.py, line"),
    ],
)
def test_a_factory_that_makes_no_sampler_is_an_error_before_anything_runs(factory: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        resolve_strategies({"theirs": factory})
    assert message in str(error.value)


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
        ({"mine": math.nan}, "lr must be a number, but got nan"),
        ({"mine": True}, "'mine' must be a name, a number, an Optuna sampler or a Strategy, but got True"),
        ({"mine": None}, "'mine' must be a name, a number, an Optuna sampler or a Strategy, but got None"),
        ({"a/b": 0.1}, "a strategy's name must not hold a slash, but got names=['a/b']"),
        ({"a/b": "grid"}, "a strategy's name must not hold a slash, but got names=['a/b']"),
        ({"a/b": strategies.grid}, "a strategy's name must not hold a slash, but got names=['a/b']"),
    ],
)
def test_what_is_no_strategy_is_an_error_that_says_why(given: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        resolve_strategies(given)
    assert message in str(error.value)


def test_an_unknown_name_is_an_error_that_tells_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"strategy must be one that exists, but got 'gird'\. Did you mean 'grid'"
    ):
        resolve_strategies(["random", "gird"])
    with pytest.raises(
        UnknownNameError, match=r"got 'cmeas'\. Did you mean 'cmaes'.*Known: .*gp, grid.*tpe\+range_test"
    ):
        resolve_strategies("cmeas")
