"""What a search cost, worked out by hand, by scipy, and step by step."""

import math

import numpy as np
import pytest
from scipy import stats

from lr_search.errors import InvalidInputError
from lr_search.results.anytime_statistics import anytime_area, geometric_mean, speed_up, steps_to

NAN, INF = math.nan, math.inf


# steps_to, speed_up, geometric_mean


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("goal", "expected"), [(0.9, 20), (0.5, 20), (0.45, 60), (0.2, 60), (0.1, 100), (0.05, NAN), (NAN, NAN)]
)
def test_steps_to_the_first_that_reaches_the_goal(sign, goal, expected):
    steps, best = [10, 20, 40, 60, 100], sign * np.array([NAN, 0.5, 0.5, 0.2, 0.1])
    direction = "minimize" if sign == 1 else "maximize"
    assert steps_to(steps, best, sign * goal, direction) == pytest.approx(expected, nan_ok=True)
    assert math.isnan(steps_to([], [], goal, direction))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("own", "base", "within", "expected"),
    [
        ([0.5, 0.1, 0.1], [0.9, 0.5, 0.2], 0.0, 3 / 2),  # quality 0.2: the study at step 20, the baseline at 30
        ([0.9, 0.5, 0.2], [0.5, 0.1, 0.1], 0.0, 2 / 3),  # the other way round: the study ends worse
        ([0.5, 0.1, 0.1], [0.9, 0.24, 0.2], 0.05, 2 / 2),  # loosened to 0.24, which counts
        ([0.5, 0.1, 0.1], [0.9, 0.26, 0.2], 0.05, 3 / 2),
        ([0.2, 0.1, 0.1], [0.9, 0.9, 0.2], 0.05, 3),
        ([0.5, 0.2, 0.9], [0.5, 0.2, 0.9], 0.05, 1),  # trials' own values: the best so far is meant
        ([0.2, 0.2, 0.2], [1.0, 1.0, 1.0], 0.05, NAN),  # the baseline is never better than the start
        ([1.5, 1.2, 1.0], [0.5, 0.5, 0.5], 0.05, NAN),
        ([NAN, NAN, NAN], [0.5, 0.5, 0.5], 0.05, NAN),
        ([INF, INF, INF], [INF, INF, INF], 0.05, NAN),
    ],
)
def test_speed_up_at_the_quality_that_both_reach(sign, own, base, within, expected):
    steps, direction = [10, 20, 30], "minimize" if sign == 1 else "maximize"
    found = speed_up(steps, sign * np.array(own), steps, sign * np.array(base), sign * 1.0, direction, within)
    assert found == pytest.approx(expected, nan_ok=True)


def test_speed_up_without_data():
    assert math.isnan(speed_up([], [], [10], [0.5], start=1.0))
    assert math.isnan(speed_up([10], [0.5], [], [], start=1.0))
    assert math.isnan(speed_up([10], [0.5], [10], [0.5], start=NAN))
    assert math.isnan(speed_up([10], [0.5], [10], [0.5], start=INF))
    assert math.isnan(speed_up([0], [0.5], [10], [0.5], start=1.0))  # no ratio to no steps at all


def test_geometric_mean_is_scipys_and_hides_no_seed():
    ratios = np.random.default_rng(0).lognormal(0.0, 2.0, 9)
    assert geometric_mean(ratios) == pytest.approx(stats.gmean(ratios))
    assert geometric_mean([3.0, 1 / 3]) == pytest.approx(1.0)
    assert math.isnan(geometric_mean([2.0, NAN]))
    assert math.isnan(geometric_mean([]))


# anytime_area


@pytest.mark.parametrize("sign", [1, -1])
def test_area_is_the_mean_over_the_steps(sign):
    """Against the step function evaluated at the middle of every step."""
    rng = np.random.default_rng(0)
    direction = "minimize" if sign == 1 else "maximize"
    for _ in range(20):
        steps = np.sort(rng.integers(1, 260, 12))  # some beyond the budget, some twice
        values = rng.uniform(0.1, 1.5, 12)  # some worse than the start
        curve = [min([1.0, *values[steps <= middle]]) for middle in np.arange(200) + 0.5]
        expected = np.mean((np.array(curve) - 0.05) / 0.95)
        assert anytime_area(steps, sign * values, sign * 1.0, sign * 0.05, 200, direction) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("steps", "best", "expected"),
    [
        ([0], [0.2], 0.0),  # the best known from the first step on
        ([50], [0.2], 0.5),
        ([25, 75], [0.6, 0.2], 0.25 + 0.5 * 0.5),
        ([50, 100, 150], [0.6, 0.2, 0.1], 0.75),  # what comes at the budget or later does not count
        ([10, 20], [1.0, 1.7], 1.0),
        ([10, 20, 60], [NAN, INF, 0.2], 0.6),
        ([], [], 1.0),
    ],
)
def test_area_by_hand(steps, best, expected):
    assert anytime_area(steps, best, start=1.0, best_known=0.2, budget=100) == pytest.approx(expected)


@pytest.mark.parametrize(("start", "best_known"), [(0.5, 0.5), (0.4, 0.5), (NAN, 0.1), (1.0, NAN), (INF, 0.1)])
def test_no_area_without_a_scale(start, best_known):
    assert math.isnan(anytime_area([10], [0.5], start, best_known, 100))


# what breaks a rule


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: steps_to([1, 2], [0.1], 0.1), r"same length, \(n,\), but got steps=\(2,\), best=\(1,\)"),
        (lambda: steps_to([2, 1], [0.2, 0.1], 0.1), r"steps must ascend from 0 or more, but got steps=\[2.0, 1.0\]"),
        (lambda: steps_to([-1], [0.1], 0.1), "steps must ascend"),
        (lambda: steps_to([1, NAN], [0.2, 0.1], 0.1), "steps must ascend"),
        (lambda: speed_up([1], [0.1], [1], [0.1], 1.0, within=1.0), r"within must be in \[0, 1\), but got within=1.0"),
        (lambda: geometric_mean([2.0, 0.0, NAN]), "values must be positive, but got lowest=0.0"),
        (lambda: anytime_area([1], [0.1], 1.0, 0.0, 0), "budget must be positive and finite, but got budget=0"),
    ],
)
def test_errors_name_the_rule_and_what_came(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
