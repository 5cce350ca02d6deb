"""RayExecutor under the suite for all executors. A worker takes seconds to start: what one comparison can say is asked of one."""

import os
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from lr_search.executors.local import LocalExecutor
from lr_search.testing import ExecutorContract
from lr_search.testing.executor_contract import LAYOUTS, SEARCHES, SIDES
from lr_search.testing.line_workload import line_workload, shifted
from lr_search.testing.small_comparisons import BEYOND, STEPS, TAME, Followed, compared, require_same
from lr_search_ray import RayExecutor
from tests.helpers.on_ray import Place

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


class TestRayExecutor(ExecutorContract):
    workers = 1

    def executor(self) -> RayExecutor:
        return RayExecutor(max_concurrent_trials=self.workers)

    # answers: these two say what seven cases say

    test_every_strategy = None
    test_every_kind_of_schedule_and_optimizer = None
    test_several_seeds = None
    test_several_seeds_that_end_at_different_steps = None
    test_clipping_and_accumulation = None
    test_ensembles_of_snapshots = None
    test_confirmations_on_test_data = None

    def test_every_strategy_on_two_workers_at_once(self, tmp_path: Path) -> None:
        self.workers = 2
        workload = line_workload(num_steps=2 * STEPS, train_data=Place(tmp_path, os.getpid(), processes=2))
        found = self.same(workload, strategies=SEARCHES, **BEYOND)
        assert set(found.trials["outcome"]) == {"finished", "diverged", "pruned"}
        assert set(found.trials["strategy"]) == set(SEARCHES)
        assert len(found.curves)
        # both were there before any trial began; the first may have run all of them when the second has unpacked what it needs
        assert len(list(tmp_path.glob("*.json"))) >= 2

    def test_every_schedule_and_optimizer_and_all_that_a_workload_says_and_a_second_call_trains_nothing(self) -> None:
        workload = line_workload(clip_norm=0.5, accumulate=2, combine="mean", test_data=shifted)
        layouts = {name: layout for name, layout in LAYOUTS.items() if name != "refind"}  # test_ray_faults.py
        settings: dict[str, Any] = {
            "schedules": layouts,
            "optimizers": SIDES,
            "budget": 2,
            "seeds": [3, 0],
            "confirm": 1,
            "today": 0.1,
        }
        storage = optuna.storages.InMemoryStorage()
        ours = compared(workload, self.executor(), storage=storage, **settings, **TAME)
        require_same(ours, compared(workload, LocalExecutor(), **settings, **TAME))
        assert set(ours.trials["seed"]) == {3, 0}
        assert ours.trials["ensemble_objective"].notna().any()
        assert len(ours.confirmations) == 3  # the best two, and what is used today
        assert ours.recommend().on_test_data
        plain = compared(line_workload(combine="mean", test_data=shifted), LocalExecutor(), **settings, **TAME)
        assert (ours.trials["objective"] != plain.trials["objective"]).all()
        again = compared(workload, self.executor(), storage=storage, **settings, **TAME)
        pd.testing.assert_frame_equal(ours.trials, again.trials)  # times too

    test_a_second_call_trains_nothing = None

    # ends and budget: what ended otherwise than well or was cut is told as a result, as these others are

    test_divergence_is_a_complete_trial_and_leaves_its_neighbours_alone = None  # above
    test_a_workload_error_stops_the_comparison = None  # test_ray_faults.py
    test_what_the_pruner_cuts_is_pruned_where_it_was_cut_and_refunded = None  # test_ray_executor.py

    @pytest.mark.parametrize("pruner", [optuna.pruners.MedianPruner(n_startup_trials=1)])
    def test_the_budget_holds(self, pruner: optuna.pruners.BasePruner) -> None:
        super().test_the_budget_holds(pruner)

    @pytest.mark.parametrize("at", [9])  # where some have ended and one runs
    def test_an_interrupt_puts_back_what_ran_and_a_second_call_finishes(
        self, followed: type[Followed], at: int
    ) -> None:
        super().test_an_interrupt_puts_back_what_ran_and_a_second_call_finishes(followed, at)
