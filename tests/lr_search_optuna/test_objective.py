"""objective: LR, schedule, training and report together."""

import math

import optuna
import pytest
from optuna.trial import FixedTrial, TrialState

from lr_search import LRPrior
from lr_search.errors import InvalidInputError, UnknownNameError
from lr_search_optuna import objective, seed_study
from tests.helpers.bowl import LR_RANGE, bowl, losses, lrs_of
from tests.helpers.workloads import line

PRIOR = LRPrior.around(0.05, lr_range=LR_RANGE)

optuna.logging.set_verbosity(optuna.logging.WARNING)


def make_study(**settings):
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), **settings)


def test_each_trial_is_a_training_at_its_lr_under_its_schedule():
    study = make_study(pruner=optuna.pruners.NopPruner())
    study.optimize(objective(bowl(), ["constant", "triangular2"], prior=PRIOR), n_trials=8)
    assert {trial.params["schedule"] for trial in study.trials} == {"constant", "triangular2"}
    assert study.trials[0].params["lr"] == PRIOR.mode
    for trial in study.trials:
        expected = losses(lrs_of(trial.params["schedule"], trial.params["lr"]), 0)[-1]
        assert trial.value == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_the_seed_is_the_trainings():
    trial = FixedTrial({"lr": 0.05, "schedule": "constant"})
    for seed in (0, 1):
        value = objective(bowl(), seed=seed)(trial)
        assert value == pytest.approx(losses(lrs_of("constant", 0.05), seed)[-1], rel=1e-4)


def test_the_studys_own_prior_is_used_and_trials_can_be_repeated():
    study = make_study()
    prior = seed_study(study, line(), num_steps=40)
    run = objective(line(), "cosine")
    study.optimize(run, n_trials=3)
    assert study.trials[0].params["lr"] == prior.mode
    assert run(FixedTrial(study.best_params)) == study.best_value
    assert run(study.best_trial) == study.best_value


def test_the_shape_is_searched_where_that_is_asked_for():
    kept, searched = make_study(), make_study()
    kept.optimize(objective(bowl(), "triangular", prior=PRIOR), n_trials=1)
    searched.optimize(objective(bowl(), "triangular", prior=PRIOR, search_shape=True), n_trials=1)
    assert set(kept.best_params) == {"lr", "schedule"}
    assert set(searched.best_params) == {"lr", "schedule", "triangular.cycles", "triangular.base_ratio"}


def test_a_diverged_trial_is_complete_with_the_worst_value():
    study = make_study()
    study.enqueue_trial({"lr": 900.0})
    study.optimize(objective(bowl(), prior=PRIOR), n_trials=2)
    diverged, other = study.trials
    assert (diverged.state, diverged.value) == (TrialState.COMPLETE, math.inf)
    assert "inf" in diverged.user_attrs["diverged"] or "nan" in diverged.user_attrs["diverged"]
    assert study.best_trial == other


def test_the_studys_pruner_prunes():
    study = make_study(pruner=optuna.pruners.ThresholdPruner(upper=1e-3))
    study.optimize(objective(bowl(), prior=PRIOR), n_trials=1)
    assert study.trials[0].state == TrialState.PRUNED


def test_the_name_is_the_parameters():
    study = make_study()
    study.optimize(objective(bowl(), prior=PRIOR, name="peak_lr"), n_trials=1)
    assert set(study.best_params) == {"peak_lr", "schedule"}


# ---- bad input ----


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((bowl(), ["constant", "sgrd"]), UnknownNameError, "Did you mean 'sgdr'"),
        ((bowl(), []), InvalidInputError, "schedules must name at least one"),
        ((bowl(), ["sgdr", "sgdr"]), InvalidInputError, "schedules must differ in name"),
        ((bowl(num_steps=2), "sgdr"), InvalidInputError, "3"),
        (("bowl",), InvalidInputError, r"workload must be an lr_search\.Workload, but got 'bowl'"),
    ],
)
def test_bad_arguments_are_told_before_a_trial(arguments, error, message):
    with pytest.raises(error, match=message):
        objective(*arguments)


def test_a_prior_of_another_type_is_refused():
    with pytest.raises(InvalidInputError, match=r"prior must be an lr_search.LRPrior or None, but got 0.1"):
        objective(bowl(), prior=0.1)


def test_a_study_of_another_direction_is_refused_before_anything_is_suggested():
    study = make_study(direction="maximize")
    with pytest.raises(InvalidInputError, match="direction must be the workload's"):
        study.optimize(objective(bowl(), prior=PRIOR), n_trials=1)
    assert study.trials[0].params == {}


def test_a_study_without_a_prior_is_told_to_seed_it():
    study = make_study()
    with pytest.raises(InvalidInputError, match="Call seed_study"):
        study.optimize(objective(bowl()), n_trials=1)
