"""today=: the learning rate and schedule that the user trains with now, against which the answer is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from lr_search.errors import require, unknown_name
from lr_search.kinds.checked import taken
from lr_search.kinds.kind import NUMBER, TEXT
from lr_search.samplers.strategies import Strategy
from lr_search.samplers.strategy_names import resolve_strategies
from lr_search.studies.optimizer_side import Side
from lr_search.studies.schedule_layout import ScheduleLayout, layouts_of
from lr_search.workloads.subject import Subject

TODAY = "today"  # the name of the strategy
_HOLDS = ("lr", "schedule", "optimizer")
_EXAMPLE = 'For example: today=3e-4, or today={"lr": 3e-4, "schedule": "cosine"}.'
UsedToday = Annotated[float | Mapping[str, Any] | None, _EXAMPLE]  # the LR, or it and what it is used with


@dataclass(frozen=True)
class Today:
    """What the user trains with now.

    Args:
        lr: the (peak) LR.
        schedule: its name.
        layout: that schedule.
        optimizer: its name.
        workload: with that optimizer.
    """

    lr: float
    schedule: str
    layout: ScheduleLayout
    optimizer: str
    workload: Subject

    @property
    def strategy(self) -> Strategy:
        """One training at that LR."""
        return resolve_strategies({TODAY: self.lr})[0]

    @property
    def steps(self) -> int:
        """What its training is charged at most."""
        return self.layout.training_steps(self.workload.num_steps)

    def describe(self) -> str:
        """In words: `today's 0.0003 under constant with SGD`."""
        return f"today's {self.lr:.3g} under {self.schedule} with {self.optimizer}"


def today_of(
    given: UsedToday,
    strategies: Sequence[Strategy],
    layouts: Mapping[str, ScheduleLayout],
    sides: Mapping[str, Side],
) -> Today | None:
    """What `compare`'s argument means; None where it is None.

    Args:
        given: the LR, or a mapping of lr, schedule and optimizer.
        strategies: those that were asked for.
        layouts: the schedules that were asked for, by name.
        sides: by optimizer.

    Raises:
        InvalidInputError: it is no positive LR, holds something else, or a strategy is called today too.
        UnknownNameError: there is no such schedule or optimizer.
    """
    if given is None:
        return None
    settings: dict[Any, Any] = dict(given) if isinstance(given, Mapping) else {"lr": given}
    extra = [key for key in settings if key not in _HOLDS]
    require(not extra, f"today may hold {', '.join(_HOLDS)}", _EXAMPLE, got=extra)
    require("lr" in settings, "today must hold the lr that you train with now", _EXAMPLE, got=given)
    lr = float(taken(NUMBER, "today's lr", settings["lr"]))
    require(0 < lr < math.inf, "today's lr must be positive and finite", _EXAMPLE, lr=lr)
    names = [strategy.name for strategy in strategies]
    remedy = "Leave one of the two out, or give the strategy another name."
    require(TODAY not in names, "no strategy may be called 'today' beside today=", remedy, strategies=names)
    optimizer = taken(TEXT, "today's optimizer", settings.get("optimizer", next(iter(sides))))
    if optimizer not in sides:
        raise unknown_name("optimizer of today", optimizer, sides)
    side = sides[optimizer]
    schedule = taken(TEXT, "today's schedule", settings.get("schedule", next(iter(side.layouts))))
    known = {**layouts, **side.layouts}
    layout = known[schedule] if schedule in known else layouts_of([schedule], side.workload)[schedule]
    return Today(lr, schedule, layout.with_shape({}), optimizer, side.workload)
