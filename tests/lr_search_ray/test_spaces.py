"""Search spaces for a Tuner of one's own: what is drawn, what Ray's searchers make of it, and how a config is read back."""

import doctest
import math
import pickle
import sys

import numpy as np
import optuna
import pytest
import ray
import scipy.stats
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from ray import tune
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Float

import lr_search as lrs
from lr_search import LRPrior, plugins
from lr_search.errors import InvalidInputError, UnknownNameError
from lr_search.schedules import sgdr
from lr_search.schedules.layout import Range
from lr_search.training.controller import Controller
from lr_search_optuna import suggest_schedule
from lr_search_ray.tune import spaces
from lr_search_ray.tune.spaces import schedule_of, schedule_space, search_space

pytestmark = pytest.mark.ray

PRIOR = LRPrior(low=1e-5, high=10.0, mode=0.02, log10_std=0.5, tails=0.2)
NUM_STEPS = 1000
EVERY_NAME = sorted(plugins.registered(plugins.SCHEDULES))
STEPS = range(0, NUM_STEPS, 7)


def prior_cdf(lr):
    """PRIOR's, in scipy's words."""
    place = np.log10(lr)
    body = scipy.stats.truncnorm((-5 - math.log10(0.02)) / 0.5, (1 - math.log10(0.02)) / 0.5, math.log10(0.02), 0.5)
    return 0.8 * body.cdf(place) + 0.2 * scipy.stats.uniform(-5, 6).cdf(place)


def distance(config):
    """Least at an LR of 0.02 and a width of 2."""
    return abs(math.log10(config["lr"] / 0.02)) + abs(config.get("width", 2) - 2)


def test_the_examples_of_the_docstrings_run():
    found = doctest.testmod(spaces)
    assert found.failed == 0
    assert found.attempted >= 6


# -- the learning rate


@pytest.mark.parametrize("random_state", [7, np.random.default_rng(7), np.random.RandomState(7)], ids=type)
def test_the_draws_are_the_priors(random_state):
    drawn = search_space(PRIOR)["lr"].sample(size=3000, random_state=random_state)
    assert PRIOR.low <= drawn.min() < 1e-4
    assert 1.0 < drawn.max() <= PRIOR.high
    assert scipy.stats.kstest(drawn, prior_cdf).pvalue > 0.05
    assert (
        scipy.stats.kstest(np.log10(drawn), scipy.stats.uniform(-5, 6).cdf).pvalue < 1e-9
    )  # what Tune's own would draw


def test_single_draws_one_after_the_other_are_the_priors_too():
    domain, generator = search_space(PRIOR)["lr"], np.random.default_rng(3)
    drawn = [domain.sample({"width": 64}, random_state=generator) for _ in range(200)]
    assert {type(lr) for lr in drawn} == {float}
    assert scipy.stats.kstest(drawn, prior_cdf).pvalue > 0.05


def test_a_seed_gives_the_same_draws_and_none_draws_from_numpys_global_generator(seed_all):
    domain = search_space(PRIOR)["lr"]
    assert domain.sample(random_state=5) == domain.sample(random_state=5) != domain.sample(random_state=6)
    seed_all(1)
    first = domain.sample()
    assert domain.sample() != first
    seed_all(1)
    assert domain.sample() == first


def test_the_domain_is_a_float_between_the_priors_bounds_and_pickles():
    (name, domain), *others = search_space(PRIOR, "optimizer_lr").items()
    assert (name, others) == ("optimizer_lr", [])
    assert isinstance(domain, Float)
    assert (domain.lower, domain.upper) == (1e-5, 10.0)
    again = pickle.loads(pickle.dumps(domain))
    assert again.sample(size=5, random_state=0).tolist() == domain.sample(size=5, random_state=0).tolist()


