"""Training the best two again on fresh seeds: the best of many trials is partly luck, and fresh seeds have none of it."""

from __future__ import annotations

from collections.abc import Sequence

from lr_search.execution.study import StudyPlan
from lr_search.planning import Question
from lr_search.report.recommendation import candidates
from lr_search.report.records import StudyRecord
from lr_search.samplers.strategies import resolve

FRESH = 1_000  # fresh seeds start this far above the largest that was searched


def confirmation_plans(asked: Question, records: Sequence[StudyRecord], seeds: int) -> list[StudyPlan]:
    """A study of one trial for each of the best two candidates and each fresh seed."""
    plans = []
    for candidate in candidates(records)[:2]:
        workload, layout = asked.workloads.get(candidate.optimizer), asked.layouts.get(candidate.schedule)
        if workload is None or layout is None:  # found by an earlier call that compared more
            continue
        strategy = resolve({"confirm": candidate.lr})[0]
        for offset in range(seeds):
            seed = max(asked.seeds) + FRESH + offset
            plans.append(
                StudyPlan(
                    name=f"{asked.name}/confirm/{candidate.schedule}/{candidate.optimizer}/{candidate.lr!r}/seed {seed}",
                    kind="confirm",
                    workload=workload,
                    optimizer=candidate.optimizer,
                    seed=seed,
                    budget_steps=workload.num_steps,
                    strategy=strategy,
                    schedule=candidate.schedule,
                    layout=layout,
                    lr_range=asked.lr_range,
                )
            )
    return plans
