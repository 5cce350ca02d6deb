"""The studies of pilots, one a rung; and what pilots need of a workload and its schedules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lr_search.errors import require
from lr_search.samplers.strategies import Rung, Strategy
from lr_search.studies.pilot_layout import as_pilot, pilot_layout
from lr_search.studies.plan import StudyPlan
from lr_search.studies.schedule_layout import ScheduleLayout
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload


def pilot_plans(
    name: str,
    rungs: Sequence[tuple[Rung, int]],
    strategy: Strategy,
    schedule: str,
    layout: ScheduleLayout,
    first: StudyPlan,
    common: Mapping[str, Any],
) -> list[StudyPlan]:
    """The studies of one search's pilots, each of which waits for the one before.

    Args:
        name: of the comparison.
        rungs: of the strategy, at least one, and how many pilots of each are paid for.
        strategy: of the search.
        schedule: its name.
        layout: that schedule, in a full training.
        first: the study of the range tests, which the first rung waits for.
        common: what the studies of one optimizer and seed have in common, with the workload of a full training.
    """
    work = common["workload"]
    assert isinstance(work, Workload)
    place = f"{schedule}/{common['optimizer']}/seed {common['seed']}"
    plans: list[StudyPlan] = []
    for rung, count in rungs:
        num_steps = rung.num_steps(work.num_steps)
        plan = StudyPlan(
            name=f"{name}/{strategy.name}, pilots of {num_steps} steps/{place}",
            kind="pilot",
            strategy=strategy.of_rung(rung, count),
            schedule=schedule,
            layout=pilot_layout(schedule, layout, work, num_steps),
            waits_for=(plans or [first])[-1].name,
            target_steps=work.num_steps,
            **{**common, "workload": as_pilot(work, num_steps), "snapshots": 0},
        )
        plans.append(plan)
    return plans


def least_steps(strategy: Strategy, layout: ScheduleLayout, num_steps: int) -> int:
    """The steps of the least that a study of that strategy trains: its first rung of pilots, or a full training."""
    if strategy.pilots is None:
        return layout.training_steps(num_steps)
    rung = strategy.pilots.rungs[0]
    return rung.pilots * rung.num_steps(num_steps)


def require_pilots(strategies: Sequence[Strategy], layouts: Mapping[str, ScheduleLayout], workload: Subject) -> None:
    """Find out before the first step whether every rung can be laid out.

    Raises:
        InvalidInputError: the training is too short for pilots, or a schedule cannot be laid out for their length.
    """
    for strategy in strategies:
        if strategy.pilots is None:
            continue
        rung, shortest = strategy.pilots.rungs[0], strategy.pilots.shortest
        least = math.ceil(shortest / rung.share)
        require(
            rung.num_steps(workload.num_steps) >= shortest,
            f"{strategy.name!r} needs a training of at least {least} steps: pilots of {rung.share:g} of it have at least {shortest}",
            "Use 'range_test', whose full trainings of that length are cheap.",
            num_steps=workload.num_steps,
        )
        for each in strategy.pilots.rungs:
            for name, layout in layouts.items():
                pilot_layout(name, layout, workload, each.num_steps(workload.num_steps))