def test_ray_optuna_search_takes_it_as_log_uniform():
    space = {**search_space(PRIOR), "model": search_space(PRIOR, "lr"), "fixed": 3}
    wanted = FloatDistribution(1e-5, 10.0, log=True)
    assert OptunaSearch.convert_search_space(space) == {"lr": wanted, "model/lr": wanted}


@pytest.mark.parametrize("prior", [None, 1e-3, (1e-5, 10.0)])
def test_something_else_than_a_prior_is_refused(prior):
    with pytest.raises(
        InvalidInputError, match=r"prior must be an lr_search\.LRPrior, but got .* LRPrior\.around\(1e-3\)"
    ):
        search_space(prior)


# -- the schedule


def by_suggest_schedule(name, num_steps, **options):
    """The parameters that `suggest_schedule` makes of that schedule."""
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    suggest_schedule(trial, name, num_steps, lr=0.1, **options)
    return trial.distributions


@pytest.mark.parametrize("name", EVERY_NAME)
def test_names_and_ranges_are_those_of_suggest_schedule(name):
    space = schedule_space(name, NUM_STEPS, steps_per_epoch=20)
    wanted = by_suggest_schedule(name, NUM_STEPS, steps_per_epoch=20)
    assert OptunaSearch.convert_search_space(space) == wanted


def test_each_schedule_has_its_own_options_beside_the_others():
    space = schedule_space(["constant", "triangular2", "one_cycle"], NUM_STEPS)
    assert OptunaSearch.convert_search_space(space) == {
        "schedule": CategoricalDistribution(["constant", "triangular2", "one_cycle"]),
        "triangular2.cycles": IntDistribution(3, 8),
        "triangular2.base_ratio": FloatDistribution(1 / 20, 1 / 2, log=True),
        "one_cycle.pct_start": FloatDistribution(0.1, 0.5),
        "one_cycle.div_factor": FloatDistribution(5.0, 50.0, log=True),
    }
    assert set(schedule_space(["sgdr", "cosine"], NUM_STEPS, search_shape=False, name="policy")) == {"policy"}


def test_a_short_training_has_fewer_cycles_to_choose_from():
    cycles = schedule_space("triangular", 10)["triangular.cycles"]
    assert {cycles.sample(random_state=seed) for seed in range(60)} == {3, 4, 5}  # two steps a cycle at least


def test_whole_numbers_reach_their_upper_bound_on_a_log_scale_too(monkeypatch):
    layout = sgdr.sgdr
    ranges = {"cycles": Range(3, 6, log=True, whole=True)}
    monkeypatch.setattr(layout, "searchable", ranges)
    cycles = schedule_space("sgdr", NUM_STEPS)["sgdr.cycles"]
    drawn = cycles.sample(size=4000, random_state=0)
    assert sorted(set(drawn.tolist())) == [3, 4, 5, 6]
    assert np.mean(drawn == 3) == pytest.approx(math.log(4 / 3) / math.log(7 / 3), abs=0.03)


@pytest.mark.parametrize(
    ("names", "num_steps", "error", "message"),
    [
        ([], NUM_STEPS, InvalidInputError, r"names must hold at least one schedule, but got \[\]"),
        (["sgdr", "cosine", "sgdr"], NUM_STEPS, InvalidInputError, r"names must differ, but got \['sgdr'"),
        (
            [["sgdr"]],
            NUM_STEPS,
            InvalidInputError,
            r"names must be a text or a sequence of texts, but got \[\['sgdr'\]\]",
        ),
        (["constant", "tringular2"], NUM_STEPS, UnknownNameError, "Did you mean 'triangular2'"),
        (["constant", "triangular"], 2, InvalidInputError, "3"),
        ("constant", 0, InvalidInputError, "num_steps must be at least 1, but got num_steps=0"),
    ],
)
@pytest.mark.parametrize("search_shape", [True, False])
def test_a_bad_space_is_told_at_once(names, num_steps, error, message, search_shape):
    with pytest.raises(error, match=message):
        schedule_space(names, num_steps, search_shape=search_shape)


