"""The studies of a question: what must run first, the searches that wait for it, and the confirmation of what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lr_search.comparison.budget import Budget
from lr_search.comparison.pilot_plans import pilot_plans
from lr_search.comparison.question import Question
from lr_search.comparison.today import Today
from lr_search.curves.probe import Ladder
from lr_search.results.candidates import candidates
from lr_search.samplers.strategy_names import resolve_strategies
from lr_search.storage.records import StudyRecord
from lr_search.studies.optimizer_side import Side
from lr_search.studies.plan import StudyPlan

FRESH = 1_000  # fresh seeds start this far above the largest that was searched


def study_plans(budget: Budget) -> list[StudyPlan]:
    """Every study of the question, seed by seed: today's, then range tests, probes and pilots before the searches that wait for them."""
    asked = budget.asked
    plans: list[StudyPlan] = []
    for seed in asked.seeds:
        plans += [] if asked.today is None else [_today_plan(asked, asked.today, seed, fresh=False)]
        for optimizer, side in asked.sides.items():
            common: dict[str, Any] = {"workload": side.workload, "optimizer": optimizer, "seed": seed}
            common |= {"budget_steps": budget.study_steps, "lr_range": side.lr_range}
            common |= {"snapshots": asked.snapshots}
            firsts = _first_plans(asked, side, common)
            plans += firsts.values()
            for strategy in side.strategies:
                for schedule, layout in side.layouts.items():
                    first = firsts.get(strategy.probe or strategy.needs_curves)
                    if strategy.pilots is not None and first is not None:
                        pilots = pilot_plans(
                            asked.name, budget.rungs_of(strategy), strategy, schedule, layout, first, common
                        )
                        plans += pilots
                        first = pilots[-1]
                    plans.append(
                        StudyPlan(
                            name=f"{asked.name}/{strategy.name}/{schedule}/{optimizer}/seed {seed}",
                            kind="search",
                            strategy=strategy,
                            schedule=schedule,
                            layout=layout if strategy.max_trials != 1 else layout.with_shape({}),  # nothing to search
                            pruner=asked.pruner_of(layout)[0],
                            waits_for="" if first is None else first.name,
                            default_lr=side.default_lr if strategy.needs_default else None,
                            **common,
                        )
                    )
    return plans


def _first_plans(asked: Question, side: Side, common: Mapping[str, Any]) -> dict[Ladder | bool, StudyPlan]:
    """What searches wait for, of one optimizer and seed: the range tests under True, a probe under its ladder."""
    place = f"{common['optimizer']}/seed {common['seed']}"
    plans: dict[Ladder | bool, StudyPlan] = {}
    if side.needs_curves:
        plans[True] = StudyPlan(
            name=f"{asked.name}/range test/{place}",
            kind="range_test",
            curves=asked.curves,
            range_test=side.range_test,
            **{**common, "lr_range": side.tested_range},
        )
    for ladder in side.ladders:
        name = f"{asked.name}/probe of {ladder.describe()}/{place}"
        plans[ladder] = StudyPlan(name=name, kind="probe", curves=1, ladder=ladder, **common)
    return plans


def _today_plan(asked: Question, today: Today, seed: int, *, fresh: bool) -> StudyPlan:
    """The training with what is used today, beside the searches or (fresh) beside the trainings that confirm them."""
    place = f"{today.schedule}/{today.optimizer}/seed {seed}"
    return StudyPlan(
        name=f"{asked.name}/confirm/today's LR/{place}" if fresh else f"{asked.name}/today's LR/{place}",
        kind="confirm" if fresh else "today",
        workload=today.workload,
        optimizer=today.optimizer,
        seed=seed,
        budget_steps=today.steps,
        strategy=today.strategy,
        schedule=today.schedule,
        layout=today.layout,
        lr_range=asked.sides[today.optimizer].lr_range,
        snapshots=asked.snapshots,
    )


def confirmation_plans(asked: Question, records: Sequence[StudyRecord], seeds: int) -> list[StudyPlan]:
    """A study of one trial for each of the best two candidates, and for what is used today, and each fresh seed.

    The best of many trials is partly luck; today's was not chosen among them.
    """
    first, best = max(asked.seeds) + FRESH, candidates(records)[:2]
    plans = []
    for candidate in best:
        side = asked.sides.get(candidate.optimizer)
        layout = None if side is None else side.layouts.get(candidate.schedule)
        if side is None or layout is None:  # found by an earlier call that compared more
            continue
        layout = layout.with_shape(candidate.shape)
        strategy = resolve_strategies({"confirm": candidate.lr})[0]
        for offset in range(seeds):
            seed = first + offset
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
                    lr_range=side.lr_range,
                    snapshots=asked.snapshots,
                )
            )
    if best and asked.today is not None:
        plans += [_today_plan(asked, asked.today, first + offset, fresh=True) for offset in range(seeds)]
    return plans


def confirmation_left(budget: Budget, records: Sequence[StudyRecord], seeds: int) -> tuple[int, int]:
    """Trainings on so many fresh seeds that have not ended, and their steps: of the best so far, where there are any already."""
    plans = confirmation_plans(budget.asked, records, seeds)
    if not plans:
        return budget.confirm_trials(seeds), budget.confirm_steps(seeds)
    ended = {study.name for study in records if any(trial.state != "RUNNING" for trial in study.trials)}
    left = [plan.budget_steps for plan in plans if plan.name not in ended]
    return len(left), sum(left)
