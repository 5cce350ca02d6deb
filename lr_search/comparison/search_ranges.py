"""Where the LR is searched: as asked, or by the optimizer's kind, and further where its range tests show that as too narrow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lr_search import plugins
from lr_search.comparison.budget import Budget
from lr_search.comparison.question import Question
from lr_search.curves.calibrated import rule_kind
from lr_search.curves.curve import LRCurve
from lr_search.curves.phases import has_descent
from lr_search.errors import InvalidInputError
from lr_search.optimizers.lr_ranges import RANGES
from lr_search.studies.optimizer_side import Side
from lr_search.studies.study import StudyTask
from lr_search.workloads.forms import ModuleCopies

TOO_NEAR = 10**0.5  # a suggestion as near as that to an end of the range is as good as beyond it
ROOM = 10.0  # how far beyond a suggestion the range then goes, at least
_LEAST, _MOST = 1e-12, 1e5
_ENDS = frozenset({"start_lr", "end_lr", "extend"})  # of a range test's settings


def as_recorded(budgeted: Budget, recorded: Sequence[Mapping[str, Any]]) -> Budget:
    """The budget of the question with the ranges that a comparison began with, where they were not asked for by number.

    Args:
        budgeted: of what is asked.
        recorded: the plans that the storage holds of the comparison.
    """
    asked = budgeted.asked
    sides = {name: _recorded(name, side, recorded) for name, side in asked.sides.items()}
    return budgeted if sides == asked.sides else Budget(replace(asked, sides=sides))


def _recorded(name: str, side: Side, recorded: Sequence[Mapping[str, Any]]) -> Side:
    if not side.range_kind:
        return side
    mine = [plan for plan in recorded if plan.get("optimizer") == name]
    for plan in mine:
        if plan["kind"] == "range_test":
            then = {key: plan["range_test"][key] for key in _ENDS - side.own_ends if key in plan["range_test"]}
            rest = {key: value for key, value in side.range_test.items() if key not in _ENDS or key in side.own_ends}
            low, high = plan["lr_range"]
            side = replace(side, range_test={**rest, **then}, tested_range=(low, high), lr_range=(low, high))
            break
    for plan in mine:
        if plan["kind"] in ("search", "probe", "pilot"):
            low, high = plan["lr_range"]
            return replace(side, lr_range=(low, high), settled=True)
    return side


def may_move(asked: Question) -> bool:
    """Whether range tests may still move the range of an optimizer: they are then run before anything is searched."""
    return any(_is_open(side) for side in asked.sides.values())


def _is_open(side: Side) -> bool:
    return bool(side.range_kind) and side.needs_curves and not side.settled


def moved(budgeted: Budget, tasks: Sequence[StudyTask]) -> tuple[Budget, list[str]]:
    """The budget of the question with ranges as the range tests want them, and what became of them, in words.

    All studies of an optimizer search one range, whatever their seed and strategy: so that they can be compared.

    Args:
        budgeted: of what is asked.
        tasks: the range tests, which have ended.
    """
    sides, lines = dict(budgeted.asked.sides), []
    for name, side in budgeted.asked.sides.items():
        if not _is_open(side):
            continue
        curves = [curve for task in tasks if task.plan.optimizer == name for curve in task.findings()]
        low, high = wide_enough(side.lr_range, _suggested(side, [each for each in curves if isinstance(each, LRCurve)]))
        sides[name] = replace(side, lr_range=(low, high), settled=True)
        if (low, high) != side.lr_range:
            was = f"{side.lr_range[0]:g} to {side.lr_range[1]:g}"
            lines.append(f"{name}: its range tests show {was} to be too narrow: searched from {low:g} to {high:g}")
    try:
        return Budget(replace(budgeted.asked, sides=sides)), lines
    except InvalidInputError:  # a probe takes more steps in a wider range than the budget has
        return budgeted, []


def _suggested(side: Side, curves: Sequence[LRCurve]) -> list[float]:
    """What the curves suggest for each schedule, where a descent stands out or the gain ratio was measured."""
    known = plugins.registered(plugins.SCHEDULES)
    schedules = {layout.name if layout.name in known else None for layout in side.layouts.values()}
    told = [curve for curve in curves if rule_kind(curve) == "gain" or has_descent(curve)]
    return [curve.suggest(schedule=each, num_steps=side.workload.num_steps).lr for curve in told for each in schedules]


def wide_enough(lr_range: tuple[float, float], suggested: Sequence[float]) -> tuple[float, float]:
    """The range, with an end a decade or more beyond what is suggested, at a power of ten, where that lies near the end or beyond it.

    >>> wide_enough((1e-4, 10.0), [0.1]), wide_enough((1e-4, 10.0), [0.1, 5.0]), wide_enough((1e-6, 1.0), [2e-7])
    ((0.0001, 10.0), (0.0001, 100.0), (1e-08, 1.0))
    """
    low, high = lr_range
    if suggested and min(suggested) < low * TOO_NEAR:
        low = max(_LEAST, 10.0 ** math.floor(math.log10(min(suggested) / ROOM) + 1e-9))
    if suggested and max(suggested) > high / TOO_NEAR:
        high = min(_MOST, 10.0 ** math.ceil(math.log10(max(suggested) * ROOM) - 1e-9))
    return min(low, lr_range[0]), max(high, lr_range[1])


def range_lines(asked: Question) -> list[str]:
    """For the plan: the range of each optimizer that is searched, where it was not asked for by number; and what a module as the model means."""
    lines = []
    for name, side in asked.sides.items():
        searched = any(strategy.max_trials != 1 for strategy in side.strategies)
        if side.range_kind and searched:
            tested = ", and further where its range tests show that as too narrow" if _is_open(side) else ""
            why = side.range_kind if side.lr_range == RANGES[side.range_kind] else "as it began"
            lines.append(f"{name}: LRs from {side.lr_range[0]:g} to {side.lr_range[1]:g} ({why}){tested}")
    if isinstance(getattr(asked.workload, "model", None), ModuleCopies):
        lines.append(
            "model is a module: all seeds begin with its weights (a function that makes it gives each its own)"
        )
    return lines