def test_a_bad_length_of_an_epoch_is_told_at_once():
    with pytest.raises(InvalidInputError, match="steps_per_epoch must be positive, or None, but got steps_per_epoch=0"):
        schedule_space("constant", NUM_STEPS, steps_per_epoch=0)


# -- a config, read back


@pytest.mark.parametrize("name", EVERY_NAME)
@pytest.mark.parametrize("search_shape", [True, False])
def test_what_was_drawn_is_what_is_trained_under(name, search_shape):
    space = schedule_space(
        ["constant", "sgdr", name] if name not in ("constant", "sgdr") else name,
        NUM_STEPS,
        steps_per_epoch=20,
        search_shape=search_shape,
    )
    for seed in range(4):
        config = {key: domain.sample(random_state=seed) for key, domain in space.items()} | {"schedule": name, "lr": 1}
        found = schedule_of(config, NUM_STEPS, steps_per_epoch=20, lr=0.3)
        shape = {key.partition(".")[2]: value for key, value in config.items() if key.startswith(f"{name}.")}
        wanted = lrs.schedules.by_name(name, 0.3, NUM_STEPS, 20, **shape)
        assert bool(shape) == (search_shape and f"{name}." in " ".join(space))
        if isinstance(wanted, Controller):
            assert found == wanted
        else:
            assert found(list(STEPS)).tolist() == wanted(list(STEPS)).tolist()
            assert found.cycle_ends(NUM_STEPS) == wanted.cycle_ends(NUM_STEPS)


def test_the_rules_choose_the_cycles_by_the_epochs():
    found = schedule_of({"schedule": "triangular"}, NUM_STEPS, steps_per_epoch=4, lr=0.5)
    wanted = lrs.schedules.by_name("triangular", 0.5, NUM_STEPS, 4)
    assert found.cycle_ends(NUM_STEPS) == wanted.cycle_ends(NUM_STEPS)
    assert len(found.cycle_ends(NUM_STEPS)) > 4


def test_a_training_too_short_for_the_ranges_is_trained_by_the_papers_rules():
    with pytest.raises(InvalidInputError, match="pct_start"):
        schedule_space("one_cycle", 10)
    assert list(schedule_space("one_cycle", 10, search_shape=False)) == ["schedule"]
    assert schedule_of({"schedule": "one_cycle"}, 10, lr=0.5).describe()


def test_without_a_schedule_it_is_constant():
    assert schedule_of({"lr": 0.3, "sgdr.cycles": 99}, 10, lr=0.25)(list(range(10))).tolist() == [0.25] * 10


def test_missing_options_are_chosen_by_the_papers_rules():
    found = schedule_of({"schedule": "sgdr", "sgdr.cycles": 3}, 700, lr=0.5)
    assert found.cycle_ends(700) == [100, 300, 700]  # T_mult = 2


def test_the_schedule_may_have_another_name():
    found = schedule_of({"policy": "sgdr", "schedule": "nonsense", "sgdr.cycles": 3}, 700, lr=0.5, name="policy")
    assert found.cycle_ends(700) == [100, 300, 700]


@pytest.mark.parametrize("cycles", [4, 4.0, np.int64(4), np.float32(4)])
def test_whole_numbers_come_in_any_type(cycles):
    assert len(schedule_of({"schedule": "triangular", "triangular.cycles": cycles}, 800, lr=0.5).cycle_ends(800)) == 4


