"""After its prior's first points the range test's sampler learns from results; a wrong prior costs little."""

import math
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution

from lr_search.curves.curve import LRCurve
from lr_search.curves.prior import LRPrior
from lr_search.errors import InvalidInputError
from lr_search.samplers import RandomSampler, RangeTestSampler
from lr_search.samplers.gaussian_process import believe, standardized
from lr_search.samplers.points import uniform
from lr_search.samplers.range_test_sampler import CELL, MARGIN, PRIOR_POINTS

LOW, HIGH = 1e-5, 10.0
RANGE = FloatDistribution(LOW, HIGH, log=True)
PRIOR = LRPrior(low=LOW, high=HIGH, mode=0.02, log10_std=0.6)
Objective = Callable[[float], float]


def training(place: float, best: float = -1.5) -> float:
    """A loss after training at 10^place: nothing is learned far below the best LR, and it diverges a decade above."""
    return math.inf if place > best + 1 else 2.3 - 2 * math.exp(-((place - best) ** 2))


def searched(
    sampler: optuna.samplers.BaseSampler, count: int, objective: Objective = training, **options
) -> list[float]:  # type: ignore[no-untyped-def]
    """log10 of the LRs of so many trials."""
    study = optuna.create_study(sampler=sampler, **options)
    places = []
    for _ in range(count):
        trial = study.ask()
        places.append(math.log10(trial.suggest_float("lr", LOW, HIGH, log=True)))
        study.tell(trial, objective(places[-1]))
    return places


def lost(places: list[float], best: float = -1.5) -> float:
    return min(training(place, best) for place in places) - 0.3


def test_a_few_trials_find_the_best() -> None:
    for best in (-1.0, -1.7, -2.4):
        places = searched(RangeTestSampler(PRIOR), 8, lambda place, best=best: training(place, best))
        assert min(abs(place - best) for place in places) < 0.12


def test_the_point_after_the_first_is_the_highest_of_improvement_times_prior() -> None:
    sampler = RangeTestSampler(PRIOR, seed=7)
    places = searched(sampler, PRIOR_POINTS + 2)
    for n in (PRIOR_POINTS, PRIOR_POINTS + 1):
        values = standardized(np.array([training(place) for place in places[:n]]))
        cells = round(6 / CELL)
        at = -5 + 6 * (np.arange(cells) + uniform(7, n, "lr")) / cells
        tried = np.array(places[:n])
        lowest = believe(tried, values, tried).mean.min()  # what is believed of the best so far
        improvement = believe(tried, values, at).expected_improvement(lowest - MARGIN)
        highest = at[np.argmax(improvement * PRIOR.pdf(10**at) ** (1 / n))]
        assert places[n] == pytest.approx(highest, abs=1e-9)


@pytest.mark.parametrize("decades", [-3, 3])
def test_with_the_mode_three_decades_off_it_is_no_worse_than_random_search_after_16_trials(decades: int) -> None:
    bests = np.linspace(-3.5, -1.0, 6)
    wrong, random = [], []
    for seed, best in enumerate(bests.tolist()):

        def objective(place: float, best: float = best) -> float:
            return training(place, best)

        mode = float(np.clip(10 ** (best + decades), LOW, HIGH))
        prior = LRPrior(low=LOW, high=HIGH, mode=mode, log10_std=0.6)
        wrong.append(lost(searched(RangeTestSampler(prior, seed=seed), 16, objective), best))
        random += [lost(searched(RandomSampler(seed=10 * seed + i), 16, objective), best) for i in range(5)]
    assert np.mean(wrong) <= np.mean(random)


def test_an_empty_study_and_one_whose_trials_failed_give_the_prior_s_points() -> None:
    sampler = RangeTestSampler(PRIOR)
    study = optuna.create_study(sampler=sampler)
    got = []
    for _ in range(6):
        trial = study.ask()
        got.append(trial.suggest_float("lr", LOW, HIGH, log=True))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert got == [sampler.point(n, "lr", RANGE) for n in range(6)]


def test_a_flat_curve_s_prior_is_wide_and_searched_all_the_same() -> None:
    flat = LRCurve(np.geomspace(LOW, HIGH, 100), 2.3 + 0.1 * np.random.default_rng(0).normal(size=100))
    prior = LRPrior.from_curves([flat], lr_range=(LOW, HIGH))
    assert flat.suggest().status == "flat"
    places = searched(RangeTestSampler(prior), 16)
    assert lost(places) < 0.1


def test_trainings_that_all_diverge_or_do_not_differ_end_nothing() -> None:
    for value in (math.inf, 1.0, 1e300):
        places = searched(RangeTestSampler(PRIOR), 12, lambda place, value=value: value)
        assert len(set(places)) == 12
        assert all(-5 <= place <= 1 for place in places)
    diverged = searched(RangeTestSampler(PRIOR), 8, lambda place: math.inf if place > -4 else 1.0)
    assert min(diverged) < -4  # it came down to where they do not


def test_the_scale_and_the_direction_of_the_objective_change_nothing() -> None:
    plain = searched(RangeTestSampler(PRIOR), 10)
    assert searched(RangeTestSampler(PRIOR), 10, lambda place: 1000 * training(place) + 5) == pytest.approx(plain)
    up = searched(RangeTestSampler(PRIOR), 10, lambda place: -training(place), direction="maximize")
    assert up == pytest.approx(plain)


