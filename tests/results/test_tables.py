"""The report's tables, recomputed from a bowl's formula and by hand."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import optuna
import pandas as pd
import pytest

import lr_search as lrs
from lr_search.results.anytime import anytime_frame
from lr_search.results.summary import summary_frame
from lr_search.results.tables import evaluations_frame, trials_frame
from tests.helpers.bowl import BUDGET, EVAL_EVERY, LR_RANGE, NUM_STEPS, compare_in_bowl, losses, lrs_of, weights
from tests.helpers.bowl_results import KEYS, bests_by_hand, by_formula, range_test_steps
from tests.helpers.study_records import study


def test_trials_have_a_row_for_every_training_the_budget_pays_for(bowl_comparison):
    counts = bowl_comparison.trials.groupby(["strategy", "schedule", "seed"], observed=True).size().to_dict()
    left = {seed: (BUDGET * NUM_STEPS - range_test_steps(seed)) // NUM_STEPS for seed in (0, 1)}
    expected = {"grid": lambda seed: BUDGET, "range_test": left.get, "mine": lambda seed: 1}
    assert counts == {
        (strategy, schedule, seed): count(seed)
        for strategy, count in expected.items()
        for schedule in ("constant", "triangular2")
        for seed in (0, 1)
    }


TYPES = {
    **dict.fromkeys(
        ("comparison", "strategy", "schedule", "optimizer", "state", "outcome", "device", "worker"), "category"
    ),
    **dict.fromkeys(("seed", "number", "ensemble_members", "steps", "steps_charged"), "Int64"),
    **dict.fromkeys(("lr", "objective", "ensemble_objective", "seconds"), "float64"),
    **dict.fromkeys(("started", "ended"), "datetime64[ns, UTC]"),
    "reason": str(pd.Series(dtype="str").dtype),  # "object" before pandas 3
}


def test_trials_columns_and_their_types(bowl_comparison):
    trials = bowl_comparison.trials
    assert list(trials.columns) == [
        "comparison", *KEYS, "number", "lr", "state", "outcome", "reason", "objective", "ensemble_objective",
        "ensemble_members", "steps", "steps_charged", "seconds", "device", "worker", "started", "ended", "distance", "loss",
        "metric_steps",
    ]  # fmt: skip
    metrics = dict.fromkeys(("distance", "loss", "metric_steps"), "float64")
    assert {name: str(kind) for name, kind in trials.dtypes.items()} == TYPES | metrics
    assert (trials["metric_steps"] == 7).all()


@pytest.mark.parametrize(
    "records",
    [[], [study([])], [study([(0.1, "RUNNING")])], [study([(0.1, "FAIL"), (0.2, 0.5)])]],
    ids=["none", "no trial", "running", "some"],
)
def test_the_types_are_the_same_whatever_there_is(records):
    found = trials_frame(records)
    assert {name: str(kind) for name, kind in found.dtypes.items() if name != "loss"} == TYPES
    long = evaluations_frame(records)
    assert {name: str(kind) for name, kind in long.dtypes.items()} == {
        **dict.fromkeys(("comparison", "strategy", "schedule", "optimizer", "metric"), "category"),
        **dict.fromkeys(("seed", "number", "step"), "Int64"),
        **dict.fromkeys(("peak_lr", "lr", "value"), "float64"),
        "end_of_cycle": "boolean",
    }


def test_what_is_searched_beside_the_lr_is_a_column_and_nan_where_a_schedule_has_none():
    shaped = replace(study([(0.1, 0.5)], schedule="sgdr").trials[0], shape={"cycles": 3, "T_mult": 2.0})
    records = [study([(0.2, 0.4)]), replace(study([], schedule="sgdr"), trials=[shaped])]
    trials = trials_frame(records)
    assert list(trials.columns[6:10]) == ["lr", "cycles", "T_mult", "state"]
    assert trials["cycles"].tolist() == pytest.approx([math.nan, 3.0], nan_ok=True)
    assert trials["T_mult"].tolist() == pytest.approx([math.nan, 2.0], nan_ok=True)


def test_categories_are_in_the_order_that_was_planned_and_states_in_ours():
    records = [study([(0.1, 0.5)], strategy=name) for name in ("tpe", "grid", "random")]
    trials = trials_frame(records)
    assert trials["strategy"].cat.categories.tolist() == ["tpe", "grid", "random"]
    assert trials["state"].cat.categories.tolist() == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert trials["outcome"].cat.categories.tolist() == ["finished", "diverged", "pruned", "failed"]


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
    for (strategy, schedule, _, seed), rows in bowl_comparison.trials.groupby(KEYS, observed=True):
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


def test_evaluations_are_long_and_follow_the_formula(bowl_comparison):
    frame = bowl_comparison.evaluations
    assert list(frame.columns) == [
        "comparison", *KEYS, "number", "peak_lr", "step", "lr", "end_of_cycle", "metric", "value",
    ]  # fmt: skip
    assert set(frame["metric"]) == {"train_loss", "loss", "distance", "steps"}
    for (_, schedule, _, seed, _), rows in frame.groupby([*KEYS, "number"], observed=True):
        metric = dict(iter(rows.groupby("metric", observed=True)))
        steps = metric["loss"]["step"].tolist()
        assert all(each["step"].tolist() == steps for each in metric.values())
        lr = lrs_of(schedule, rows["peak_lr"].iloc[0])
        path, distance = losses(lr, seed), np.abs(weights(lr, seed))
        planned = range(0, NUM_STEPS + 1, EVAL_EVERY) if schedule == "constant" else (0, 7, 13, 20)
        assert steps == list(planned)[: len(steps)]
        assert metric["loss"]["value"].to_numpy() == pytest.approx(path[steps], rel=1e-3, abs=1e-9)
        assert metric["distance"]["value"].to_numpy() == pytest.approx(distance[steps], rel=1e-3, abs=1e-6)
        means = [math.nan, *(path[a:b].mean() for a, b in pairwise(steps))]
        found = metric["train_loss"]["value"].to_numpy()
        assert found == pytest.approx(means, rel=1e-3, abs=1e-9, nan_ok=True)
        for each in metric.values():
            assert each["lr"].to_numpy() == pytest.approx(lr[[max(step - 1, 0) for step in steps]])
            assert each["end_of_cycle"].tolist() == [schedule == "triangular2" and step > 0 for step in steps]


def test_a_metric_called_train_loss_does_not_hide_the_training_loss():
    frame = evaluations_frame([study([(0.1, 0.4)], objective="train_loss")])
    assert frame.groupby("metric", observed=True)["value"].last().to_dict() == {
        "train_loss": 0.5,
        "metric_train_loss": 0.4,
    }


def test_trials_of_several_metrics_keep_their_own(bowl_comparison):
    others = study([(0.1, 0.4)], objective="accuracy")
    frame = evaluations_frame([*bowl_comparison.records, others])
    assert set(frame.loc[frame["comparison"] == "by hand", "metric"]) == {"train_loss", "accuracy"}
    assert len(frame) == len(bowl_comparison.evaluations) + 4


def test_curves_hold_each_range_test_once_with_the_losses_of_the_formula(bowl_comparison):
    curves = bowl_comparison.curves
    assert list(curves.columns) == [
        "comparison", "optimizer", "seed", "curve", "step", "lr", "loss", "smoothed", "slope", "gain_ratio", "reduction",
        "predicted_reduction", "relative_update", "rms_update", "gradient_norm",
    ]  # fmt: skip
    assert curves.groupby(["optimizer", "seed", "curve"], observed=True).size().to_dict().keys() == {
        ("SGD", 0, 0),
        ("SGD", 1, 0),
    }
    for seed, rows in curves.groupby("seed", observed=True):
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
    assert comparison.summary(full=True)["pruned"].item() == (trials["state"] == "PRUNED").sum()
    assert (
        anytime_frame(comparison.records)["best"].iloc[-1] == trials.query("outcome == 'finished'")["objective"].min()
    )


def test_tables_of_nothing_are_empty_and_keep_their_columns(bowl_comparison):
    for name in ("trials", "evaluations", "curves", "confirmations"):
        empty = getattr(lrs.Comparison(optuna.storages.InMemoryStorage(), "none"), name)
        assert isinstance(empty, pd.DataFrame)
        assert len(empty) == 0
        assert set(empty.columns) <= set(getattr(bowl_comparison, name).columns) | set(bowl_comparison.trials.columns)
        assert len(empty.columns) > 3
    assert summary_frame([]).columns.tolist() == bowl_comparison.summary(full=True).columns.tolist()
