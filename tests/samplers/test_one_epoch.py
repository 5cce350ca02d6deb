"""The 1-epoch baseline: a grid for one epoch each, then the best of it in full (arXiv:2307.15422)."""

import math
import unittest.mock
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

import lr_search as lrs
from lr_search.comparison.budget import Budget
from lr_search.comparison.plans import study_plans
from lr_search.comparison.question import question
from lr_search.controllers import Refind
from lr_search.errors import InvalidInputError
from lr_search.samplers import GridSampler
from lr_search.samplers.one_epoch import OneEpochPruner, OneEpochSampler, first_round
from lr_search.schedules import Triangular
from lr_search.storage.fingerprints.fingerprint import fingerprint
from lr_search.storage.open import quiet_optuna
from lr_search.studies.job import Job
from lr_search.studies.study import StudyTask
from tests.helpers.workloads import line

EPOCH, STEPS = 8, 40  # 8 batches a pass
TIMES = ["seconds", "started", "ended", "worker"]


def work(**changes: Any) -> lrs.Workload:
    return line(**{"num_steps": STEPS, "eval_every": 5, **changes})


def compared(workload: lrs.Workload | None = None, **changes: Any) -> lrs.Comparison:
    settings: dict[str, Any] = {
        "strategies": ["one_epoch"], "schedules": ["constant"], "seeds": 1, "budget": 4, "lr_range": (1e-3, 0.5),
        "storage": None, "progress": False, "name": "a",
    }  # fmt: skip
    return lrs.compare(workload or work(), **(settings | changes))


def rounds(comparison: lrs.Comparison, schedule: str = "constant") -> tuple[pd.DataFrame, pd.DataFrame]:
    trials = comparison.trials.query("schedule == @schedule")
    return trials[trials["state"] == "PRUNED"], trials[trials["state"] == "COMPLETE"]


@pytest.mark.parametrize(
    ("budget", "num_first", "num_best"),
    [
        (1, 0, 1),
        (2, 4, 1),
        (3, 8, 1),
        (4, 8, 2),
        (6, 12, 3),
        (8, 20, 3),
    ],  # an epoch, at step 10, is a quarter of a training
)
def test_the_budget_decides_how_many_are_tried_and_how_many_trained(budget: int, num_first: int, num_best: int) -> None:
    comparison = compared(budget=budget)
    cut, full = rounds(comparison)
    assert (len(cut), len(full)) == (num_first, num_best)
    assert cut["steps"].tolist() == [10] * num_first  # the first evaluation after an epoch of 8 steps
    assert full["steps"].tolist() == [STEPS] * num_best
    assert comparison.trials["steps"].sum() <= budget * STEPS
    assert comparison.trials["steps_charged"].tolist() == comparison.trials["steps"].cumsum().tolist()


def test_the_first_are_the_grids_and_the_best_of_them_are_trained_again() -> None:
    cut, full = rounds(compared(budget=6))
    study = optuna.create_study(sampler=GridSampler(12, seed=0))
    grid = [study.ask().suggest_float("lr", 1e-3, 0.5, log=True) for _ in range(12)]
    assert cut["lr"].tolist() == grid
    assert full["lr"].tolist() == cut.sort_values("objective")["lr"].tolist()[:3]
    assert (full["objective"].to_numpy() < cut["objective"].min()).all()  # trained for longer


def test_to_maximize_the_highest_are_the_best() -> None:
    def metrics(model: Any, batch: Any) -> dict[str, Any]:
        return {"score": -((model(batch[:, :1]) - batch[:, 1:]) ** 2).mean()}

    cut, full = rounds(compared(work(metrics=metrics, objective="score", direction="maximize")))
    assert full["lr"].tolist() == cut.sort_values("objective", ascending=False)["lr"].tolist()[:2]


def test_a_cyclic_schedule_is_cut_at_its_first_cycles_end() -> None:
    comparison = compared(schedules=["triangular2"])
    first_end = comparison.records[0].plan["shape"]["cycle_ends"][0]
    cut, full = rounds(comparison, "triangular2")
    assert cut["steps"].unique().tolist() == [first_end]
    assert len(cut) == 2 * STEPS // first_end
    assert len(full) == 2


