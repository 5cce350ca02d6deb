"""What every executor must do, as a suite that the tests of an executor inherit; on workloads that train in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import numpy as np
import optuna
import pandas as pd
import pytest
import torch

from lr_search.comparison.comparison import Comparison
from lr_search.errors import TrialsFailedError, WorkloadError
from lr_search.executors.executor import Executor
from lr_search.executors.local import LocalExecutor
from lr_search.schedules.named import by_name
from lr_search.testing.demands import must
from lr_search.testing.line_workload import line_workload, shifted
from lr_search.testing.small_comparisons import (
    BEYOND,
    STEPS,
    TAME,
    Breaking,
    CutAbove,
    Followed,
    compared,
    following,
    interrupt,
    require_same,
    states,
)
from lr_search.workloads.workload import Workload

SEARCHES = ["grid", "random", "range_test", "tpe", "probe", "one_epoch"]
LAYOUTS: dict[str, Any] = {
    "constant": "constant",
    "sgdr": "sgdr",
    "one_cycle": "one_cycle",
    "refind": partial(by_name, "refind", num_steps=STEPS, ramp_steps=20),
    "plateau": "plateau",
}
SGD = torch.optim.SGD
SIDES: dict[str, Any] = {
    "SGD": SGD,
    "momentum": partial(SGD, momentum=0.9),
    "Adam": torch.optim.Adam,
}
SAME = "an executor must find what LocalExecutor finds, for it changes speed, not answers"
RELEASED = "Call job.finish(outcome) for what has ended, and job.release() for what was interrupted."
TOLD = "Call progress.begin(job), progress.evaluated(job, step) and progress.end(job, outcome)."


class ExecutorContract:
    """Inherit it, and say how to make an executor; every test makes its own.

    >>> from lr_search.executors import Executor, LocalExecutor
    >>> class TestLocalExecutor(ExecutorContract):
    ...     def executor(self) -> Executor:
    ...         return LocalExecutor()

    Attributes:
        tolerance: how far a number may lie from LocalExecutor's, relative to it; 0: not at all.
    """

    tolerance: ClassVar[float] = 0.0

    def executor(self) -> Executor:
        """A new one."""
        raise NotImplementedError(f"{type(self).__name__} must define the method `executor`.")

    @pytest.fixture
    def followed(self) -> Iterator[type[Followed]]:
        """What the executor tells of its trials; Ctrl-C interrupts it."""
        with following() as found:
            yield found

    def same(self, workload: Workload, **settings: Any) -> Comparison:
        """What the executor finds, which must be what LocalExecutor finds; and nothing may be left running."""
        storage = optuna.storages.InMemoryStorage()
        ours = compared(workload, self.executor(), storage=storage, **settings)
        left = dict(states(storage))
        rule = "an executor must return when all trials have ended"
        must(set(left) <= {"COMPLETE", "PRUNED", "FAIL"}, rule, RELEASED, states=left)
        require_same(ours, compared(workload, LocalExecutor(), **settings), self.tolerance, SAME)
        return ours

    # answers

    def test_every_strategy(self) -> None:
        """Those that wait for a range test, a probe or a first round too."""
        found = self.same(
            line_workload(num_steps=2 * STEPS), strategies=SEARCHES, **BEYOND
        )  # the probe takes some 100 steps
        assert set(found.trials["outcome"]) == {"finished", "diverged", "pruned"}
        assert set(found.trials["strategy"]) == set(SEARCHES)
        assert len(found.curves)

    def test_every_kind_of_schedule_and_optimizer(self) -> None:
        """Cycles, a moved momentum, controllers."""
        found = self.same(line_workload(), schedules=LAYOUTS, optimizers=SIDES, budget=4, **BEYOND)
        counts = found.trials.groupby("schedule", observed=True).size()
        assert (counts.drop("refind") == 4 * len(SIDES)).all()
        assert set(counts.index) == set(LAYOUTS)  # a refind pays for its range tests
        assert {"finished", "diverged"} <= set(found.trials["outcome"])

    def test_several_seeds(self) -> None:
        """Each seed has weights and batches of its own. Its range tests say where all search, and are run by themselves first."""
        settings: dict[str, Any] = {"lr_range": None, "range_test": {"num_steps": 20}}
        found = self.same(line_workload(), strategies=["random", "range_test"], budget=4, seeds=[3, 0], **settings)
        assert set(found.trials["seed"]) == {3, 0}
        assert found.curves["seed"].nunique() == 2

    def test_several_seeds_that_end_at_different_steps(self) -> None:
        """Cut, diverged or finished, and evaluated at steps of their own."""
        lrs: dict[str, Any] = {"low": 0.01, "wild": 1e20, "high": 0.1}
        settings: dict[str, Any] = {"schedules": ["constant", "sgdr"], "pruner": CutAbove(0.05), "seeds": [3, 0]}
        found = self.same(line_workload(accumulate=2), strategies=lrs, **settings)
        assert set(found.trials["outcome"]) == {"finished", "diverged", "pruned"}
        assert len(found.trials) == 2 * len(lrs) * 2

    def test_clipping_and_accumulation(self) -> None:
        """What a workload says beside its loss."""
        settings: dict[str, Any] = {"optimizers": SIDES, **TAME}
        found = self.same(line_workload(clip_norm=0.5, accumulate=2), **settings)
        plain = compared(line_workload(), LocalExecutor(), **settings)
        assert (found.trials["objective"] != plain.trials["objective"]).all()

    def test_ensembles_of_snapshots(self) -> None:
        """Of the models at the cycles' ends."""
        found = self.same(line_workload(combine="mean"), schedules=["sgdr"], **TAME)
        assert found.trials["ensemble_objective"].notna().all()

    def test_confirmations_on_test_data(self) -> None:
        """The best and what is used today, trained on fresh seeds."""
        settings: dict[str, Any] = {"schedules": ["constant", "one_cycle"], "confirm": 1, "today": 0.1, **TAME}
        found = self.same(line_workload(test_data=shifted), **settings)
        assert len(found.confirmations) == 3
        today = found.recommend().against_today
        assert today is not None
        assert today.confirmed
        assert found.recommend().on_test_data
        elsewhere = compared(line_workload(), LocalExecutor(), **settings)
        assert (found.confirmations["objective"] > elsewhere.confirmations["objective"] + 0.5).all()

    # ends

    def test_divergence_is_a_complete_trial_and_leaves_its_neighbours_alone(self) -> None:
        """Its value is inf, and it ends early."""
        lrs = {"low": 0.01, "wild": 1e20, "high": 0.1, "wilder": 1e30}
        trials = self.same(line_workload(), strategies=lrs).trials.set_index("strategy")
        assert (trials["state"] == "COMPLETE").all()
        assert trials["objective"].map(np.isfinite).to_dict() == {name: lr < 1 for name, lr in lrs.items()}
        assert trials["outcome"].to_dict() == {name: "finished" if lr < 1 else "diverged" for name, lr in lrs.items()}
        assert (trials["steps"] < STEPS).to_dict() == {name: lr > 1 for name, lr in lrs.items()}
        alone = compared(line_workload(), LocalExecutor(), strategies={"high": 0.1}).trials["objective"].item()
        found, rule = float(trials["objective"]["high"]), "a trial must find what it finds alone"
        must(found == pytest.approx(alone, rel=self.tolerance, abs=0), rule, objective=found, alone=alone)

    def test_an_exception_is_a_failure_with_its_traceback_and_others_finish(self) -> None:
        """Whatever the user's code raises."""
        errors = [RuntimeError, StopIteration, SystemExit]
        breaking = {error.__name__: Breaking(0.5, error) for error in errors}
        # never three failures in a row: others come in between
        optimizers = {
            name: each for error, one in breaking.items() for name, each in ((error, one), (f"no {error}", SGD))
        }
        found = self.same(line_workload(), optimizers=optimizers, seeds=2, **BEYOND)
        trials = found.trials
        fails = (trials["lr"] > 0.5) & trials["optimizer"].isin(list(breaking))
        assert fails.to_list() == (trials["state"] == "FAIL").to_list()
        assert set(trials["state"]) == {"COMPLETE", "FAIL"}
        assert set(trials["optimizer"][fails]) == set(breaking)
        outcomes = [trial.outcome for record in found.records for trial in record.trials if trial.state == "FAIL"]
        for outcome in outcomes:
            good = "Traceback" in outcome["error"] and "the disk is full" in outcome["error"]
            must(good, "a failed trial must keep its traceback", RELEASED, error=outcome["error"])

    def test_three_failures_in_a_row_stop_the_comparison(self) -> None:
        """What is left waits for the cause to be mended."""
        storage = optuna.storages.InMemoryStorage()
        six = {"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.04, "e": 0.05, "f": 0.06}
        with pytest.raises(TrialsFailedError, match="3 trials in a row failed, the last with RuntimeError: the disk"):
            compared(
                line_workload(optimizer=Breaking(5e-3, RuntimeError)), self.executor(), strategies=six, storage=storage
            )
        found = states(storage)
        rule, remedy = "three failures in a row must stop it", "Use lr_search.executors.executor.FailureWatch."
        must(3 <= found["FAIL"] < 6 and set(found) <= {"FAIL", "WAITING"}, rule, remedy, states=dict(found))

    def test_a_workload_error_stops_the_comparison(self) -> None:
        """No trial could be trained."""
        storage = optuna.storages.InMemoryStorage()
        with pytest.raises(WorkloadError, match="the disk is full"):
            compared(line_workload(optimizer=Breaking(0.5, WorkloadError)), self.executor(), storage=storage, **BEYOND)
        left = dict(states(storage))
        must(set(left) <= {"COMPLETE", "WAITING"}, "what ran must be put back", RELEASED, states=left)

    # pruning and budget

    def test_what_the_pruner_cuts_is_pruned_where_it_was_cut_and_refunded(self) -> None:
        """The steps that it did not take are others'."""
        trials = self.same(line_workload(), budget=4, pruner=CutAbove(0.01), **TAME).trials
        cut = trials["lr"] > 0.01
        assert trials["state"].to_list() == ["PRUNED" if each else "COMPLETE" for each in cut]
        assert trials["steps"].to_list() == [10 if each else STEPS for each in cut]
        assert set(trials["state"]) == {"COMPLETE", "PRUNED"}
        assert 3 * STEPS < trials["steps"].sum() <= 4 * STEPS  # what was cut, others took

    @pytest.mark.parametrize("pruner", [None, optuna.pruners.MedianPruner(n_startup_trials=1)])
    def test_the_budget_holds(self, pruner: optuna.pruners.BasePruner | None) -> None:
        """Of every study, whatever ran side by side."""
        settings: dict[str, Any] = {"strategies": ["grid", "random", "range_test"], "budget": 5, "seeds": 2, **TAME}
        trials = compared(line_workload(), self.executor(), pruner=pruner, **settings).trials
        charged = trials.groupby(["strategy", "seed"], observed=True)["steps_charged"].max()
        assert len(charged) == 6
        rule, came = "a study must spend its budget, and no more", charged.tolist()
        must(bool(((charged <= 5 * STEPS) & (charged > 4 * STEPS)).all()), rule, budget=5 * STEPS, charged=came)
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
        """And what it finds is what an undisturbed call finds."""
        storage = optuna.storages.InMemoryStorage()
        settings: dict[str, Any] = {"strategies": ["grid", "tpe"], "schedules": ["constant", "sgdr"], **BEYOND}
        followed.happens = staticmethod(interrupt(at))
        with pytest.raises(KeyboardInterrupt):
            compared(line_workload(), self.executor(), storage=storage, **settings)
        left, running = states(storage), set(followed.named("begin")) - set(followed.named("end"))
        good = set(left) <= {"COMPLETE", "WAITING"} and left["WAITING"] >= min(1, len(running))
        must(good, "an interrupt must put back what ran", RELEASED, states=dict(left), ran=sorted(running))
        ours = compared(line_workload(), self.executor(), storage=storage, **settings)
        require_same(ours, compared(line_workload(), LocalExecutor(), **settings), self.tolerance, SAME)
        assert set(states(storage)) == {"COMPLETE"}

    def test_progress_is_told_of_every_trial(self, followed: type[Followed]) -> None:
        """When it begins, at each evaluation, and how it ends."""
        found = compared(line_workload(), self.executor(), strategies=["grid", "range_test"], **BEYOND)
        begun, ended = followed.named("begin"), followed.named("end")
        outcomes = {name: outcome for what, name, outcome in followed.events if what == "end"}
        complete = len(ended) == len(set(ended)) == len(found.trials) + 1 and set(begun) == set(ended)  # a range test
        must(complete, "progress must be told of every trial", TOLD, begun=begun, ended=ended)
        told = [(what, name) for what, name, _ in followed.events]
        assert all(told.index(("begin", name)) < told.index(("end", name)) for name in ended)
        steps = [outcome.steps for name, outcome in outcomes.items() if outcome and "range test" not in name]
        assert sorted(steps) == sorted(found.trials["steps"])
        seen = followed.count("evaluated")
        must(seen >= len(found.trials), "progress must be told of evaluations", TOLD, evaluated=seen)

    def test_a_second_call_trains_nothing(self, followed: type[Followed]) -> None:
        """All is in the storage."""
        storage = optuna.storages.InMemoryStorage()
        first = compared(line_workload(), self.executor(), storage=storage, **TAME)
        followed.events.clear()
        again = compared(line_workload(), self.executor(), storage=storage, **TAME)
        must(followed.events == [], "a second call must train nothing", events=followed.events)
        pd.testing.assert_frame_equal(first.trials, again.trials)  # times too
