"""What is recommended, on records whose answer is known."""

import json
import math
from dataclasses import replace

import numpy as np
import optuna
import pytest
from scipy import stats

from lr_search.errors import LRSearchError
from lr_search.results.candidates import candidates
from lr_search.results.recommendation import recommend
from tests.helpers.study_records import study


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
    low, high = stats.t.interval(0.95, 2, 0.4, stats.sem([0.3, 0.5, 0.4]))
    assert (best.interval.low, best.interval.high) == pytest.approx((low, high))
    assert f"(95% interval {low:.4g} to {high:.4g})" in best.reason
    assert "3 fresh seeds" in best.reason
    assert "constant with SGD at 0.1, 0.6" in best.reason


def fresh_runs(first, second):
    """The two best, then what each reached on fresh seeds."""
    fresh = {"kind": "confirm", "strategy": "confirm"}
    records = [study([(0.1, 0.2)], start=2.0), study([(0.3, 0.25)], schedule="sgdr", start=2.0)]
    for schedule, lr, values in (("constant", 0.1, first), ("sgdr", 0.3, second)):
        runs = enumerate(values)
        records += [study([(lr, v)], seed=1000 + i, schedule=schedule, start=2.0, **fresh) for i, v in runs]
    return records


def test_the_difference_to_the_runner_up_is_paired_over_fresh_seeds():
    first, second = [0.5, 0.9, 1.3], [0.6, 1.02, 1.38]  # far apart between seeds, close within each
    best = recommend(fresh_runs(first, second))
    assert (best.runner_up.schedule, best.runner_up.lr, best.runner_up.value) == ("sgdr", 0.3, pytest.approx(1.0))
    differences = np.subtract(second, first)
    low, high = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    assert (best.difference.low, best.difference.high) == pytest.approx((low, high))
    assert best.difference.p == pytest.approx(stats.ttest_rel(second, first).pvalue)
    assert best.is_real is True
    assert "worse on 3 fresh seeds" in best.reason


def test_a_difference_that_seeds_do_not_tell_apart_is_not_real():
    best = recommend(fresh_runs([0.5, 0.9, 1.3], [0.9, 0.8, 1.2]))
    assert best.is_real is False
    assert "3 fresh seeds do not tell apart" in best.reason


def test_with_two_seeds_there_is_no_number_for_how_sure_it_is():
    best = recommend(fresh_runs([0.5, 0.9], [0.9, 1.2]))
    assert math.isnan(best.interval.low)
    assert best.is_real is None
    assert "2 fresh seeds, trained again after the search, judged on valid_data, too few for an interval" in best.reason
    assert "2 fresh seeds are too few to say whether it is worse" in best.reason


def test_without_confirmation_the_difference_is_between_the_smoothed_values_of_each_seed():
    records = [study([(0.1, v)], seed=i) for i, v in enumerate((0.2, 0.3, 0.4))]
    records += [study([(0.3, v)], seed=i, schedule="sgdr") for i, v in enumerate((0.5, 0.62, 0.71))]
    best = recommend(records)
    differences = [0.3, 0.32, 0.31]
    assert best.difference.mean == pytest.approx(np.mean(differences))
    low, high = stats.t.interval(0.95, 2, np.mean(differences), stats.sem(differences))
    assert (best.difference.low, best.difference.high) == pytest.approx((low, high))
    assert best.is_real is True
    assert best.confirmed is False


def test_where_one_schedule_was_tried_there_is_no_runner_up():
    best = recommend([study([(0.1, 0.2), (0.5, 0.4)])])
    assert (best.runner_up, best.difference, best.is_real) == (None, None, None)


def test_the_bounds_are_where_the_mean_leaves_five_percent_of_the_way_back_to_the_start():
    # far enough apart that no trial speaks for its neighbour: 0.3 at 1e-3, 0.1 at 1e-2, 0.55 at 1e-1; from 1.0
    best = recommend([study([(1e-3, 0.3), (1e-2, 0.1), (1e-1, 0.55)])])
    goal = 0.1 + 0.05 * (1.0 - 0.1)
    below = 10 ** (-2 - (goal - 0.1) / (0.3 - 0.1))
    above = 10 ** (-2 + (goal - 0.1) / (0.55 - 0.1))
    assert best.bounds == pytest.approx((below, above), rel=1e-6)


def test_a_recommendation_is_what_json_optuna_and_ray_take():
    shape = {"cycles": 3, "T_mult": 2.0}
    shaped = replace(study([(0.1, 0.3)]).trials[0], shape=shape)
    best = recommend([replace(study([], schedule="sgdr"), trials=[shaped])])
    told = json.loads(json.dumps(best.to_json(), allow_nan=False))
    assert (told["schedule"], told["lr"], told["shape"], told["num_steps"]) == ("sgdr", 0.1, shape, 10)
    assert told["interval"]["low"] is None
    optuna_study = optuna.create_study()
    optuna_study.enqueue_trial(best.optuna_params())
    trial = optuna_study.ask()
    assert trial.suggest_float("lr", 1e-5, 1.0, log=True) == 0.1
    assert trial.suggest_int("cycles", 3, 8) == 3
    assert best.ray_config() == {"lr": 0.1, "schedule": "sgdr", "sgdr.cycles": 3, "sgdr.T_mult": 2.0}


def test_a_recommendation_reads_as_a_sentence():
    best = recommend([study([(0.1, 0.5)])])
    assert str(best).startswith("constant, learning rate 0.1, SGD: loss 0.5; lowest smoothed loss over 1 trial")


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


@pytest.mark.parametrize("confirmed", [False, True])
def test_with_several_parameter_groups_it_says_whose_lr_it_is(confirmed):
    call = {
        "class": "torch.optim.SGD",
        "settings": {},
        "groups": [{"ratio": r, "settings": {}} for r in (1.0, 4.0, 2.0)],
    }
    records = [study([(0.1, 0.5), (0.2, 0.9)], seed=seed, optimizer_call=call) for seed in range(2)]
    if confirmed:
        records += [study([(0.1, 0.5)], kind="confirm", seed=seed, optimizer_call=call) for seed in (7, 8)]
    best = recommend(records)
    assert best.confirmed == confirmed
    assert best.reason.endswith("The LR is the first parameter group's; 2 others train at 0.2 to 0.4.")
    assert "parameter group" not in recommend([study([(0.1, 0.5), (0.2, 0.9)])]).reason
