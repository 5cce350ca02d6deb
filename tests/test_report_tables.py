"""The report's tables, recomputed from a bowl's formula and by hand."""

import math
from itertools import pairwise

import numpy as np
import optuna
import pandas as pd
import pytest

import lr_search as lrs
from lr_search.report.tables import anytime_frame, summary_frame, trials_frame
from tests.bowl import BUDGET, EVAL_EVERY, LR_RANGE, NUM_STEPS, bowl, compare_in_bowl, losses, lrs_of, weights
from tests.study_records import study

KEYS = ["strategy", "schedule", "optimizer", "seed"]


def by_formula(row):
    """A trial's losses before each step and after the last; objective and steps at its end."""
    path = losses(lrs_of(row.schedule, row.lr), row.seed)
    overflow = np.flatnonzero(np.isinf(path[:-1]))
    return (path, math.inf, int(overflow[0]) + 1) if len(overflow) else (path, path[-1], NUM_STEPS)


def range_test_steps(seed):
    curve = bowl().range_test(seed, start_lr=LR_RANGE[0], end_lr=LR_RANGE[1], num_steps=NUM_STEPS)
    assert curve.num_forwards == curve.num_steps + 1
    return curve.num_steps + 7


def bests_by_hand(comparison):
    """(strategy, schedule, seed) -> [(steps charged, best so far)], no worse than the loss at step 0."""
    found = {}
    for (strategy, schedule, _, seed), rows in comparison.trials.groupby(KEYS):
        charged = range_test_steps(seed) if strategy == "range_test" else 0
        best = losses([], seed)[0]
        for row in rows.itertuples():
            _, objective, steps = by_formula(row)
            charged, best = charged + steps, min(best, objective)
            found.setdefault((strategy, schedule, seed), []).append((charged, best))
    return found


