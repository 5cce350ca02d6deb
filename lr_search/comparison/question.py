"""What is compared: the arguments of `compare`, checked, with the errors a user can make."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from optuna.pruners import BasePruner

from lr_search.comparison.pilot_plans import least_steps, require_pilots
from lr_search.comparison.today import Today, UsedToday, today_of
from lr_search.errors import require
from lr_search.kinds.checked import taken
from lr_search.kinds.kind import WHOLE_NUMBER
from lr_search.kinds.printable_names import require_name
from lr_search.kinds.seeds import MOST_SEEDS, taken_seeds
from lr_search.optimizers.lr_ranges import RANGES
from lr_search.optimizers.names import NamedOptimizers
from lr_search.optimizers.names import resolve_optimizers as resolve_optimizers
from lr_search.ramp.settings import RampSettings, ramp_steps
from lr_search.samplers.strategies import Strategy
from lr_search.samplers.strategy_names import resolve_strategies
from lr_search.studies.auto_pruner import auto_pruner
from lr_search.studies.optimizer_side import Side, range_kind, side_of
from lr_search.studies.plan import report_steps
from lr_search.studies.pruner_names import require_pruner_packages
from lr_search.studies.schedule_layout import PEAK, ScheduleLayout, layouts_of
from lr_search.training.controller import Controller, first_schedule
from lr_search.workloads.optimizer_forms import ModelOptimizers
from lr_search.workloads.subject import Subject
from lr_search.workloads.trainable import Trainable, require_workload_for
from lr_search.workloads.workload import Workload

USUAL_SNAPSHOTS, MOST_SNAPSHOTS = 2, 1_000
CURVES = 1
OWN_LOOP = "own loop"  # what a table calls the optimizer of a training function that attaches none
Pruner = BasePruner | Literal["auto"] | None


@dataclass(frozen=True)
class Question:
    """What is compared: `compare`'s arguments, checked.

    Args:
        name: of the comparison.
        sides: optimizer's name -> what is run with that optimizer.
        strategies: how to search, as asked.
        layouts: the schedules by name, as asked.
        curves: range tests an optimizer and seed.
        budget: full trainings a study may spend.
        seeds: of weights and batches.
        pruner: Optuna's; "auto" for one by schedule; or None.
        snapshots: how many of a training's last cycle ends are judged together.
        today: what the user trains with now; None where that was not told.
    """

    name: str
    sides: Mapping[str, Side]
    strategies: Sequence[Strategy]
    layouts: Mapping[str, ScheduleLayout]
    curves: int
    budget: float
    seeds: Sequence[int]
    pruner: Pruner
    snapshots: int = 0
    today: Today | None = None

    @property
    def workload(self) -> Subject:
        """With the first optimizer."""
        return next(iter(self.sides.values())).workload

    @property
    def range_test(self) -> Mapping[str, Any]:
        """The arguments of the first optimizer's range tests; only the ends differ between optimizers."""
        return next(iter(self.sides.values())).range_test

    @property
    def num_studies(self) -> int:
        """Searches, without the range tests they share."""
        return sum(each.num_studies for each in self.sides.values()) * len(self.seeds)

    def pruner_of(self, layout: ScheduleLayout) -> tuple[BasePruner | None, str]:
        """The pruner of the studies of one schedule, and why it was chosen; no reason where the user chose it."""
        if not isinstance(self.pruner, str):
            return self.pruner, ""
        if layout.ranges:
            return None, "none, for its shape is searched, and trials of several shapes have no common cycle ends"
        shape, work = layout(PEAK), self.workload
        return auto_pruner(shape, report_steps(work, first_schedule(shape)), work.num_steps)

    def prunes(self, strategy: Strategy, layout: ScheduleLayout) -> bool:
        """Whether the trials of such a study may be cut; then there may be more of them than full trainings."""
        return strategy.pruner is not None or self.pruner_of(layout)[0] is not None

    @property
    def prunes_any(self) -> bool:
        """Whether those of any study may be."""
        sides = self.sides.values()
        pairs = (pair for each in sides for pair in itertools.product(each.strategies, each.layouts.values()))
        return any(self.prunes(*pair) for pair in pairs)


