"""FusedExecutor: which trials it trains together, and that each of them is as if trained by itself."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

import lr_search as lrs
from lr_search.errors import InvalidInputError
from lr_search.executors import fused_run
from lr_search.executors.executor import Executor
from lr_search.executors.executor_names import executor_by_name
from lr_search.executors.fusing import Fusing
from lr_search.fused.lane import Member
from lr_search.fused.trials import FusedTraining
from lr_search.schedules import by_name
from lr_search.studies.study import StudyTask
from tests.helpers import sharing
from tests.helpers.comparing import (
    BEYOND,
    STEPS,
    TAME,
    CutAbove,
    Followed,
    compared,
    followed,
    require_same,
    shifted,
)
from tests.helpers.workloads import line, squared_error

__all__ = ["followed"]
TOLERANCE = 1e-3
SHARED = sharing.settings(schedules=["constant"])
OPTIMIZERS: dict[str, Any] = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}


@pytest.fixture
def waves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], list[Member]]]:
    """The seeds and the members of every fused training, in their order."""
    found: list[tuple[list[int], list[Member]]] = []

    class Noted(FusedTraining):
        def __init__(self, members: Any, seeds: Any, support: Any) -> None:
            found.append((list(seeds), list(members)))
            super().__init__(members, seeds, support)

    monkeypatch.setattr(fused_run, "FusedTraining", Noted)
    return found


def same(workload: lrs.Workload, width: int = 4, **settings: Any) -> lrs.Comparison:
    """What is found fused, which must be what LocalExecutor finds."""
    ours = compared(workload, lrs.FusedExecutor(width=width), **settings)
    require_same(ours, compared(workload, lrs.LocalExecutor(), **settings), TOLERANCE)
    return ours


# options


@pytest.mark.parametrize("width", [0, -1, 2.5, True, "fast", None])
def test_a_width_is_a_whole_number_or_auto(width: Any) -> None:
    rule = "width must be (a whole number or 'auto'|a whole number, at least 1, or 'auto')"
    with pytest.raises(InvalidInputError, match=f"{rule}, but got (width=)?{width!r}"):
        lrs.FusedExecutor(width=width)


def test_a_study_has_room_for_one_trial_at_least() -> None:
    with pytest.raises(InvalidInputError, match="parallel_per_study must be at least 1"):
        lrs.FusedExecutor(parallel_per_study=0)


def test_it_has_a_name_and_options_on_the_command_line(cli: Any) -> None:
    assert executor_by_name("fused", {"width": 8}) == lrs.FusedExecutor(width=8)
    assert executor_by_name("fused") == lrs.FusedExecutor() == lrs.FusedExecutor(width="auto", parallel_per_study=1)
    listed = cli("list").stdout
    assert "\n  fused " in listed[listed.index("executors") :]


# waves


def test_a_wave_is_full_and_begins_together(followed: type[Followed], waves: list[Any]) -> None:
    found = compared(line(), lrs.FusedExecutor(width=4), budget=10, **TAME)
    assert [len(members) for _, members in waves] == [4, 4, 2]
    assert len(found.trials) == 10
    whats = [what for what, _, _ in followed.events if what != "evaluated"]
    expected = [[what] * count for count in (4, 4, 2) for what in ("begin", "end")]
    assert whats == [what for part in expected for what in part]
    for first in (0, 4, 8):
        assert followed.named("begin")[first : first + 4] == followed.named("end")[first : first + 4]


@pytest.mark.parametrize(("width", "expected"), [(8, [(8, 0), (0, 8)]), (16, [(8, 8)]), (12, [(8, 4), (0, 4)])])
def test_a_wave_is_of_one_seed_as_far_as_that_fills_it(
    waves: list[Any], width: int, expected: list[tuple[int, int]]
) -> None:
    settings: dict[str, Any] = {"strategies": {"low": 0.01, "high": 0.1}, "schedules": ["constant", "one_cycle"]}
    same(line(), width=width, optimizers=OPTIMIZERS, seeds=[4, 7], **settings)
    assert [(seeds.count(4), seeds.count(7)) for seeds, _ in waves] == expected  # 2 x 2 x 2 trials a seed
    members = waves[0][1]
    assert {member.workload.optimizer for member in members} == set(OPTIMIZERS.values())
    assert len({member.schedule for member in members}) == 4


def test_studies_that_wait_for_results_lend_one_trial_each(waves: list[Any]) -> None:
    settings: dict[str, Any] = {"strategies": ["tpe"], "schedules": ["constant", "one_cycle"], "budget": 3, **TAME}
    compared(line(), lrs.FusedExecutor(width=16), **settings)
    assert [len(members) for _, members in waves] == [2, 2, 2]


def test_a_width_of_one_fuses_nothing(waves: list[Any]) -> None:
    executors: list[Executor] = [lrs.FusedExecutor(width=1), lrs.LocalExecutor()]
    one, other = (compared(line(), executor, **BEYOND) for executor in executors)
    assert waves == []
    require_same(one, other)


def test_confirmations_are_judged_on_test_data_and_searches_are_not(waves: list[Any]) -> None:
    workload = line(test_data=shifted)
    found = same(workload, width=8, schedules=["constant", "one_cycle"], confirm=2, **TAME)
    assert len(found.confirmations) == 4
    judged = [{member.workload.valid_data is shifted for member in members} for _, members in waves]
    assert judged == [{False}, {True}]  # the search, and the fresh seeds
    assert [sorted(set(seeds)) for seeds, _ in waves] == [[0], sorted(set(found.confirmations["seed"]))]


def test_a_confirmation_is_never_trained_with_a_search() -> None:
    task = sharing.tasks(optuna.storages.InMemoryStorage(), strategies=["grid"], schedules=["constant"], seeds=1)[0]
    confirmation = StudyTask(replace(task.plan, kind="confirm"), task.study)
    fusing = Fusing(4)
    assert fusing.together(task, task)
    assert fusing.together(confirmation, confirmation)
    assert not fusing.together(task, confirmation)
    assert not fusing.together(confirmation, task)


def test_what_needs_the_training_itself_cannot_be_fused() -> None:
    wanted: dict[str, Any] = {
        "strategies": ["range_test", "probe"],
        "schedules": ["constant", "refind", "plateau"],
        "seeds": 1,
    }
    tasks = sharing.tasks(optuna.storages.InMemoryStorage(), budget=9, **wanted)
    fused = [task.plan for task in tasks if Fusing(4).can(task)]
    assert len(tasks) == 2 + 6  # a range test and a probe for them all
    assert [(plan.kind, plan.schedule) for plan in fused] == [
        ("range_test", ""),
        *[("search", "constant"), ("search", "plateau")] * 2,
    ]


def test_probes_and_what_refinds_run_by_themselves(waves: list[Any]) -> None:
    schedules = {"refind": partial(by_name, "refind", num_steps=2 * STEPS, ramp_steps=20)}
    same(line(num_steps=2 * STEPS), strategies=["range_test", "probe"], schedules=schedules, budget=4, **TAME)
    assert waves == []


def test_each_row_has_a_plateau_of_its_own(waves: list[Any]) -> None:
    schedules = {
        "plateau": partial(by_name, "plateau", num_steps=STEPS, patience=0, threshold=0.3),
        "constant": "constant",
    }
    ours = same(line(eval_every=3), 8, schedules=schedules, **TAME)
    assert [len(members) for _, members in waves] == [6]
    lrs_of_a_trial = ours.evaluations.query("step > 0").groupby(["schedule", "number"])["lr"].nunique()
    assert lrs_of_a_trial["plateau"].nunique() > 1  # they fell at other times
    assert (lrs_of_a_trial["constant"] == 1).all()


def test_a_plateau_of_no_metric_is_told_as_by_itself() -> None:
    unknown = {"plateau": partial(by_name, "plateau", num_steps=STEPS, metric="accuracy")}
    for executor in (lrs.FusedExecutor(width=4), lrs.LocalExecutor()):
        with pytest.raises(lrs.errors.TrialsFailedError, match="metric must be one that the workload reports"):
            compared(line(), executor, schedules=unknown)


# each by itself


def test_all_but_one_are_cut(waves: list[Any]) -> None:
    eight = {f"{lr}": lr for lr in (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.4)}
    trials = same(line(), width=8, strategies=eight, pruner=CutAbove(0.015), optimizers=OPTIMIZERS).trials
    assert [len(members) for _, members in waves] == [8, 8]
    assert trials.groupby(["optimizer", "state"], observed=True).size().to_dict() == {
        (name, state): count for name in OPTIMIZERS for state, count in (("COMPLETE", 1), ("PRUNED", 7))
    }
    assert (trials["steps"] == trials["state"].map({"COMPLETE": STEPS, "PRUNED": 10})).all()


def test_lanes_end_one_after_the_other_and_the_rest_go_on() -> None:
    class Ladder(optuna.pruners.BasePruner):
        """Cuts after 2, 4, 6, ... steps, the larger the LR the sooner."""

        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.last_step is not None and trial.last_step >= 0.4 / trial.params["lr"]

    fixed = {f"{lr}": lr for lr in (0.2, 0.1, 0.05, 0.04, 0.03, 0.02, 0.015, 0.01)}
    workload = line(eval_every=2)
    trials = same(workload, width=8, strategies=fixed, pruner=Ladder(), optimizers=OPTIMIZERS).trials
    steps = {0.2: 2, 0.1: 4, 0.05: 8, 0.04: 10, 0.03: 14, 0.02: 20, 0.015: 28, 0.01: STEPS}
    assert trials["steps"].to_list() == trials["lr"].map(steps).to_list()
    assert len(trials) == 2 * 8


def test_ensembles_of_snapshots_are_judged_as_alone() -> None:
    found = same(line(combine="mean"), schedules=["sgdr"], optimizers=OPTIMIZERS, budget=4, snapshots=3, **TAME)
    assert found.trials["ensemble_objective"].notna().all()
    assert (found.trials["ensemble_objective"] != found.trials["objective"]).all()


def test_every_trial_has_its_share_of_the_time_and_a_name_of_its_worker() -> None:
    trials = compared(line(), lrs.FusedExecutor(width=4), budget=4, **BEYOND).trials
    assert (trials["seconds"] > 0).all()
    assert trials["worker"].nunique() == 4
    assert set(trials["outcome"]) == {"finished", "diverged"}


# several processes


def slow(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    time.sleep(0.01)
    return squared_error(model, batch)


def share(barrier: Any, url: str) -> None:
    """Take part in a comparison."""
    barrier.wait()
    lrs.compare(line(loss=slow), storage=url, progress=False, executor=lrs.FusedExecutor(width=2), **SHARED)


@pytest.mark.processes
def test_two_processes_share_the_work(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    sharing.together(2, share, url)
    ours = lrs.load(url, sharing.NAME)
    undisturbed = lrs.compare(line(), storage=None, progress=False, **SHARED)
    require_same(ours, undisturbed, TOLERANCE)
    states = {state for found in sharing.states(url).values() for state in found}
    assert states == {"COMPLETE"}
    assert ours.trials["worker"].str.split("/").str[0].nunique() == 2


def test_the_same_call_gives_the_same_bits() -> None:
    one, other = (compared(line(), lrs.FusedExecutor(width=4), budget=6, **BEYOND) for _ in range(2))
    require_same(one, other)
    assert {"finished", "diverged"} == set(one.trials["outcome"])
