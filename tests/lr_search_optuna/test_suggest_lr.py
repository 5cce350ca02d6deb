"""suggest_lr: the prior's points, under any sampler."""

import collections
import math

import optuna
import pytest
import scipy.stats
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FixedTrial, TrialState

from lr_search import LRPrior
from lr_search.curves.prior import PRIOR_ATTRIBUTE
from lr_search.errors import InvalidInputError
from lr_search.samplers import FixedSampler, GridSampler, RangeTestSampler
from lr_search_optuna import suggest_lr

PRIOR = LRPrior(low=1e-5, high=10.0, mode=0.02, log10_std=0.5)

optuna.logging.set_verbosity(optuna.logging.WARNING)


def objective(trial):
    """Best at an LR of 0.1, whatever the width."""
    trial.suggest_int("width", 8, 128, log=True)
    return (math.log10(suggest_lr(trial, PRIOR)) + 1) ** 2


def lrs_of(study):
    return [trial.params["lr"] for trial in study.get_trials(deepcopy=False)]


@pytest.fixture(scope="module")
def expected():
    """The points of the prior's own sampler, in a study of its own."""

    def plain(trial):
        trial.suggest_int("width", 8, 128, log=True)
        return (math.log10(trial.suggest_float("lr", 1e-5, 10.0, log=True)) + 1) ** 2

    study = optuna.create_study(sampler=RangeTestSampler(PRIOR))
    study.optimize(plain, n_trials=5)
    return lrs_of(study)


SAMPLERS = {
    "random": lambda: optuna.samplers.RandomSampler(seed=0),
    "tpe": lambda: optuna.samplers.TPESampler(seed=0, n_startup_trials=2),
    "multivariate tpe": lambda: optuna.samplers.TPESampler(seed=0, n_startup_trials=2, multivariate=True),
    "gp": lambda: optuna.samplers.GPSampler(seed=0, n_startup_trials=2),
    "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=0, n_startup_trials=2, warn_independent_sampling=False),
    "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=0, population_size=3),
    "qmc": lambda: optuna.samplers.QMCSampler(seed=0, warn_independent_sampling=False),
}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_points_are_the_priors_whatever_the_sampler(name, expected):
    study = optuna.create_study(sampler=SAMPLERS[name]())
    study.optimize(objective, n_trials=5)
    assert lrs_of(study) == pytest.approx(expected, rel=1e-6)
    assert lrs_of(study)[0] == PRIOR.mode
    widths = {trial.params["width"] for trial in study.trials}
    assert len(widths) > 1


def test_the_first_points_are_the_mode_a_deviation_to_both_sides_and_quantiles_of_a_truncated_normal():
    prior = LRPrior(low=1e-5, high=10.0, mode=0.02, log10_std=0.5, tails=0.0)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    found = [suggest_lr(study.ask(), prior) for _ in range(5)]
    centre = math.log10(prior.mode)
    log_lr = scipy.stats.truncnorm((-5 - centre) / 0.5, (1 - centre) / 0.5, loc=centre, scale=0.5)
    quantiles = [10 ** log_lr.ppf(1 / 4), 10 ** log_lr.ppf(5 / 8)]
    assert found == pytest.approx([0.02, 0.02 * 10**0.5, 0.02 / 10**0.5, *quantiles], rel=1e-6)


def test_it_is_an_ordinary_log_float():
    study = optuna.create_study()
    trial = study.ask()
    lr = suggest_lr(trial, PRIOR, name="peak")
    assert trial.distributions == {"peak": FloatDistribution(1e-5, 10.0, log=True)}
    assert trial.params == {"peak": lr}
    assert suggest_lr(trial, PRIOR, name="peak") == lr
    assert len(study.trials) == 1


def test_an_enqueued_lr_wins_and_uses_up_no_point(expected):
    study = optuna.create_study()
    study.enqueue_trial({"lr": 0.5})
    study.optimize(objective, n_trials=3)
    assert lrs_of(study)[0] == 0.5
    assert lrs_of(study)[1:] == pytest.approx(expected[:2], rel=1e-6)


def test_an_enqueued_mode_is_not_trained_twice(expected):
    study = optuna.create_study()
    study.enqueue_trial({"lr": PRIOR.mode})
    study.optimize(objective, n_trials=2)
    assert lrs_of(study) == pytest.approx(expected[:2], rel=1e-6)


def test_a_retry_of_the_mode_skips_no_point(expected):
    study = optuna.create_study()
    study.optimize(objective, n_trials=1)
    study.enqueue_trial({"lr": PRIOR.mode})  # as Optuna's heartbeat callback does for a trial whose process is gone
    study.optimize(objective, n_trials=2)
    assert lrs_of(study) == pytest.approx([expected[0], expected[0], expected[1]], rel=1e-6)


class Recorder(BaseSampler):
    """Counts what it is asked for, and hands out the same dicts for every trial."""

    def __init__(self):
        self.asked, self.space, self.params = collections.Counter(), {}, {}

    def infer_relative_search_space(self, study, trial):
        return self.space

    def sample_relative(self, study, trial, search_space):
        return self.params

    def sample_independent(self, study, trial, param_name, param_distribution):
        self.asked[param_name] += 1
        return 32


def test_the_studys_sampler_places_the_others_alone_and_keeps_what_is_its_own():
    sampler = Recorder()
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=3)
    assert sampler.asked == {"width": 3}
    assert sampler.space == sampler.params == {}
    assert len(set(lrs_of(study))) == 3