def test_a_range_test_on_the_way_is_paid_for_in_the_first_round_too() -> None:
    def refind(lr: float) -> Refind:
        return Refind(Triangular(lr / 4, lr, step_size=5), num_steps=20)  # 3 tests of 20 steps and 21 forward passes

    full_steps, cut_steps = STEPS + 3 * 27, 10 + 27
    num_trials = 30 * STEPS // full_steps
    cut, full = rounds(compared(schedules={"refind": refind}, budget=30), "refind")
    assert len(cut) == (num_trials - 3) * full_steps // cut_steps
    assert cut["steps"].max() <= cut_steps
    assert len(full) >= 3
    assert cut["steps"].sum() + full["steps"].sum() <= 30 * STEPS


def test_a_training_of_one_epoch_is_a_plain_grid() -> None:
    one = compared(work(num_steps=8, eval_every=2)).trials
    other = compared(work(num_steps=8, eval_every=2), strategies={"one_epoch": "grid"}).trials
    assert one.drop(columns=TIMES).equals(other.drop(columns=TIMES))


def test_without_a_known_epoch_the_first_evaluation_decides() -> None:
    def endless() -> Any:
        while True:
            yield from work().train_data()

    cut, _ = rounds(compared(work(train_data=endless)))
    assert cut["steps"].unique().tolist() == [5]


def test_what_diverges_before_its_epoch_is_over_leaves_steps_for_the_next_best() -> None:
    trials = compared(lr_range=(1e-3, 1e20), budget=8).trials
    first, again = trials[trials["number"] < 20], trials[trials["number"] >= 20]
    cut = first[first["outcome"] == "pruned"]
    assert set(first["outcome"]) == {"pruned", "diverged"}
    assert len(again) > 3
    assert again["lr"].tolist()[: len(cut)] == cut.sort_values("objective")["lr"].tolist()  # then the grid goes on
    assert trials["steps"].sum() <= 8 * STEPS


