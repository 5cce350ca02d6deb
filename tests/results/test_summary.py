"""The best so far and the summary, recomputed from a bowl's formula and by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lr_search.results.anytime import Lines, anytime_frame
from lr_search.results.summary import SUMMARY_COLUMNS, short_summary, summary_frame
from lr_search.results.tables import trials_frame
from tests.helpers.bowl import losses
from tests.helpers.bowl_results import KEYS, bests_by_hand, by_formula
from tests.helpers.study_records import study


def test_anytime_is_the_best_so_far_no_worse_than_the_start(bowl_comparison):
    frame = anytime_frame(bowl_comparison.records)
    assert list(frame.columns) == [*KEYS, "number", "steps_charged", "best"]
    for key, expected in bests_by_hand(bowl_comparison).items():
        rows = frame[(frame["strategy"] == key[0]) & (frame["schedule"] == key[1]) & (frame["seed"] == key[2])]
        assert rows["steps_charged"].tolist() == [steps for steps, _ in expected]
        assert rows["best"].to_numpy() == pytest.approx([best for _, best in expected], rel=1e-3, abs=1e-9)


def test_summary_is_the_mean_over_seeds_of_what_each_study_found_and_spent(bowl_comparison):
    bests = bests_by_hand(bowl_comparison)
    goals = {
        seed: min(
            best + 0.05 * (losses([], seed)[0] - best)
            for key, rows in bests.items()
            if key[2] == seed
            for _, best in rows
        )
        for seed in (0, 1)
    }
    summary = bowl_comparison.summary(full=True).set_index(["strategy", "schedule"])
    assert len(summary) == 6
    for key, row in summary.iterrows():
        found = [bests[*key, seed] for seed in (0, 1)]
        last = [rows[-1][1] for rows in found]
        assert row["best"] == pytest.approx(sum(last) / 2, rel=1e-3, abs=1e-9)
        assert row["best_std"] == pytest.approx(abs(last[0] - last[1]) / math.sqrt(2), rel=1e-3, abs=1e-9)
        assert row["steps"] == sum(rows[-1][0] for rows in found) / 2
        close = [next((s for s, best in rows if best <= goals[i]), math.nan) for i, rows in enumerate(found)]
        assert row["steps_to_close"] == pytest.approx(sum(close) / 2, nan_ok=True)
        trials = bowl_comparison.trials.query("strategy == @key[0] and schedule == @key[1]")
        assert (row["seeds"], row["trials"], row["pruned"], row["failed"]) == (2, len(trials), 0, 0)
        assert row["diverged"] == sum(math.isinf(by_formula(trial)[1]) for trial in trials.itertuples())


def test_summary_is_sorted_best_first_and_names_the_geometric_mean_of_the_best_lrs(bowl_comparison):
    summary = bowl_comparison.summary(full=True)
    assert summary["best"].is_monotonic_increasing
    grid = summary.query("strategy == 'grid' and schedule == 'constant'")["best_lr"].item()
    trials = bowl_comparison.trials.query("strategy == 'grid' and schedule == 'constant'")
    best = [rows.loc[rows["objective"].idxmin(), "lr"] for _, rows in trials.groupby("seed", observed=True)]
    assert grid == pytest.approx(math.sqrt(best[0] * best[1]))
    assert summary.query("strategy == 'mine'")["best_lr"].to_numpy() == pytest.approx(0.3)


def test_a_diverged_trial_counts_as_the_objective_at_step_0():
    records = [study([(0.1, 0.4), (9.0, math.inf)]), study([(9.0, math.inf)], seed=1, start=2.0)]
    assert anytime_frame(records)["best"].tolist() == [0.4, 0.4, 2.0]
    assert summary_frame(records)["best"].item() == (0.4 + 2.0) / 2
    assert trials_frame(records)["objective"].tolist() == [0.4, math.inf, math.inf]


def test_a_trial_that_ended_worse_than_it_began_counts_as_the_objective_at_step_0():
    assert anytime_frame([study([(0.1, 7.0)], start=3.0)])["best"].tolist() == [3.0]
    assert anytime_frame([study([(0.1, 0.2)], start=0.5, direction="maximize")])["best"].tolist() == [0.5]


def test_failed_pruned_and_running_trials_are_counted_and_win_nothing():
    records = [study([(0.1, "PRUNED"), (0.2, "FAIL"), (0.3, 0.95), (0.4, "RUNNING")])]
    trials = trials_frame(records)
    assert trials["state"].tolist() == ["PRUNED", "FAIL", "COMPLETE", "RUNNING"]
    assert trials["steps_charged"].tolist() == [10, 20, 30, 30]
    assert anytime_frame(records)["best"].tolist() == [1.0, 1.0, 0.95]
    row = summary_frame(records).iloc[0]
    assert (row["trials"], row["pruned"], row["failed"], row["diverged"], row["best"]) == (3, 1, 1, 0, 0.95)
    assert (row["steps"], row["seconds"]) == (30, 1.5)


def test_the_highest_is_best_where_the_objective_is_maximized():
    records = [
        study([(0.1, 0.6), (0.2, 0.8)], direction="maximize", start=0.1),
        study([(0.3, 0.7)], direction="maximize", start=0.1, schedule="sgdr"),
    ]
    summary = summary_frame(records)
    assert summary["best"].tolist() == [0.8, 0.7]
    assert summary["best_lr"].tolist() == pytest.approx([0.2, 0.3])
    # 5% of the way from the best, 0.8, back to the start, 0.1: 0.765, which 0.7 does not reach
    assert summary["steps_to_close"].tolist() == pytest.approx([20, math.nan], nan_ok=True)


def test_ranks_are_within_each_seed_and_ties_share_them():
    records = [study([(0.1, v)], strategy="grid", seed=s) for s, v in enumerate((0.3, 0.4))]
    records += [study([(0.2, v)], strategy="random", seed=s) for s, v in enumerate((0.2, 0.4))]
    records += [study([(0.3, v)], strategy="tpe", seed=s) for s, v in enumerate((0.5, 0.1))]
    ranks = summary_frame(records).set_index("strategy")["mean_rank"].to_dict()
    assert ranks == {"grid": (2 + 2.5) / 2, "random": (1 + 2.5) / 2, "tpe": (3 + 1) / 2}


def test_the_area_is_under_the_line_from_the_objective_at_step_0_to_the_best_known():
    # ten steps a trial, from 1.0; the best known of both is 0.2, the longest study spends 40
    slow, quick = [(0.1, 0.9), (0.1, 0.6), (0.1, 0.6), (0.1, 0.4)], [(0.1, 0.2)]
    records = [study(slow, strategy="slow"), study(quick, strategy="quick")]
    areas = summary_frame(records).set_index("strategy")["area"].to_dict()
    assert areas["quick"] == pytest.approx(10 / 40)
    assert areas["slow"] == pytest.approx((10 * 1 + 10 * 0.7 / 0.8 + 20 * 0.4 / 0.8) / 40)


def test_how_many_times_faster_at_equal_quality():
    # both end at 0.2 or better: random after 40 steps, the other after 10; each within 5% of the way back to 1.0
    records = [
        study([(0.1, 0.9), (0.1, 0.8), (0.1, 0.7), (0.1, 0.2)], strategy="random"),
        study([(0.1, 0.21), (0.1, 0.15)], strategy="mine"),
        study([(0.1, 0.5)], strategy="mine", schedule="sgdr"),
    ]
    faster = summary_frame(records).set_index(["strategy", "schedule"])["faster_than_random"]
    assert faster["mine", "constant"] == pytest.approx(4.0)
    assert faster["random", "constant"] == pytest.approx(1.0)
    assert math.isnan(faster["mine", "sgdr"])  # random was not run under it
    assert summary_frame(records)["faster_than_grid"].isna().all()


def test_speed_ups_are_averaged_as_ratios():
    records = [study([(0.1, 0.9), (0.1, 0.2)], strategy="grid"), study([(0.1, 0.2)], strategy="mine")]
    records += [study([(0.1, 0.2)], strategy="grid", seed=1)]
    records += [study([(0.1, 0.9)] * 7 + [(0.1, 0.2)], strategy="mine", seed=1)]
    faster = summary_frame(records).set_index("strategy")["faster_than_grid"]
    assert faster["mine"] == pytest.approx(math.sqrt(2 * 1 / 8))


def test_a_line_says_what_was_best_at_any_number_of_steps():
    (line,) = Lines([study([(0.1, 0.9), (0.1, "PRUNED"), (0.1, 0.3), (0.1, "RUNNING")])]).all()
    assert line.at(np.array([0, 9, 10, 29, 30, 99])).tolist() == [1.0, 1.0, 0.9, 0.9, 0.3, 0.3]
    assert line.final == 0.3


def test_studies_whose_trials_all_failed_at_once_have_no_area_and_no_best():
    trial = study([(0.1, "FAIL")]).trials[0]
    failed = replace(trial, outcome={**trial.outcome, "steps": 0})
    row = summary_frame([replace(study([]), trials=[failed])]).iloc[0]
    assert math.isnan(row["best"])
    assert math.isnan(row["area"])
    assert (row["trials"], row["failed"]) == (1, 1)


def test_the_short_summary_is_read_within_80_columns_and_the_full_one_has_the_rest(bowl_comparison):
    short, full = bowl_comparison.summary(), bowl_comparison.summary(full=True)
    assert list(short.columns) == ["strategy", "schedule", "best", "best_lr", "steps", "trials"]
    assert list(full.columns) == SUMMARY_COLUMNS
    same = ["strategy", "schedule", "best", "best_lr", "trials"]
    assert short[same].equals(full[same])
    assert short["steps"].tolist() == [round(steps) for steps in full["steps"]]
    lines = str(short).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[3:5] == [f"{full[name].iloc[0]:.4g}" for name in ("best", "best_lr")]


def test_several_optimizers_are_in_the_short_summary_and_wide_numbers_still_fit():
    records = [
        study([(3.1234567e-7, 2.7654321e-9)], strategy="tpe+range_test", schedule="triangular2", optimizer=name)
        for name in ("SGD", "Adam")
    ]
    lines = str(short_summary(summary_frame(records))).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["0", "tpe+range_test", "triangular2", "SGD", "2.765e-09", "3.123e-07", "10", "1"]


def test_the_short_summary_of_nothing_is_empty():
    assert len(short_summary(summary_frame([]))) == 0
