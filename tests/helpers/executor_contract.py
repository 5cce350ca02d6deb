"""What every executor must do, as a suite that the tests of an executor inherit; on workloads that train in milliseconds."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch

import lr_search as lrs
from lr_search.errors import TrialsFailedError, WorkloadError
from lr_search.executors.executor import Executor
from lr_search.schedules import by_name
from tests.helpers.comparing import (
    BEYOND,
    STEPS,
    TAME,
    Breaking,
    CutAbove,
    Followed,
    compared,
    followed,
    interrupt,
    require_same,
    shifted,
    states,
)
from tests.helpers.workloads import line

__all__ = ["ExecutorContract", "followed"]  # both to be imported where it is inherited
STRATEGIES = ["grid", "random", "range_test", "tpe", "probe", "one_epoch"]
SCHEDULES: dict[str, Any] = {
    "constant": "constant",
    "sgdr": "sgdr",
    "one_cycle": "one_cycle",
    "refind": partial(by_name, "refind", num_steps=STEPS, ramp_steps=20),
    "plateau": "plateau",
}
OPTIMIZERS: dict[str, Any] = {
    "SGD": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "Adam": torch.optim.Adam,
}


class ExecutorContract:
    """Inherit it, and say how to make an executor; every test makes its own.

    class TestMine(ExecutorContract):
        def executor(self) -> Executor:
            return MyExecutor()

    Attributes:
        tolerance: how far a number may lie from LocalExecutor's, relative to it; 0: not at all.
    """

    tolerance = 0.0

    def executor(self) -> Executor:
        """A new one."""
        raise NotImplementedError

    def same(self, workload: lrs.Workload, **settings: Any) -> lrs.Comparison:
        """What the executor finds, which must be what LocalExecutor finds; and nothing may be left running."""
        storage = optuna.storages.InMemoryStorage()
        ours = compared(workload, self.executor(), storage=storage, **settings)
        require_same(ours, compared(workload, lrs.LocalExecutor(), **settings), self.tolerance)
        assert set(states(storage)) <= {"COMPLETE", "PRUNED", "FAIL"}
        return ours

    # answers

    def test_every_strategy(self) -> None:
        found = self.same(line(num_steps=2 * STEPS), strategies=STRATEGIES, **BEYOND)  # the probe takes some 100 steps
        assert set(found.trials["outcome"]) == {"finished", "diverged", "pruned"}
        assert set(found.trials["strategy"]) == set(STRATEGIES)
        assert len(found.curves)

    def test_every_kind_of_schedule_and_optimizer(self) -> None:
        found = self.same(line(), schedules=SCHEDULES, optimizers=OPTIMIZERS, budget=4, **BEYOND)
        counts = found.trials.groupby("schedule", observed=True).size()
        assert (counts.drop("refind") == 4 * len(OPTIMIZERS)).all()
        assert set(counts.index) == set(SCHEDULES)  # a refind pays for its range tests
        assert {"finished", "diverged"} <= set(found.trials["outcome"])

    def test_several_seeds(self) -> None:
        found = self.same(line(), strategies=["random", "range_test"], budget=4, seeds=[3, 0], **TAME)
        assert set(found.trials["seed"]) == {3, 0}

    def test_clipping_and_accumulation(self) -> None:
        settings: dict[str, Any] = {"optimizers": OPTIMIZERS, **TAME}
        found = self.same(line(clip_norm=0.5, accumulate=2), **settings)
        plain = compared(line(), lrs.LocalExecutor(), **settings)
        assert (found.trials["objective"] != plain.trials["objective"]).all()

    def test_ensembles_of_snapshots(self) -> None:
        found = self.same(line(combine="mean"), schedules=["sgdr"], **TAME)
        assert found.trials["ensemble_objective"].notna().all()

    def test_confirmations_on_test_data(self) -> None:
        workload = line(test_data=shifted)
        found = self.same(workload, schedules=["constant", "one_cycle"], confirm=1, **TAME)
        assert len(found.confirmations) == 2
        assert found.recommend().on_test_data
        elsewhere = compared(line(), lrs.LocalExecutor(), schedules=["constant", "one_cycle"], confirm=1, **TAME)
        assert (found.confirmations["objective"] > elsewhere.confirmations["objective"] + 0.5).all()

    # ends

    def test_divergence_is_a_complete_trial_and_leaves_its_neighbours_alone(self) -> None:
        lrs_ = {"low": 0.01, "wild": 1e20, "high": 0.1, "wilder": 1e30}
        trials = self.same(line(), strategies=lrs_).trials.set_index("strategy")
        assert (trials["state"] == "COMPLETE").all()
        assert trials["objective"].map(np.isfinite).to_dict() == {name: lr < 1 for name, lr in lrs_.items()}
        assert trials["outcome"].to_dict() == {name: "finished" if lr < 1 else "diverged" for name, lr in lrs_.items()}
        assert (trials["steps"] < STEPS).to_dict() == {name: lr > 1 for name, lr in lrs_.items()}
        alone = compared(line(), lrs.LocalExecutor(), strategies={"high": 0.1}).trials["objective"].item()
        assert trials["objective"]["high"] == pytest.approx(alone, rel=self.tolerance, abs=0)

    def test_an_exception_is_a_failure_with_its_traceback_and_others_finish(self) -> None:
        found = self.same(line(optimizer=Breaking(0.5, RuntimeError)), budget=4, seeds=2, **BEYOND)
        trials = found.trials
        assert (trials["lr"] > 0.5).to_list() == (trials["state"] == "FAIL").to_list()
        assert set(trials["state"]) == {"COMPLETE", "FAIL"}
        outcomes = [trial.outcome for record in found.records for trial in record.trials if trial.state == "FAIL"]
        assert all("Traceback" in outcome["error"] and "the disk is full" in outcome["error"] for outcome in outcomes)

    def test_three_failures_in_a_row_stop_the_comparison(self) -> None:
        storage = optuna.storages.InMemoryStorage()
        four = {"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.04, "e": 0.05, "f": 0.06}
        with pytest.raises(TrialsFailedError, match="3 trials in a row failed, the last with RuntimeError: the disk"):
            compared(line(optimizer=Breaking(5e-3, RuntimeError)), self.executor(), strategies=four, storage=storage)
        found = states(storage)
        assert 3 <= found["FAIL"] < 6
        assert set(found) <= {"FAIL", "WAITING"}

    def test_a_workload_error_stops_the_comparison(self) -> None:
        storage = optuna.storages.InMemoryStorage()
        with pytest.raises(WorkloadError, match="the disk is full"):
            compared(line(optimizer=Breaking(0.5, WorkloadError)), self.executor(), storage=storage, **BEYOND)
        assert set(states(storage)) <= {"COMPLETE", "WAITING"}

    # pruning and budget

    def test_what_the_pruner_cuts_is_pruned_where_it_was_cut_and_refunded(self) -> None:
        trials = self.same(line(), budget=4, pruner=CutAbove(0.01), **TAME).trials
        cut = trials["lr"] > 0.01
        assert trials["state"].to_list() == ["PRUNED" if each else "COMPLETE" for each in cut]
        assert trials["steps"].to_list() == [10 if each else STEPS for each in cut]
        assert set(trials["state"]) == {"COMPLETE", "PRUNED"}
        assert 3 * STEPS < trials["steps"].sum() <= 4 * STEPS  # what was cut, others took

    @pytest.mark.parametrize("pruner", [None, optuna.pruners.MedianPruner(n_startup_trials=1)])
    def test_the_budget_holds(self, pruner: optuna.pruners.BasePruner | None) -> None:
        settings: dict[str, Any] = {"strategies": ["grid", "random", "range_test"], "budget": 5, "seeds": 2, **TAME}
        trials = compared(line(), self.executor(), pruner=pruner, **settings).trials
        charged = trials.groupby(["strategy", "seed"], observed=True)["steps_charged"].max()
        assert len(charged) == 6
        assert (charged <= 5 * STEPS).all()
        assert (charged > 4 * STEPS).all()
        if pruner is None:
            assert (trials["steps"] == STEPS).all()
            assert trials.groupby("strategy", observed=True).size().to_dict() == {
                "grid": 10,
                "random": 10,
                "range_test": 8,
            }

    # interruptions and progress

    @pytest.mark.parametrize("at", [2, 9])
    def test_an_interrupt_puts_back_what_ran_and_a_second_call_finishes(
        self, followed: type[Followed], at: int
    ) -> None:
        storage = optuna.storages.InMemoryStorage()
        settings: dict[str, Any] = {"strategies": ["grid", "tpe"], "schedules": ["constant", "sgdr"], **BEYOND}
        followed.happens = staticmethod(interrupt(at))
        with pytest.raises(KeyboardInterrupt):
            compared(line(), self.executor(), storage=storage, **settings)
        left = states(storage)
        assert set(left) <= {"COMPLETE", "WAITING"}
        assert left["WAITING"] >= 1
        ours = compared(line(), self.executor(), storage=storage, **settings)
        require_same(ours, compared(line(), lrs.LocalExecutor(), **settings), self.tolerance)
        assert set(states(storage)) == {"COMPLETE"}

    def test_progress_is_told_of_every_trial(self, followed: type[Followed]) -> None:
        found = compared(line(), self.executor(), strategies=["grid", "range_test"], **BEYOND)
        begun, ended = followed.named("begin"), followed.named("end")
        outcomes = {name: outcome for what, name, outcome in followed.events if what == "end"}
        assert len(ended) == len(set(ended)) == len(found.trials) + 1  # and a range test
        assert set(begun) == set(ended)
        told = [(what, name) for what, name, _ in followed.events]
        assert all(told.index(("begin", name)) < told.index(("end", name)) for name in ended)
        steps = [outcome.steps for name, outcome in outcomes.items() if outcome and "range test" not in name]
        assert sorted(steps) == sorted(found.trials["steps"])
        assert followed.count("evaluated") >= len(found.trials)

    def test_a_second_call_trains_nothing(self, followed: type[Followed]) -> None:
        storage = optuna.storages.InMemoryStorage()
        first = compared(line(), self.executor(), storage=storage, **TAME)
        followed.events.clear()
        again = compared(line(), self.executor(), storage=storage, **TAME)
        assert followed.events == []
        pd.testing.assert_frame_equal(first.trials, again.trials)  # times too
