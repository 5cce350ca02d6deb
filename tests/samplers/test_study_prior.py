"""A prior from an earlier study, and how it is kept for all who work on a study."""

import math
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
import pytest

from lr_search.curves.prior import PRIOR_ATTRIBUTE, LRPrior
from lr_search.errors import InvalidInputError
from lr_search.samplers import RangeTestSampler

RANGE = optuna.distributions.FloatDistribution(1e-5, 10.0, log=True)


def study_of(lrs: Any, value: Any, **options: Any) -> optuna.Study:
    """A study with a trial at each LR, whose objective is `value` of its log10."""
    study = optuna.create_study(**options)
    for lr in lrs:
        study.add_trial(
            optuna.create_trial(
                params={"lr": float(lr)}, distributions={"lr": RANGE}, value=float(value(math.log10(lr)))
            )
        )
    return study


def parabola(place: float) -> float:
    return (place + 1.5) ** 2


def test_the_mode_is_where_the_objective_is_best_and_more_trials_narrow_it() -> None:
    found = [LRPrior.from_study(study_of(np.geomspace(2e-5, 5, n), parabola)) for n in (3, 6, 24)]
    assert math.log10(found[2].mode) == pytest.approx(-1.5, abs=0.1)
    assert found[0].log10_std > found[1].log10_std > found[2].log10_std
    assert (found[0].low, found[0].high) == (RANGE.low, RANGE.high)


def test_one_trial_leaves_nearly_all_open_and_its_lr_is_the_mode() -> None:
    prior = LRPrior.from_study(study_of([1e-3], parabola))
    assert prior.mode == pytest.approx(1e-3)
    low, high = prior.ppf([0.1, 0.9])
    assert math.log10(high / low) > 3


def test_a_study_that_maximizes_gives_the_same_as_one_that_minimizes_the_opposite() -> None:
    lrs = np.geomspace(1e-4, 1, 9)
    up = study_of(lrs, lambda place: -parabola(place), direction="maximize")
    assert LRPrior.from_study(up) == LRPrior.from_study(study_of(lrs, parabola))


def test_trials_that_diverged_count_as_bad() -> None:
    lrs = np.geomspace(1e-4, 10, 11)
    study = study_of(lrs, lambda place: math.inf if place > -1 else -place)  # the higher the better, until it diverges
    assert -2.2 < math.log10(LRPrior.from_study(study).mode) <= -0.9


def test_the_same_study_gives_the_same_prior_and_another_name_may_be_given() -> None:
    study = study_of(np.geomspace(1e-4, 1, 7), parabola)
    assert LRPrior.from_study(study) == LRPrior.from_study(study)
    other = optuna.create_study()
    for lr in np.geomspace(1e-4, 1, 7):
        value = parabola(math.log10(lr))
        trial = optuna.create_trial(params={"eta": float(lr)}, distributions={"eta": RANGE}, value=value)
        other.add_trial(trial)
    assert LRPrior.from_study(other, "eta") == LRPrior.from_study(study)


def test_what_is_no_such_study_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InvalidInputError, match=r"finished trial with the parameter 'lr', but it has none.*around"):
        LRPrior.from_study(optuna.create_study())
    with pytest.raises(
        InvalidInputError, match=r"finished trial with the parameter 'lr' that did not diverge, but got trials=2"
    ):
        LRPrior.from_study(study_of([0.1, 1.0], lambda place: math.inf))
    with pytest.raises(InvalidInputError, match="must have one objective, but got directions=2"):
        LRPrior.from_study(optuna.create_study(directions=["minimize", "minimize"]))
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("lr", 0.1, 1.0), n_trials=2)
    with pytest.raises(InvalidInputError, match="'lr' must be a log-scaled float, but got FloatDistribution"):
        LRPrior.from_study(study)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"format": 3},
            "a prior must have format 1 or 2, but got format=3. A newer lr_search wrote it: upgrade this one.",
        ),
        ({}, "a prior must have format 1 or 2, but got format=None. Give what LRPrior.to_json() returned."),
        ({"format": 1, "low": 1e-3}, "a prior must hold low, high, mode, log10_std, tails, but got missing=['high',"),
        (
            {"format": 2, "low": 1e-3},
            "a prior must hold low, high, mode, log10_std, tails, skew, but got missing=['high',",
        ),
        ({**LRPrior.around(0.1).to_json(), "low": 20.0}, "low must be positive and below high, but got low=20.0"),
    ],
)
def test_a_record_that_is_none_or_of_a_newer_version_is_an_error(record: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        LRPrior.from_json(record)
    assert message in str(error.value)


def test_a_sampler_without_a_prior_takes_the_one_kept_in_the_study(tmp_path: Any) -> None:
    prior, url = LRPrior.around(2e-3, factor=2.0), f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=url, study_name="s", sampler=RangeTestSampler())
    with pytest.raises(InvalidInputError, match=r"hold a prior for 'lr'.*seed_study"):
        study.ask().suggest_float("lr", 1e-5, 10.0, log=True)
    study.set_user_attr(PRIOR_ATTRIBUTE, prior.to_json())
    worker = optuna.load_study(study_name="s", storage=url, sampler=RangeTestSampler())
    lrs = [worker.ask().suggest_float("lr", 1e-5, 10.0, log=True) for _ in range(2)]
    given = RangeTestSampler(prior)  # trial 0 is the one above
    assert lrs == [given.point(n, "lr", RANGE) for n in (1, 2)]


def test_the_picture_shows_the_density_its_mode_and_an_interval_of_80_percent() -> None:
    prior = LRPrior.around(1e-3, factor=4)
    ax = prior.plot()
    line = ax.get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), prior.pdf(line.get_xdata()))
    assert ax.get_lines()[1].get_xdata()[0] == prior.mode
    shaded = ax.collections[0].get_paths()[0].vertices[:, 0]
    np.testing.assert_allclose(prior.cdf([shaded.min(), shaded.max()]), [0.1, 0.9], atol=1e-6)
    assert ax.get_xscale() == "log"
    other = mpl.figure.Figure().subplots()
    assert prior.plot(other) is other