def partial_fixed(fixed):
    return optuna.samplers.PartialFixedSampler(fixed, optuna.samplers.RandomSampler(seed=0))


@pytest.mark.parametrize(
    ("sampler", "first", "second"),
    [
        (lambda: FixedSampler(3e-4), 3e-4, 3e-4),
        (lambda: partial_fixed({"lr": 0.7}), 0.7, 0.7),
        (lambda: partial_fixed({"width": 9}), PRIOR.mode, PRIOR.mode * 10**0.5),
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_that_was_made_for_the_lr_is_left_to_place_it(sampler, first, second):
    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=2)
    assert lrs_of(study) == pytest.approx([first, second])


def test_a_point_sampler_of_another_parameter_does_not_place_the_lr():
    study = optuna.create_study(sampler=GridSampler(4, param="width"))
    study.optimize(objective, n_trials=1)
    assert lrs_of(study) == [PRIOR.mode]


def test_threads_repeat_no_point():
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=16, n_jobs=4)
    assert len(set(lrs_of(study))) == 16


def test_workers_share_one_sequence(tmp_path, expected):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    workers = [
        optuna.create_study(storage=storage, study_name="shared", load_if_exists=True, sampler=sampler())
        for sampler in (SAMPLERS["random"], SAMPLERS["tpe"])
    ]
    for worker in (workers[0], workers[1], workers[1], workers[0], workers[0]):
        worker.optimize(objective, n_trials=1)
    assert lrs_of(workers[0]) == pytest.approx(expected, rel=1e-6)


def test_hyperbands_brackets_do_not_get_in_the_way(expected):
    study = optuna.create_study(pruner=optuna.pruners.HyperbandPruner(), sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=3)
    assert lrs_of(study) == pytest.approx(expected[:3], rel=1e-6)


def test_an_lr_that_ask_has_fixed_stays():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask({"lr": FloatDistribution(1e-3, 1.0, log=True)})
    assert suggest_lr(trial, PRIOR) == trial.params["lr"] != PRIOR.mode


@pytest.mark.parametrize("prior", [None, PRIOR])
def test_fixed_and_frozen_trials_hold_their_lr(prior):
    assert suggest_lr(FixedTrial({"lr": 0.5}), prior) == 0.5
    study = optuna.create_study()
    study.optimize(objective, n_trials=1)
    assert suggest_lr(study.best_trial, prior) == PRIOR.mode


# ---- the prior ----


def test_the_prior_is_read_from_the_study():
    study = optuna.create_study()
    study.set_user_attr(PRIOR_ATTRIBUTE, PRIOR.to_json())
    trial = study.ask()
    assert suggest_lr(trial) == PRIOR.mode
    assert trial.distributions["lr"] == FloatDistribution(1e-5, 10.0, log=True)


def test_without_a_prior_the_message_names_seed_study():
    trial = optuna.create_study(study_name="mine").ask()
    with pytest.raises(InvalidInputError, match=r"'mine' holds none\. Call seed_study\(study, workload\) first"):
        suggest_lr(trial)
    assert trial.params == {}


def test_a_prior_of_a_newer_version_is_refused():
    study = optuna.create_study()
    study.set_user_attr(PRIOR_ATTRIBUTE, {**PRIOR.to_json(), "format": 99})
    with pytest.raises(InvalidInputError, match="format"):
        suggest_lr(study.ask())


@pytest.mark.parametrize("prior", [0.01, (1e-5, 10.0), "lr", PRIOR.to_json()])
def test_a_prior_of_another_type_is_refused(prior):
    with pytest.raises(
        InvalidInputError, match=r"prior must be an lr_search.LRPrior or None, but got .* LRPrior\.around\(1e-3\)"
    ):
        suggest_lr(optuna.create_study().ask(), prior)


# ---- a parameter that is something else ----


@pytest.mark.parametrize(
    "suggest",
    [
        lambda trial: trial.suggest_float("lr", 0.001, 1.0),
        lambda trial: trial.suggest_int("lr", 1, 9),
        lambda trial: trial.suggest_categorical("lr", [0.1, 0.01]),
    ],
)
@pytest.mark.parametrize("same_trial", [True, False])
def test_what_is_there_as_something_else_is_refused(suggest, same_trial):
    study = optuna.create_study()
    trial = study.ask()
    suggest(trial)
    if not same_trial:
        study.tell(trial, 1.0)
        trial = study.ask()
    with pytest.raises(
        InvalidInputError, match=r"'lr' must be a log-scaled float .* another name, suggest_lr\(trial, name"
    ):
        suggest_lr(trial, PRIOR)
    assert suggest_lr(trial, PRIOR, name="peak_lr") == trial.params["peak_lr"]


def test_an_enqueued_value_that_is_no_number_is_told():
    study = optuna.create_study()
    study.enqueue_trial({"lr": "fast"})
    with pytest.raises(InvalidInputError, match="'lr' must be a log-scaled float"):
        suggest_lr(study.ask(), PRIOR)


def test_a_failed_trial_is_no_trouble_for_the_next():
    study = optuna.create_study()
    study.optimize(lambda trial: suggest_lr(trial, PRIOR) * float("nan"), n_trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2
    assert lrs_of(study)[0] == PRIOR.mode != lrs_of(study)[1]