def test_trials_that_run_are_not_repeated() -> None:
    study = optuna.create_study(sampler=RangeTestSampler(PRIOR))
    for _ in range(4):
        trial = study.ask()
        study.tell(trial, training(math.log10(trial.suggest_float("lr", LOW, HIGH, log=True))))
    running = [math.log10(study.ask().suggest_float("lr", LOW, HIGH, log=True)) for _ in range(4)]
    assert np.diff(np.sort(running)).min() > 0.05


def test_pruned_trials_count_as_bad() -> None:
    def told(state: optuna.trial.TrialState) -> float:
        study = optuna.create_study(sampler=RangeTestSampler(PRIOR))
        for place in (-1.0, -2.0, -3.0):
            study.enqueue_trial({"lr": 10**place})
            trial = study.ask()
            trial.suggest_float("lr", LOW, HIGH, log=True)
            trial.report(0.1, 1)
            bad = place == -1.0 and state == optuna.trial.TrialState.PRUNED
            study.tell(trial, None if bad else 0.1 if place == -1.0 else -place, state=state if bad else None)
        for _ in range(PRIOR_POINTS):
            study.ask()  # the prior's own points
        return math.log10(study.ask().suggest_float("lr", LOW, HIGH, log=True))

    complete, pruned = told(optuna.trial.TrialState.COMPLETE), told(optuna.trial.TrialState.PRUNED)
    assert abs(complete - -1.0) < abs(pruned - -1.0)


def test_several_lrs_each_have_their_prior_and_are_searched_by_themselves() -> None:
    priors = {"lr": PRIOR, "head_lr": LRPrior(low=LOW, high=HIGH, mode=0.5, log10_std=0.4)}
    sampler = RangeTestSampler(priors, ["lr", "head_lr"])
    study = optuna.create_study(sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        places = [math.log10(trial.suggest_float(name, LOW, HIGH, log=True)) for name in priors]
        return training(places[0], -1.2) + training(places[1], -0.6)

    study.optimize(objective, n_trials=16)
    first = study.trials[0].params
    assert (first["lr"], first["head_lr"]) == (0.02, 0.5)
    assert [trial.params["lr"] for trial in study.trials[1:3]] == pytest.approx([0.02 * 10**0.6, 0.02 / 10**0.6])
    others = [priors["head_lr"].cdf(trial.params["head_lr"]) for trial in study.trials[1:3]]
    assert others == pytest.approx([1 / 3, 2 / 3], abs=1e-6)  # another order: the two are not tied to each other


def test_several_lrs_are_found_sooner_than_at_random() -> None:
    names, priors = ["lr", "head_lr"], {"lr": PRIOR, "head_lr": LRPrior(low=LOW, high=HIGH, mode=0.5, log10_std=0.4)}

    def best(sampler: optuna.samplers.BaseSampler, bests: tuple[float, float]) -> float:
        def objective(trial: optuna.Trial) -> float:
            places = [math.log10(trial.suggest_float(name, LOW, HIGH, log=True)) for name in names]
            return sum(training(place, best) for place, best in zip(places, bests, strict=True))

        study = optuna.create_study(sampler=sampler)
        study.optimize(objective, n_trials=16)
        return study.best_value - 0.6

    bests = [(-1.2, -0.6), (-2.2, -0.3), (-1.7, -0.9), (-1.0, -0.4)]
    ours = [best(RangeTestSampler(priors, names, seed=seed), pair) for seed, pair in enumerate(bests)]
    random = [best(RandomSampler(param=names, seed=seed), pair) for seed, pair in enumerate(bests)]
    assert np.mean(ours) < np.mean(random) / 2


def test_several_objectives_have_no_best_so_that_the_prior_s_points_go_on() -> None:
    sampler = RangeTestSampler(PRIOR)
    study = optuna.create_study(sampler=sampler, directions=["minimize", "maximize"])
    study.optimize(lambda trial: (trial.suggest_float("lr", LOW, HIGH, log=True), 1.0), n_trials=6)
    assert [t.params["lr"] for t in study.trials] == [sampler.point(n, "lr", RANGE) for n in range(6)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prior": 0.1}, "prior must be an lr_search.LRPrior, a mapping of texts to lr_search.LRPriors or None, but got 0.1"),
        ({"prior": {"lr": PRIOR}, "param": ["lr", "head_lr"]}, "prior must hold one for each name of param, but got missing=['head_lr']"),
        ({"prior": PRIOR, "param": list("abcdefg")}, "param must be at most 6 names"),
    ],
)  # fmt: skip
def test_a_prior_that_is_none_is_an_error(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        RangeTestSampler(**arguments)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_a_point_without_a_study_needs_a_prior() -> None:
    with pytest.raises(InvalidInputError, match="prior must be given, for a point without a study"):
        RangeTestSampler().point(0, "lr", RANGE)


def test_a_prior_that_lies_elsewhere_is_an_error_with_the_way_out() -> None:
    """A person's prior reaches two decades to either side."""
    sampler = RangeTestSampler(LRPrior.around(1e-3))
    message = r"must overlap the prior's, 1e-05 to 0\.1, but got low=1\.0, high=10\.0\. Give the prior an lr_range that holds it"
    with pytest.raises(InvalidInputError, match=message):
        sampler.point(0, "lr", FloatDistribution(1.0, 10.0, log=True))
