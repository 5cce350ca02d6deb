"""seed_study: a range test once, its prior for all workers, its mode first."""

import optuna
import pytest

from lr_search import LRPrior
from lr_search.curves.prior import PRIOR_ATTRIBUTE
from lr_search.errors import InvalidInputError, UnknownNameError
from lr_search.samplers import RangeTestSampler
from lr_search_optuna import STEPS_ATTRIBUTE, seed_study, suggest_lr
from tests.helpers.workloads import line

RANGE = (1e-4, 10.0)

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def counted():
    """A workload, and how many models it has made."""
    made = []
    work = line()
    return line(model=lambda: made.append(1) or work.model()), made


def test_the_prior_is_that_of_the_workloads_own_range_test_and_is_stored_with_its_cost():
    study = optuna.create_study()
    prior = seed_study(study, line(), lr_range=RANGE, num_steps=40, gain_ratio=False)
    curve = line().range_test(0, start_lr=1e-4, end_lr=10.0, num_steps=40, gain_ratio=False)
    assert prior == LRPrior.from_curves([curve], lr_range=RANGE)
    assert LRPrior.from_json(study.user_attrs[PRIOR_ATTRIBUTE]) == prior
    assert study.user_attrs[STEPS_ATTRIBUTE] == curve.num_steps == curve.steps_charged


def test_several_curves_are_of_different_seeds_and_all_are_charged():
    study = optuna.create_study()
    prior = seed_study(study, line(), curves=2, seed=3, lr_range=RANGE, num_steps=40)
    curves = [line().range_test(seed, start_lr=1e-4, end_lr=10.0, num_steps=40) for seed in (3, 1_000_006)]
    assert prior == LRPrior.from_curves(curves, lr_range=RANGE)
    assert study.user_attrs[STEPS_ATTRIBUTE] == sum(curve.steps_charged for curve in curves)


def test_each_schedule_has_a_prior_of_its_own():
    constant, cyclic = (
        seed_study(optuna.create_study(), line(), schedule=schedule, num_steps=60)
        for schedule in ("constant", "triangular2")
    )
    curve = line().range_test(0, start_lr=1e-5, end_lr=10.0, num_steps=60)
    assert constant == LRPrior.from_curves([curve], schedule="constant", num_steps=line().num_steps)
    assert cyclic == LRPrior.from_curves([curve], schedule="triangular2", num_steps=line().num_steps) != constant


def test_the_mode_is_the_first_trials_lr_whatever_suggests_it():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    prior = seed_study(study, line(), num_steps=40, name="peak")
    first, second = study.ask(), study.ask()
    assert first.suggest_float("peak", 1e-5, 10.0, log=True) == prior.mode
    assert suggest_lr(second, name="peak") != prior.mode


def test_a_second_worker_runs_nothing_and_enqueues_nothing(counted, tmp_path):
    work, made = counted
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    workers = [optuna.create_study(storage=storage, study_name="s", load_if_exists=True) for _ in range(2)]
    first = seed_study(workers[0], work, num_steps=40)
    models = len(made)
    assert models > 0
    assert seed_study(workers[1], work, seed=7, curves=3, num_steps=50) == first
    assert len(made) == models
    assert len(workers[1].trials) == 1


def test_of_two_workers_at_the_same_time_the_first_to_end_is_heard():
    study = optuna.create_study()
    theirs = LRPrior.around(0.123)

    def model():
        study.set_user_attr(PRIOR_ATTRIBUTE, theirs.to_json())
        return line().model()

    assert seed_study(study, line(model=model), num_steps=40) == theirs
    assert study.trials == []
    assert STEPS_ATTRIBUTE not in study.user_attrs


def test_trials_that_are_there_already_stay_and_the_mode_comes_next():
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("lr", 1e-5, 10.0, log=True), n_trials=2)
    prior = seed_study(study, line(), num_steps=40)
    assert study.ask().suggest_float("lr", 1e-5, 10.0, log=True) == prior.mode


def test_a_sampler_that_begins_at_the_mode_itself_gets_it_once():
    study = optuna.create_study()
    prior = seed_study(study, line(), num_steps=40)
    study = optuna.create_study(sampler=RangeTestSampler(prior))
    seed_study(study, line(), num_steps=40)
    lrs = [study.ask().suggest_float("lr", 1e-5, 10.0, log=True) for _ in range(2)]
    assert lrs[0] == prior.mode != lrs[1]


# ---- bad input: told before anything runs ----


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (["maximize"], r"direction must be the workload's, 'minimize', but got 'maximize'\. Make the study with"),
        (["minimize", "minimize"], "but got 'minimize, minimize'"),
    ],
)
def test_a_study_of_another_direction_is_refused(counted, directions, message):
    work, made = counted
    with pytest.raises(InvalidInputError, match=message):
        seed_study(optuna.create_study(directions=directions), work)
    assert made == []


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"schedule": "sgrd"}, UnknownNameError, "Did you mean 'sgdr'"),
        ({"num_step": 40}, UnknownNameError, "setting of a range test .* Did you mean 'num_steps'"),
        ({"seeds": 2}, UnknownNameError, "setting of a range test"),
        ({"curves": 0}, InvalidInputError, "curves must be from 1 to 10,000, but got curves=0"),
        ({"curves": 1.5}, InvalidInputError, "curves must be a whole number"),
        ({"lr_range": (1.0, 0.1)}, InvalidInputError, r"lr_range must be \(low, high\) with 0 < low < high"),
        ({"lr_range": 0.1}, InvalidInputError, "lr_range must be a pair"),
    ],
)
def test_bad_settings_are_refused(counted, settings, error, message):
    work, made = counted
    study = optuna.create_study()
    with pytest.raises(error, match=message):
        seed_study(study, work, **settings)
    assert made == []
    assert study.user_attrs == {}
    assert study.trials == []


def test_something_else_than_a_workload_is_refused():
    with pytest.raises(InvalidInputError, match=r"workload must be an lr_search\.Workload, but got \{\}"):
        seed_study(optuna.create_study(), {})


def test_a_stored_prior_of_a_newer_version_is_refused():
    study = optuna.create_study()
    study.set_user_attr(PRIOR_ATTRIBUTE, {"format": 99, "low": 1.0})
    with pytest.raises(InvalidInputError, match="format"):
        seed_study(study, line())
