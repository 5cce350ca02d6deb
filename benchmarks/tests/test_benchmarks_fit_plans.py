"""What benchmarks/fit_plans.py fits, on regret curves with a known answer."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import lifelike
from fit_plans import (
    FEATURES,
    SCHEDULES,
    WIDENED,
    Case,
    Fit,
    by_schedule,
    narrowest,
    regrets,
    repeated_of,
    smear,
    widths,
)
from judge_regrets import RegretCurve

from lr_search import LRPrior

pytestmark = pytest.mark.bench

SHIFTS = {"constant": -0.4, "wsd": -0.2, "cosine": 0.1, "one_cycle": 0.3}
WEIGHTS = (-0.3, -0.6)  # of FEATURES


def truth(task: str, schedule: str, best: float) -> RegretCurve:
    """A regret that rises as fast to both sides, by 1 a decade squared, over 6 decades."""
    places = best + np.arange(-12, 13) * 0.25
    losses = np.minimum(1.0, (places - best) ** 2)[:, None]
    return RegretCurve(task, schedule, 1000, "1000", places, losses, np.array([1.0]))


def cases(off: float = 0.0) -> list[Case]:
    """Of many places and features, whose best lies where the numbers above say, or `off` decades to both sides of it."""
    rng, found = np.random.default_rng(0), []
    for number in range(60):
        features = (float(rng.random()), float(rng.random()))
        for schedule, shift in SHIFTS.items():
            place = float(rng.uniform(-3, 0))
            mine = (features[0], features[1] if schedule in ("constant", "wsd") else 0.0)
            best = place + shift + float(np.dot(WEIGHTS, mine)) + off * (-1) ** number
            one = truth(f"task {number}", schedule, best)
            found.append(Case(one, place, mine, smear(one, place), is_flat=number % 3 == 0))
    return found


def test_it_finds_the_shifts_and_weights_of_the_least_expected_regret() -> None:
    found = cases()
    numbers = Fit(found).numbers()
    np.testing.assert_allclose(numbers, [*SHIFTS.values(), *WEIGHTS], atol=0.08)
    assert regrets(found, numbers).mean() < 0.01 < regrets(found, np.zeros(len(numbers))).mean()


def test_features_that_are_left_out_stay_at_zero() -> None:
    numbers = Fit(cases(), FEATURES[:1]).numbers()
    assert numbers[len(SCHEDULES) + 1 :].tolist() == [0.0]
    assert numbers[len(SCHEDULES)] == pytest.approx(WEIGHTS[0], abs=0.2)


def test_a_width_is_that_of_what_the_errors_were_drawn_from() -> None:
    for skew, seed in ((0.0, 0), (0.3, 1)):
        drawn = np.log10(LRPrior(1e-3, 1e3, 1.0, 0.5, skew=skew).sample(4000, seed))
        std, found = narrowest(drawn, np.ones(len(drawn)), (0.0, 0.3))
        assert (std, found) == (pytest.approx(0.5, abs=0.03), skew)


def test_the_width_where_nothing_stands_out_is_that_of_those_curves_alone() -> None:
    found = [case for case in cases(off=0.3) if not case.is_flat] + [case for case in cases(off=0.6) if case.is_flat]
    fitted = widths(found, np.array([*SHIFTS.values(), *WEIGHTS]))
    assert fitted["flat_log10_std"] == pytest.approx(2 * fitted["log10_std"], rel=0.1)
    low, high = np.log10(LRPrior(1e-3, 1e3, 1.0, fitted["log10_std"] / WIDENED).ppf([0.1, 0.9]))
    assert (low, high) == (pytest.approx(-0.3, abs=0.03), pytest.approx(0.3, abs=0.03))


def test_tasks_count_once_however_many_curves_they_have() -> None:
    one, other = cases()[0], cases()[8]
    lost = np.array([0.1, 0.3, 0.3, 0.3])
    several = [one, other, other, other]
    assert "older 0.2000" in by_schedule(several, lost)


def test_repeated_data_are_fitted_on_both_kinds_of_tasks_as_if_there_were_as_many_of_each() -> None:
    def asking(weight: float, names: list[str]) -> list[Case]:
        ones = [truth(name, "constant", weight * 0.8) for name in names]
        return [Case(one, 0.0, (0.0, 0.8), smear(one, 0.0)) for one in ones]

    numbers = np.zeros(len(SCHEDULES) + len(FEATURES))
    few, many = asking(-0.6, list(lifelike.TASKS)[:4]), asking(-0.2, [f"task {number}" for number in range(20)])
    assert repeated_of(few, numbers) == pytest.approx(-0.6, abs=0.03)
    assert repeated_of([*few, *many], numbers) == pytest.approx(-0.4, abs=0.03)
    assert repeated_of([], np.full(len(numbers), -0.1)) == -0.1