def test_trials_have_a_row_for_every_training_the_budget_pays_for(bowl_comparison):
    counts = bowl_comparison.trials.groupby(["strategy", "schedule", "seed"]).size().to_dict()
    left = {seed: (BUDGET * NUM_STEPS - range_test_steps(seed)) // NUM_STEPS for seed in (0, 1)}
    expected = {"grid": lambda seed: BUDGET, "range_test": left.get, "mine": lambda seed: 1}
    assert counts == {
        (strategy, schedule, seed): count(seed)
        for strategy, count in expected.items()
        for schedule in ("constant", "triangular2")
        for seed in (0, 1)
    }


def test_trials_columns_and_their_types(bowl_comparison):
    trials = bowl_comparison.trials
    assert list(trials.columns) == [
        "comparison", *KEYS, "number", "lr", "state", "outcome", "reason", "objective", "ensemble_objective",
        "ensemble_members", "steps", "steps_charged", "seconds", "device", "started", "ended", "distance", "loss", "metric_steps",
    ]  # fmt: skip
    assert {name: str(trials[name].dtype) for name in ("seed", "number", "steps", "steps_charged")} == dict.fromkeys(
        ("seed", "number", "steps", "steps_charged"), "Int64"
    )
    assert all(trials[name].dtype == np.float64 for name in ("lr", "objective", "seconds", "distance"))
    assert str(trials["started"].dt.tz) == str(trials["ended"].dt.tz) == "UTC"
    assert (trials["metric_steps"] == 7).all()


def test_objective_state_and_steps_of_every_trial_follow_the_formula(bowl_comparison):
    for row in bowl_comparison.trials.itertuples():
        _, objective, steps = by_formula(row)
        assert row.objective == pytest.approx(objective, rel=1e-3, abs=1e-9)
        assert (row.outcome, row.steps) == ("diverged" if math.isinf(objective) else "finished", steps)


def test_some_trials_diverged_and_some_did_not(bowl_comparison):
    assert set(bowl_comparison.trials["outcome"]) == {"finished", "diverged"}
    assert set(bowl_comparison.trials["state"]) == {"COMPLETE"}
    assert bowl_comparison.trials.query("outcome == 'diverged'")["reason"].str.contains("inf").all()


def test_steps_charged_add_up_from_the_range_test_on(bowl_comparison):
    charged = bests_by_hand(bowl_comparison)
    for (strategy, schedule, _, seed), rows in bowl_comparison.trials.groupby(KEYS):
        assert rows["steps_charged"].tolist() == [steps for steps, _ in charged[strategy, schedule, seed]]


def test_a_trial_ended_when_its_seconds_had_passed(bowl_comparison):
    trials = bowl_comparison.trials
    lasted = (trials["ended"] - trials["started"]).dt.total_seconds()
    assert lasted.to_numpy() == pytest.approx(trials["seconds"].to_numpy(), abs=1e-5)
    assert (trials["seconds"] > 0).all()


def test_trials_are_what_the_storage_holds(bowl_comparison):
    held = {}
    for name in optuna.get_all_study_names(bowl_comparison.storage):
        held_study = optuna.load_study(study_name=name, storage=bowl_comparison.storage)
        plan = held_study.user_attrs["lr_search"]
        if plan["kind"] == "search":
            for trial in held_study.trials:
                key = plan["strategy"], plan["schedule"], plan["seed"], trial.number
                held[key] = trial.params["lr"], trial.value
    rows = bowl_comparison.trials.itertuples()
    assert {(r.strategy, r.schedule, r.seed, r.number): (r.lr, r.objective) for r in rows} == held


def test_anytime_is_the_best_so_far_no_worse_than_the_start(bowl_comparison):
    frame = anytime_frame(bowl_comparison.records)
    assert list(frame.columns) == [*KEYS, "steps_charged", "best"]
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
    summary = bowl_comparison.summary().set_index(["strategy", "schedule"])
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
    summary = bowl_comparison.summary()
    assert summary["best"].is_monotonic_increasing
    grid = summary.query("strategy == 'grid' and schedule == 'constant'")["best_lr"].item()
    trials = bowl_comparison.trials.query("strategy == 'grid' and schedule == 'constant'")
    best = [rows.loc[rows["objective"].idxmin(), "lr"] for _, rows in trials.groupby("seed")]
    assert grid == pytest.approx(math.sqrt(best[0] * best[1]))
    assert summary.query("strategy == 'mine'")["best_lr"].to_numpy() == pytest.approx(0.3)


def test_evaluations_follow_the_formula(bowl_comparison):
    frame = bowl_comparison.evaluations
    assert list(frame.columns[:9]) == [*KEYS, "number", "peak_lr", "step", "lr", "train_loss"]
    for (_, schedule, _, seed, _), rows in frame.groupby([*KEYS, "number"]):
        steps = rows["step"].tolist()
        lr = lrs_of(schedule, rows["peak_lr"].iloc[0])
        path, distance = losses(lr, seed), np.abs(weights(lr, seed))
        planned = range(0, NUM_STEPS + 1, EVAL_EVERY) if schedule == "constant" else (0, 7, 13, 20)
        assert steps == list(planned)[: len(steps)]
        assert rows["loss"].to_numpy() == pytest.approx(path[steps], rel=1e-3, abs=1e-9)
        assert rows["distance"].to_numpy() == pytest.approx(distance[steps], rel=1e-3, abs=1e-6)
        means = [path[a:b].mean() for a, b in pairwise(steps)]
        assert rows["train_loss"].to_numpy() == pytest.approx([math.nan, *means], rel=1e-3, abs=1e-9, nan_ok=True)
        assert rows["lr"].to_numpy() == pytest.approx(lr[[max(step - 1, 0) for step in steps]])
        assert rows["end_of_cycle"].tolist() == [schedule == "triangular2" and step > 0 for step in steps]


def test_curves_hold_each_range_test_once_with_the_losses_of_the_formula(bowl_comparison):
    curves = bowl_comparison.curves
    assert list(curves.columns) == [
        "optimizer", "seed", "curve", "step", "lr", "loss", "smoothed", "slope", "gain_ratio", "reduction",
        "predicted_reduction", "relative_update", "rms_update", "gradient_norm",
    ]  # fmt: skip
    assert curves.groupby(["optimizer", "seed", "curve"]).size().to_dict().keys() == {("SGD", 0, 0), ("SGD", 1, 0)}
    for seed, rows in curves.groupby("seed"):
        ramp = np.geomspace(*LR_RANGE, NUM_STEPS)
        assert rows["lr"].to_numpy() == pytest.approx(ramp[: len(rows)])
        assert rows["loss"].to_numpy() == pytest.approx(losses(ramp, seed)[: len(rows)], rel=1e-3)
        assert rows["step"].tolist() == list(range(len(rows)))


def test_pruned_trials_end_at_the_threshold_and_their_refund_pays_for_others():
    storage = optuna.storages.InMemoryStorage()
    comparison = compare_in_bowl(
        storage, strategies=["grid"], schedules=["constant"], pruner=optuna.pruners.ThresholdPruner(upper=100), seeds=1
    )
    trials = comparison.trials
    assert set(trials["outcome"]) >= {"finished", "pruned"}
    for row in trials.itertuples():
        path, objective, steps = by_formula(row)
        seen = [step for step in range(EVAL_EVERY, min(steps, NUM_STEPS), EVAL_EVERY) if path[step] > 100]
        state, end = ("pruned", seen[0]) if seen else ("diverged" if math.isinf(objective) else "finished", steps)
        assert (row.outcome, row.steps) == (state, end)
        assert row.objective == pytest.approx(path[end] if seen else objective, rel=1e-3)
    assert len(trials) > BUDGET
    assert trials["steps_charged"].tolist() == trials["steps"].cumsum().tolist()
    assert BUDGET * NUM_STEPS - NUM_STEPS < trials["steps_charged"].iloc[-1] <= BUDGET * NUM_STEPS
    assert comparison.summary()["pruned"].item() == (trials["state"] == "PRUNED").sum()
    assert (
        anytime_frame(comparison.records)["best"].iloc[-1] == trials.query("outcome == 'finished'")["objective"].min()
    )


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


def test_tables_of_nothing_are_empty_and_keep_their_columns(bowl_comparison):
    for name in ("trials", "evaluations", "curves", "confirmations"):
        empty = getattr(lrs.Comparison(optuna.storages.InMemoryStorage(), "none"), name)
        assert isinstance(empty, pd.DataFrame)
        assert len(empty) == 0
        assert set(empty.columns) <= set(getattr(bowl_comparison, name).columns) | set(bowl_comparison.trials.columns)
        assert len(empty.columns) > 3
    assert summary_frame([]).columns.tolist() == bowl_comparison.summary().columns.tolist()
