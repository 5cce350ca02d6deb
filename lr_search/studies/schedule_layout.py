"""The schedules of a comparison: each maps a peak LR, and the shape that is searched with it, to what is trained under."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lr_search import plugins
from lr_search.errors import InvalidInputError, LRSearchError, error_text, quoted, require, user_code
from lr_search.kinds.printable_names import require_name
from lr_search.schedules.base import Schedule
from lr_search.schedules.layout import Range, ranges_of
from lr_search.schedules.named import by_name
from lr_search.training.controller import Controller
from lr_search.workloads.subject import Subject

PEAK = 0.1  # at which a layout is tried


@dataclass(frozen=True)
class ScheduleLayout:
    """Peak LR -> Schedule or Controller.

    Args:
        make: (peak LR, **options) -> Schedule or Controller.
        ranges: the options that are searched beside the LR, and where; empty: none.
        chosen: options that are given.
        name: of the schedule as `by_name` knows it; empty for a user's own.
    """

    make: Callable[..., Schedule | Controller]
    ranges: Mapping[str, Range] = field(default_factory=dict)
    chosen: Mapping[str, float] = field(default_factory=dict)
    name: str = ""

    @user_code
    def __call__(self, lr: float, **shape: float) -> Schedule | Controller:
        """The schedule or controller at that peak LR."""
        return self.make(lr, **{**self.chosen, **shape})

    def with_shape(self, shape: Mapping[str, float]) -> ScheduleLayout:
        """The layout with these options, and nothing left to search."""
        return replace(self, ranges={}, chosen=shape)

    def training_steps(self, num_steps: int) -> int:
        """What a training of `num_steps` is charged at most: a controller may run range tests on the way."""
        trained_under = self(PEAK)
        return num_steps + (trained_under.extra_steps(num_steps) if isinstance(trained_under, Controller) else 0)


def layouts_of(schedules: Any, workload: Subject, *, search_shape: bool = False) -> dict[str, ScheduleLayout]:
    """The schedules a user named: names, or name -> (peak LR -> Schedule or Controller), or name -> name.

    Args:
        schedules: the argument of `compare`.
        workload: what is trained.
        search_shape: whether the sampler also chooses the options that a named schedule has to be searched.

    Raises:
        UnknownNameError: no schedule has that name.
        InvalidInputError: nothing is named, something twice, the training is too short, or no shape is there to be searched.
    """
    if isinstance(schedules, str):
        schedules = [schedules]
    named = schedules if isinstance(schedules, Mapping) else {name: name for name in schedules}
    require(len(named) > 0, "schedules must name at least one", schedules=schedules)
    for name in named:
        require_name("a schedule's name", name)
    duplicates = not isinstance(schedules, Mapping) and len(named) != len(list(schedules))
    require(not duplicates, "schedules must differ in name", schedules=schedules)
    layouts = {str(name): _layout(name, value, workload, search_shape) for name, value in named.items()}
    searched = not search_shape or any(layout.ranges for layout in layouts.values())
    shapes = ", ".join(name for name in plugins.registered(plugins.SCHEDULES) if _ranges(name))
    rule = "search_shape needs a schedule, by its name, that has a shape to search"
    require(searched, rule, f"These have: {shapes}.", schedules=list(layouts))
    return layouts


def named_layout(
    name: str, num_steps: int, steps_per_epoch: float | None, *, search_shape: bool = False
) -> ScheduleLayout:
    """The schedule of that name, laid out for a training.

    Args:
        name: one that `by_name` knows.
        num_steps: steps in the training.
        steps_per_epoch: steps in one pass over the data, or None.
        search_shape: whether its options are searched too, as far as the training is long enough for them.

    Raises:
        UnknownNameError: no schedule has that name.
        InvalidInputError: the training is too short.
    """
    make = partial(_laid_out, name, num_steps, steps_per_epoch)
    return ScheduleLayout(make, _fitting(make, _ranges(name)) if search_shape else {}, name=name)


def _layout(name: str, value: Any, workload: Subject, search_shape: bool) -> ScheduleLayout:
    """The layout of one schedule, tried out: too short a training is better reported before anything runs."""
    if callable(value):
        layout = ScheduleLayout(value)
    else:
        layout = named_layout(value, workload.num_steps, workload.steps_per_epoch, search_shape=search_shape)
    try:
        trained_under = layout(PEAK)
    except LRSearchError:
        raise
    except Exception as error:
        message = f"The schedule {quoted(name)} must map a peak LR to a Schedule or Controller, but it raised {error_text(error)}."
        raise InvalidInputError(message) from error
    right = isinstance(trained_under, Schedule | Controller)
    require(right, f"the schedule {quoted(name)} must map a peak LR to a Schedule or Controller", got=trained_under)
    return layout


def _ranges(name: str) -> Mapping[str, Range]:
    return ranges_of(plugins.load_plugin(plugins.SCHEDULES, name))


def _laid_out(
    name: str, num_steps: int, steps_per_epoch: float | None, lr: float, **options: Any
) -> Schedule | Controller:
    return by_name(name, lr, num_steps, steps_per_epoch, **options)


def _fitting(make: Callable[..., Any], ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges, with those of whole numbers (cycles) cut to what the training is long enough for."""
    fitted = dict(ranges)
    while True:
        try:
            for corner in itertools.product(*((bounds.low, bounds.high) for bounds in fitted.values())):
                make(PEAK, **_typed(fitted, dict(zip(fitted, corner, strict=True))))
            return fitted
        except InvalidInputError:
            longest = {name: bounds for name, bounds in fitted.items() if bounds.whole and bounds.high > bounds.low}
            if not longest:
                raise
            fitted |= {name: replace(bounds, high=bounds.high - 1) for name, bounds in longest.items()}


def _typed(ranges: Mapping[str, Range], values: Mapping[str, float]) -> dict[str, float]:
    return {name: int(value) if ranges[name].whole else value for name, value in values.items()}