def question(
    workload: Subject,
    *,
    name: str,
    strategies: Any,
    schedules: Any,
    optimizers: NamedOptimizers | None,
    lr_range: tuple[float, float] | None,
    range_test: Mapping[str, Any] | None,
    budget: float,
    seeds: int | Sequence[int],
    pruner: Pruner,
    snapshots: int | None = 0,
    search_shape: bool = False,
    today: UsedToday = None,
) -> Question:
    """Check what the user asked for. Raises: InvalidInputError, UnknownNameError: it breaks a rule."""
    require_name("name", name)
    given = dict(range_test or {})
    curves = _curves(given.pop("curves", CURVES))
    searched = None if lr_range is None else _lr_range(lr_range)
    ways, layouts = resolve_strategies(strategies), layouts_of(schedules, workload, search_shape=search_shape)
    _require_pruner(pruner, ways, search_shape)
    _require_possible(workload, ways, layouts, optimizers, {"snapshots": snapshots, **given})
    sides = _sides(
        _workloads(workload, optimizers), ways, layouts, searched, given, budget * workload.num_steps, curves
    )
    for side in sides.values():
        require_pilots(side.strategies, side.layouts, side.workload)
    return Question(
        name=name,
        sides=sides,
        strategies=ways,
        layouts=layouts,
        curves=curves,
        budget=budget,
        seeds=taken_seeds(seeds),
        pruner=pruner,
        snapshots=_snapshots(snapshots, workload),
        today=today_of(today, ways, layouts, sides),
    )


def _require_pruner(pruner: Pruner, strategies: Sequence[Strategy], search_shape: bool) -> None:
    is_pruner = pruner is None or pruner == "auto" or isinstance(pruner, BasePruner)
    require(is_pruner, "pruner must be an Optuna pruner, 'auto', or None", pruner=pruner)
    if isinstance(pruner, BasePruner):
        require_pruner_packages(pruner)
    rule = (
        "search_shape must be False under a pruner, which compares trials at the same steps: cycle ends no longer align"
    )
    aligned = not isinstance(pruner, BasePruner) or not search_shape
    require(aligned, rule, "Leave the pruner out, or the search of the shape.", search_shape=search_shape)
    cutting = [strategy.name for strategy in strategies if strategy.pruner is not None]
    remedy = f"Leave {', '.join(cutting)} out, or the search of the shape."
    require(
        not cutting or not search_shape, rule.replace("a pruner", "a strategy that prunes"), remedy, strategies=cutting
    )


def _lr_range(lr_range: tuple[float, float]) -> tuple[float, float]:
    low, high = map(float, lr_range)
    require(0 < low < high < math.inf, "lr_range must be (low, high) with 0 < low < high", lr_range=lr_range)
    return low, high


def _curves(curves: Any) -> int:
    curves = taken(WHOLE_NUMBER, "range_test's curves", curves)
    require(1 <= curves <= MOST_SEEDS, f"range_test's curves must be from 1 to {MOST_SEEDS:,}", curves=curves)
    return int(curves)


def _range_test(
    given: Mapping[str, Any], lr_range: tuple[float, float], training: int, *, moving: bool = False
) -> dict[str, Any]:
    """The arguments of a range test over the range that is searched.

    Args:
        given: by the user.
        lr_range: (low, high).
        training: steps of a full training.
        moving: whether the test goes on beyond the range where nothing breaks there, or begins too high, unless the user gave an end.
    """
    known = set(RampSettings.names())
    extra = sorted(given.keys() - known)
    require(not extra, f"range_test may hold {', '.join(sorted(known | {'curves'}))}", got=extra)
    moving = moving and not given.keys() & {"start_lr", "end_lr"} and given.get("ramp", "exponential") == "exponential"
    ends = {
        "start_lr": lr_range[0],
        "end_lr": lr_range[1],
        "ramp": "exponential",
        **({"extend": True} if moving else {}),
    }
    settings = {"num_steps": ramp_steps(None, training), **ends, **given}
    checked = RampSettings(**settings)
    return {name: getattr(checked, name) for name in settings}