def test_a_larger_budget_trains_more_of_the_first_in_full(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    before = compared(storage=url).trials
    after = compared(storage=url, budget=6)
    pd.testing.assert_frame_equal(after.trials[: len(before)], before)
    cut, full = rounds(after)
    assert full["lr"].tolist() == cut.sort_values("objective")["lr"].tolist()[:4]


def test_its_own_pruner_wins_over_the_comparisons(caplog: pytest.LogCaptureFixture) -> None:
    pruner = optuna.pruners.ThresholdPruner(upper=-1.0)
    both = compared(pruner=pruner, strategies=["one_epoch", "random"], progress=True)
    assert "pruner of one_epoch: its own" in caplog.messages[0]
    trials = both.trials
    own = trials[trials["strategy"] == "one_epoch"].drop(columns=TIMES)
    alone = compared().trials.drop(columns=TIMES)
    pd.testing.assert_frame_equal(own, alone, check_categorical=False, check_dtype=False, check_exact=True)
    assert (trials[trials["strategy"] == "random"]["steps"] == 5).all()
    plans = {record.plan["strategy"]: record.plan["pruner"] for record in both.records}
    assert plans["one_epoch"] == "the strategy's own"
    assert plans["random"].startswith("ThresholdPruner")


def test_shapes_that_are_searched_have_no_common_first_round() -> None:
    with pytest.raises(
        InvalidInputError, match=r"search_shape must be False under a strategy that prunes.*'one_epoch'"
    ):
        compared(search_shape=True, schedules=["sgdr"])


def tasks(storage: optuna.storages.BaseStorage, count: int) -> list[StudyTask]:
    """The same study, as several processes see it."""
    from lr_search.studies.opening import open_studies

    asked = question(
        work(), name="a", strategies=["one_epoch"], schedules=["constant"], optimizers=None, lr_range=(1e-3, 0.5),
        range_test=None, budget=4, seeds=1, pruner=None,
    )  # fmt: skip
    with quiet_optuna():
        return [
            open_studies(storage, "a", study_plans(Budget(asked)), {("SGD", 0): fingerprint(work(), 0)})[0]
            for _ in range(count)
        ]


def run(job: Job | None) -> None:
    from lr_search.executors.local import run_job
    from lr_search.executors.progress import Progress

    assert job is not None
    run_job(job, Progress(0, 0, shown=False))


def test_the_best_wait_until_all_of_the_first_round_have_ended() -> None:
    one, other = tasks(optuna.storages.InMemoryStorage(), 2)
    for task in (one, other, one, other, one, other, one):
        run(task.ask())
    last = one.ask()
    assert last is not None
    assert other.ask() is None
    assert not other.complete()  # it has only to wait
    last.release()  # its process is gone
    run(other.ask())
    best = [one.ask(), other.ask()]
    for job in best:
        run(job)
    assert one.ask() is None
    assert one.complete()
    trials = one.trials()
    assert [t.state for t in trials] == [TrialState.PRUNED] * 8 + [TrialState.COMPLETE] * 2
    ranked = sorted(trials[:8], key=lambda t: t.intermediate_values[10])
    assert [t.params for t in trials[8:]] == [t.params for t in ranked[:2]]


def test_a_trial_that_was_taken_too_early_is_put_back() -> None:
    """Two processes see one free place of the first round, and the second gets the number after it."""
    one, other = tasks(optuna.storages.InMemoryStorage(), 2)
    for _ in range(7):
        run(one.ask())
    seen, look = other.trials(), other.storage.before_taking
    last = one.ask()
    with unittest.mock.patch.object(
        other.storage, "before_taking", lambda study: seen if len(look(study)) == 8 else look(study)
    ):
        assert other.ask() is None
    assert [t.state for t in other.trials()[7:]] == [TrialState.RUNNING, TrialState.WAITING]
    assert one.ask() is None
    run(last)
    run(other.ask())
    run(one.ask())
    assert one.complete()
    assert len(one.trials()) == 10


def test_the_sampler_reuses_every_parameter_of_the_best_and_then_goes_on() -> None:
    study = optuna.create_study(sampler=OneEpochSampler(2, seed=1), pruner=OneEpochPruner(3, 2), direction="maximize")
    for number in range(5):
        trial = study.ask()
        value = trial.suggest_float("lr", 1e-4, 1.0, log=True) + trial.suggest_int("width", 1, 1000)
        trial.report(value, step=3)
        assert trial.should_prune() == (number < 2)
        study.tell(trial, *((None, TrialState.PRUNED) if number < 2 else (value,)))
    first, second, best, next_best, further = (trial.params for trial in study.trials)
    assert best == max(first, second, key=lambda p: p["lr"] + p["width"])
    assert {best["lr"], next_best["lr"]} == {first["lr"], second["lr"]}
    assert further["lr"] not in (first["lr"], second["lr"])


def test_the_pruner_goes_by_its_step_and_its_number() -> None:
    study = optuna.create_study(pruner=OneEpochPruner(step=3, num_first=1))
    first, second = study.ask(), study.ask()
    first.report(math.inf, step=2)
    assert not first.should_prune()
    first.report(0.0, step=4)
    assert first.should_prune()
    second.report(math.inf, step=4)
    assert not second.should_prune()


def test_the_share_of_a_budget() -> None:
    assert first_round(10, 100, 10) == 70
    assert first_round(10, 100, 99) == 7
    assert first_round(2, 100, 60) == 0  # one trial: nothing to choose from
    assert first_round(4, 100, None) == 0
    assert first_round(1, 100, 10) == 0


@pytest.mark.parametrize(
    ("kind", "options"), [(OneEpochSampler, {"num_first": 0}), (OneEpochPruner, {"step": 0, "num_first": 1})]
)
def test_numbers_that_break_a_rule(kind: Any, options: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match="must be at least 1"):
        kind(**options)
