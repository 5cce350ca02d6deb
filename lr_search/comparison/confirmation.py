"""Training the best two again on fresh seeds: the best of many trials is partly luck, and fresh seeds have none of it."""

from __future__ import annotations

from collections.abc import Sequence

from lr_search.comparison.question import Question
from lr_search.results.candidates import candidates
from lr_search.samplers.strategy_names import resolve
from lr_search.storage.records import StudyRecord
from lr_search.studies.plan import StudyPlan

FRESH = 1_000  # fresh seeds start this far above the largest that was searched


def confirmation_plans(asked: Question, records: Sequence[StudyRecord], seeds: int) -> list[StudyPlan]:
    """A study of one trial for each of the best two candidates and each fresh seed."""
    plans = []
    for candidate in candidates(records)[:2]:
        side = asked.sides.get(candidate.optimizer)
        layout = None if side is None else side.layouts.get(candidate.schedule)
        if side is None or layout is None:  # found by an earlier call that compared more
            continue
        layout = layout.with_shape(candidate.shape)
        strategy = resolve({"confirm": candidate.lr})[0]
        for offset in range(seeds):
            seed = max(asked.seeds) + FRESH + offset
            plans.append(
                StudyPlan(
                    name=f"{asked.name}/confirm/{candidate.schedule}/{candidate.optimizer}/{candidate.lr!r}/seed {seed}",
                    kind="confirm",
                    workload=side.workload,
                    optimizer=candidate.optimizer,
                    seed=seed,
                    budget_steps=layout.training_steps(side.workload.num_steps),
                    strategy=strategy,
                    schedule=candidate.schedule,
                    layout=layout,
                    lr_range=asked.lr_range,
                    snapshots=asked.snapshots,
                )
            )
    return plans