def _snapshots(snapshots: int | None, subject: Subject) -> int:
    if snapshots is None:
        return 0 if isinstance(subject, Trainable) else USUAL_SNAPSHOTS
    good = snapshots == 0 or 2 <= snapshots <= MOST_SNAPSHOTS
    rule = f"snapshots must be from 2 (one is the model itself) to {MOST_SNAPSHOTS:,}, or 0 to judge no ensembles"
    require(good, rule, snapshots=snapshots)
    return snapshots


def _require_possible(
    subject: Subject,
    strategies: Sequence[Strategy],
    layouts: Mapping[str, ScheduleLayout],
    optimizers: Any,
    asked: Mapping[str, Any],
) -> None:
    """Refuse what only a workload can be asked for. Args: asked: what is measured beside the objective and the loss."""
    if optimizers is not None:
        require_workload_for("optimizers=", subject)
    for name in ("snapshots", "valid_batches", *_without_gain_ratio(subject)):
        if asked.get(name):
            require_workload_for(f"{name}=", subject)
    for strategy in strategies:
        if strategy.probe is not None or strategy.pilots is not None:
            require_workload_for(f"the strategy {strategy.name!r}", subject)
    for name, layout in layouts.items():
        trained_under = layout(PEAK)
        if isinstance(trained_under, Controller) and trained_under.by_evaluations(subject) is None:
            require_workload_for(f"the schedule {name!r}", subject)


def _workloads(workload: Subject, optimizers: NamedOptimizers | None) -> Mapping[str, Subject]:
    if isinstance(workload, Trainable):
        kind = workload.first_look().optimizer_class
        return {OWN_LOOP if kind is None else kind.__name__: workload}
    assert isinstance(workload, Workload)
    if optimizers is None:
        return {optimizer_name(workload.optimizer): workload}
    return {name: replace(workload, optimizer=made) for name, made in resolve_optimizers(optimizers).items()}


def _sides(
    workloads: Mapping[str, Subject],
    strategies: Sequence[Strategy],
    layouts: Mapping[str, ScheduleLayout],
    lr_range: tuple[float, float] | None,
    range_test: Mapping[str, Any],
    budget_steps: float,
    curves: int,
) -> dict[str, Side]:
    """The optimizers' sides. Args: budget_steps: of a study; the others as `question`'s, checked."""
    sides = {}
    for name, workload in workloads.items():
        side = side_of(name, workload, strategies, layouts, partial(_named, workload))
        kind = range_kind(workload) if lr_range is None else ""
        searched = RANGES[kind] if lr_range is None else lr_range
        given = {**range_test, **_without_gain_ratio(workload)}
        settings = _range_test(given, searched, workload.num_steps)
        if lr_range is None and _pays_for_more(settings, side, budget_steps, curves):
            settings = _range_test(given, searched, workload.num_steps, moving=True)
        own_ends = frozenset(range_test.keys() & {"start_lr", "end_lr", "extend"})
        sides[name] = replace(
            side, lr_range=searched, range_kind=kind, range_test=settings, tested_range=searched, own_ends=own_ends
        )
    return sides


def _without_gain_ratio(subject: Subject) -> dict[str, Any]:
    measures = not isinstance(subject, Trainable) or subject.own_range_test is not None
    return {} if measures else {"gain_ratio": False}


def _pays_for_more(settings: Mapping[str, Any], side: Side, budget_steps: float, curves: int) -> bool:
    """Whether the least that follows is paid for also after range tests of twice the steps, since they go on beyond their range."""
    ways = itertools.product(side.strategies, side.layouts.values())
    least = max(least_steps(strategy, layout, side.workload.num_steps) for strategy, layout in ways)
    return 2 * curves * RampSettings(**settings).most_steps() + least <= budget_steps


def _named(workload: Subject, schedule: str) -> ScheduleLayout:
    return layouts_of(schedule, workload)[schedule]


def optimizer_name(optimizer: Any) -> str:
    """What a table calls an optimizer: the class's or function's name; of several the first's."""
    inner = optimizer.in_turn[0] if isinstance(optimizer, ModelOptimizers) else optimizer
    while isinstance(inner, partial):
        inner = inner.func
    name = getattr(inner, "__name__", type(inner).__name__)
    return "optimizer" if name == "<lambda>" else str(name)
