"""What is recommended, on records whose answer is known."""

import math

import numpy as np
import pytest

from lr_search.errors import LRSearchError
from lr_search.report.recommendation import candidates, recommend
from tests.study_records import study


def test_the_lr_with_the_lowest_mean_over_seeds_wins():
    records = [study([(0.01, 0.4), (0.1, 0.2), (1.0, 0.6)]), study([(0.01, 0.5), (0.1, 0.4), (1.0, 0.3)], seed=1)]
    best = recommend(records)
    assert (best.schedule, best.optimizer, best.lr) == ("constant", "SGD", 0.1)
    assert best.value == pytest.approx((0.2 + 0.4) / 2)


def test_one_seeds_lucky_best_does_not_win():
    lucky = [(0.01, 0.3), (0.1, 0.01)]
    records = [study(lucky), *(study([(0.01, 0.3), (0.1, 0.9)], seed=seed) for seed in (1, 2))]
    best = recommend(records)
    assert best.lr == 0.01
    assert best.value == pytest.approx(0.3)


def test_an_lr_beside_ones_that_diverge_does_not_win():
    edge = [(0.9, 0.1), (0.95, math.inf), (0.85, math.inf)]
    best = recommend([study([(0.01, 0.4), *edge])])
    assert best.lr == 0.01


def test_trials_nearby_are_averaged_under_a_gaussian_over_log_lr():
    points = [(0.1, 0.3), (0.1 * 10**0.15, 0.5), (0.1 * 10**0.3, 0.2)]
    one, four = math.exp(-0.5), math.exp(-2)  # one and two widths of 0.15 decades away
    expected = {
        0.1: (0.3 + one * 0.5 + four * 0.2) / (1 + one + four),
        0.1 * 10**0.3: (0.2 + one * 0.5 + four * 0.3) / (1 + one + four),
    }
    best = recommend([study(points)])
    assert expected[0.1 * 10**0.3] < expected[0.1]
    assert best.lr == pytest.approx(0.1 * 10**0.3)
    assert best.value == pytest.approx(expected[0.1 * 10**0.3])


def test_a_seed_that_tried_nothing_nearby_speaks_through_its_nearest_trial():
    records = [study([(0.1, 0.2)]), study([(1e-5, 0.6)], seed=1)]
    assert recommend(records).value == pytest.approx((0.2 + 0.6) / 2)


def test_the_highest_wins_where_the_objective_is_maximized():
    up = {"direction": "maximize", "objective": "accuracy", "start": 0.1}
    records = [study([(0.01, 0.7), (1.0, 0.9)], **up), study([(0.01, 0.8), (1.0, -math.inf)], seed=1, **up)]
    best = recommend(records)
    # at 1.0: the mean of 0.9 and of a diverged training, which counts as the 0.1 of step 0
    assert (best.lr, best.value) == (0.01, pytest.approx(0.75))
    assert "highest smoothed accuracy" in best.reason


def test_schedules_and_optimizers_are_compared_and_the_next_best_is_named():
    records = [
        study([(0.1, 0.5)]),
        study([(0.2, 0.3)], schedule="sgdr"),
        study([(0.003, 0.4)], schedule="sgdr", optimizer="Adam"),
    ]
    assert [(c.schedule, c.optimizer, c.lr) for c in candidates(records)] == [
        ("sgdr", "SGD", 0.2), ("sgdr", "Adam", 0.003), ("constant", "SGD", 0.1),
    ]  # fmt: skip
    assert "next: sgdr with Adam at 0.003, 0.4" in recommend(records).reason


def test_trials_of_every_strategy_count():
    records = [study([(0.1, 0.5)]), study([(0.01, 0.2)], strategy="random")]
    best = recommend(records)
    assert best.lr == 0.01
    assert "2 trials on 1 seed" in best.reason


def test_an_unconfirmed_recommendation_says_so():
    best = recommend([study([(0.1, 0.5)])])
    assert best.confirmed is False
    assert "Unconfirmed" in best.reason
    assert "confirm=3" in best.reason


def test_fresh_seeds_decide_between_the_two_best_and_alone_stand_in_the_value():
    first, second = [(0.1, 0.2)], [(0.3, 0.25)]
    fresh = {"kind": "confirm", "strategy": "confirm"}
    records = [study(first), study(second, schedule="sgdr")]
    records += [study([(0.1, v)], seed=1000 + i, **fresh) for i, v in enumerate((0.5, 0.6, 0.7))]
    records += [study([(0.3, v)], seed=1000 + i, schedule="sgdr", **fresh) for i, v in enumerate((0.3, 0.5, 0.4))]
    best = recommend(records)
    assert (best.schedule, best.lr, best.confirmed) == ("sgdr", 0.3, True)
    assert best.value == pytest.approx(0.4)
    error = np.std([0.3, 0.5, 0.4], ddof=1) / math.sqrt(3)
    assert f"± {error:.2g}" in best.reason
    assert "3 fresh seeds" in best.reason
    assert "constant with SGD at 0.1, 0.6" in best.reason


def test_a_confirmation_of_what_is_no_longer_among_the_two_best_is_left_out():
    fresh = {"kind": "confirm", "strategy": "confirm", "seed": 1000}
    records = [study([(0.1, 0.2), (0.003, 0.9)]), study([(0.003, 0.01)], **fresh)]
    best = recommend(records)
    assert (best.lr, best.confirmed) == (0.1, False)


def test_a_confirming_training_that_diverged_counts_as_its_objective_at_step_0():
    fresh = {"kind": "confirm", "strategy": "confirm", "start": 2.0}
    records = [study([(0.1, 0.2)], start=2.0)]
    records += [study([(0.1, value)], seed=1000 + i, **fresh) for i, value in enumerate((0.4, math.inf))]
    assert recommend(records).value == pytest.approx((0.4 + 2.0) / 2)


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ([], "No trial is complete yet"),
        ([(0.1, "RUNNING"), (0.2, "PRUNED")], "No trial is complete yet"),
        ([(0.1, "FAIL"), (0.2, "FAIL")], "Every trial that ended failed"),
        ([(1.0, math.inf), (2.0, math.inf), (3.0, "FAIL")], "Every complete trial diverged: search lower"),
    ],
    ids=["none", "unfinished", "failed", "diverged"],
)
def test_nothing_is_recommended_where_no_trial_ended_well(points, told):
    with pytest.raises(LRSearchError, match=told):
        recommend([study(points)])


def test_a_schedule_under_which_all_diverged_is_no_candidate():
    records = [study([(1.0, math.inf), (2.0, math.inf)]), study([(0.1, 0.9)], schedule="sgdr")]
    assert [c.schedule for c in candidates(records)] == ["sgdr"]


def test_a_real_comparison_recommends_an_lr_that_was_tried_and_is_nearly_the_best(bowl_comparison):
    best = bowl_comparison.recommend()
    trials = bowl_comparison.trials
    tried = trials[(trials["schedule"] == best.schedule) & (trials["optimizer"] == best.optimizer)]
    assert np.isclose(tried["lr"], best.lr).any()
    # in the bowl an LR near 1/2 reaches the bottom; above 1 it diverges
    assert 0.05 < best.lr < 1
    assert best.value < 0.05