def test_a_bound_that_a_searcher_missed_by_its_last_bits_is_the_bound():
    below = 10 ** math.log10(0.05) * (1 - 1e-15)
    assert below < 0.05
    found = schedule_of({"schedule": "triangular", "triangular.base_ratio": below}, 800, lr=2.0)
    assert found.base_lr == 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sgdr.cycles": 7},
            r"^sgdr.cycles must be a whole number from 3 to 6, but got 7. Take it from schedule_space\(",
        ),
        ({"sgdr.cycles": 2}, "sgdr.cycles must be a whole number from 3 to 6, but got 2"),
        ({"sgdr.cycles": 4.5}, "sgdr.cycles must be a whole number from 3 to 6, but got 4.5"),
        ({"sgdr.cycles": "4"}, "sgdr.cycles must be a whole number from 3 to 6, but got '4'"),
        ({"sgdr.cycles": None}, "sgdr.cycles must be a whole number from 3 to 6, but got None"),
        ({"sgdr.T_mult": 2.001}, r"sgdr.T_mult must be a number from 1 to 2, but got 2.001"),
        ({"sgdr.base_ratio": math.nan}, r"sgdr.base_ratio must be a number from 0.001 to 0.3, but got nan"),
        ({"sgdr.T_mult": math.inf}, r"sgdr.T_mult must be a number from 1 to 2, but got inf"),
        (
            {"sgdr.tmult": 2.0},
            r"searched \(sgdr.cycles, sgdr.T_mult, sgdr.base_ratio\), but got 'sgdr.tmult'. Remove 'sgdr.tmult' from",
        ),
    ],
)
def test_a_bad_option_is_told(options, message):
    with pytest.raises(InvalidInputError, match=message):
        schedule_of({"schedule": "sgdr", "sgdr.cycles": 3} | options, NUM_STEPS, lr=0.1)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"schedule": "cosin"}, UnknownNameError, "Did you mean 'cosine'"),
        (
            {"schedule": ["sgdr"]},
            InvalidInputError,
            r"config\['schedule'\] must be a schedule's name, but got \['sgdr'\]",
        ),
        (
            {"schedule": "constant", "constant.cycles": 3},
            InvalidInputError,
            r"searched \(it has none\), but got 'constant",
        ),
        ({"schedule": "triangular"}, InvalidInputError, "lr must be positive and finite, but got lr=0.0"),
    ],
)
def test_a_bad_config_is_told(config, error, message):
    with pytest.raises(error, match=message):
        schedule_of(config, NUM_STEPS, lr=0.0)


# -- on Ray


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, shared_ray):
    """Runs Tuners for the least distance; returns the trials' configs."""
    folder = tmp_path_factory.mktemp("ray")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # so that workers need not load this module

    def run(space, **settings):
        found = tune.Tuner(
            lambda config: {"distance": distance(config)},
            param_space=space,
            tune_config=tune.TuneConfig(
                reuse_actors=True, max_concurrent_trials=1, metric="distance", mode="min", **settings
            ),
            run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
        ).fit()
        configs = [each.config for each in found]
        assert [each.metrics["distance"] for each in found] == [distance(config) for config in configs]
        return configs

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AIR_NEW_OUTPUT", "0")
        yield run
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_plain_tuner_draws_from_the_prior_beside_a_grid(tuned):
    space = {**search_space(PRIOR), "width": tune.grid_search([1, 2])}
    configs = tuned(space, num_samples=2, search_alg=BasicVariantGenerator(random_state=4))
    assert sorted(config["width"] for config in configs) == [1, 1, 2, 2]
    drawn = [config["lr"] for config in configs]
    wanted = search_space(PRIOR)["lr"].sample(size=4, random_state=4)
    assert sorted(drawn) == sorted(wanted.tolist())


def test_rays_optuna_search_takes_both_spaces(tuned):
    space = {**search_space(PRIOR), **schedule_space(["constant", "sgdr"], NUM_STEPS)}
    search = OptunaSearch(sampler=optuna.samplers.RandomSampler(seed=3))
    configs = tuned(space, num_samples=4, search_alg=search)
    assert {config["schedule"] for config in configs} == {"constant", "sgdr"}
    for config in configs:
        assert set(config) == {"lr", "schedule", "sgdr.cycles", "sgdr.T_mult", "sgdr.base_ratio"}
        assert PRIOR.low <= config["lr"] <= PRIOR.high
        assert schedule_of(config, NUM_STEPS, lr=config["lr"])(0) == config["lr"]
