"""What every layout of a schedule by name must do, as a suite that the tests of a schedule inherit."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from lr_search.errors import InvalidInputError
from lr_search.schedules.base import Schedule
from lr_search.schedules.layout import Range, ranges_of
from lr_search.schedules.named import lay_out
from lr_search.testing.demands import must, must_agree
from lr_search.testing.schedule_contract import WALK, ScheduleContract

LayoutFunction = Callable[..., Schedule]
HIGHEST = 0.2  # the peak asked for
SCALE = "A layout's lr is the peak: scale the shape so that its highest LR is lr, in each length of training."


class LayoutContract(ScheduleContract):
    """Inherit it, and say which function is registered under `lr_search.schedules`; what it lays out is under `ScheduleContract`.

    >>> from lr_search.schedules.cosine import cosine
    >>> class TestCosineByName(LayoutContract):
    ...     @pytest.fixture
    ...     def layout(self):
    ...         return cosine

    Attributes:
        lengths: the numbers of steps that it is laid out for, the shortest of which must have room for it.
        epochs: the steps of a pass over the data, likewise.
    """

    lengths: ClassVar[tuple[int, ...]] = (15, 97, 300)
    epochs: ClassVar[tuple[float | None, ...]] = (None, 0.3, 7.5, 100)

    @pytest.fixture
    def layout(self) -> LayoutFunction:
        """The function (lr, num_steps, steps_per_epoch=None, **options) -> Schedule under test."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture `layout`.")

    @pytest.fixture
    def schedule(self, layout: LayoutFunction) -> Schedule:
        """What it lays out for a training as long as is looked at."""
        return laid_out(layout, num_steps=WALK, steps_per_epoch=10)

    def test_it_takes_the_peak_the_length_and_the_epoch_then_options(self, layout: LayoutFunction) -> None:
        """As `lr_search.schedules.by_name` calls it."""
        parameters = list(inspect.signature(layout).parameters.values())
        names = [parameter.name for parameter in parameters]
        rule = "a layout must begin with (lr, num_steps, steps_per_epoch)"
        must(names[:3] == ["lr", "num_steps", "steps_per_epoch"], rule, "Options come after them.", got=names)
        bare = [
            each.name for each in parameters[3:] if each.default is each.empty and each.kind is not each.VAR_KEYWORD
        ]
        must(not bare, "a layout's options must have defaults", "The papers' rules, where there are any.", got=bare)
        unknown = set(ranges_of(layout)) - set(names)
        must(not unknown, "what is searchable must be one of the layout's options", got=sorted(unknown))

    def test_the_lr_asked_for_is_the_peak(self, layout: LayoutFunction) -> None:
        """In trainings short and long: so that one LR means the same under every schedule."""
        for num_steps, steps_per_epoch in itertools.product(self.lengths, self.epochs):
            schedule = laid_out(layout, num_steps, steps_per_epoch)
            require_peak_at(schedule, num_steps, 200, steps_per_epoch=steps_per_epoch)

    def test_the_same_training_always_gets_the_same_schedule(self, layout: LayoutFunction) -> None:
        """So that a comparison can be gone on with."""
        for num_steps, steps_per_epoch in itertools.product(self.lengths, self.epochs):
            one, other = (laid_out(layout, num_steps, steps_per_epoch) for _ in range(2))
            must(one == other, "a layout must give equal schedules for the same training", one=one, other=other)

    def test_a_training_too_short_is_an_error_of_this_package_or_has_its_schedule(self, layout: LayoutFunction) -> None:
        """The message has the rule and the number of steps."""
        for num_steps in range(1, 12):
            try:
                schedule = laid_out(layout, num_steps)
            except InvalidInputError as error:
                rule = "the message must name the number of steps, or the rule that is broken"
                must("but got" in str(error), rule, "Use lr_search.errors.require.", got=str(error))
                continue
            except Exception as error:
                remedy = "Raise lr_search.errors.InvalidInputError: the rule, what came, and what to do."
                must(False, "a training too short must be an InvalidInputError", remedy, num_steps=num_steps, got=error)
            lrs = schedule(np.arange(num_steps))
            rule = "an LR must lie between 0 and the peak"
            good = bool(((lrs >= 0) & (lrs <= HIGHEST * (1 + 1e-12))).all())
            must(good, rule, SCALE, num_steps=num_steps, lr=HIGHEST, lrs=lrs.tolist())

    def test_an_option_that_it_does_not_have_is_an_error_that_lists_those_it_has(self, layout: LayoutFunction) -> None:
        """A misspelt option is never left unused."""
        parameters = inspect.signature(layout).parameters.values()
        every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        must(not every, "a layout must name its options", "Write them out in place of **options.")
        with pytest.raises(InvalidInputError) as error:
            laid_out(layout, cycels=4)
        for name in {parameter.name for parameter in parameters} - {"lr", "num_steps", "steps_per_epoch"}:
            must(name in str(error.value), "the message must list every option", missing=name, got=str(error.value))

    def test_a_warm_up_takes_its_steps_from_the_training(self, layout: LayoutFunction) -> None:
        """The peak stays, and is not reached before the warm-up is over."""
        for warmup_steps in (1, 30):
            schedule = laid_out(layout, warmup_steps=warmup_steps)
            require_peak_at(schedule, 300, 100, warmup_steps=warmup_steps)
            rise = schedule(np.arange(warmup_steps + 1))
            line = np.linspace(0, rise[-1], warmup_steps + 1)
            must_agree(rise, line, "a warm-up must rise from 0 in a line", rtol=1e-12)

    def test_everywhere_in_the_ranges_that_are_searched_the_lr_is_the_peak(self, layout: LayoutFunction) -> None:
        """At every corner of the ranges, and between."""
        for options, steps_per_epoch in itertools.product(corners_of(layout), (None, 1, 10, 100)):
            schedule = laid_out(layout, 300, steps_per_epoch, **options)
            require_peak_at(schedule, 300, 100, steps_per_epoch=steps_per_epoch, **options)


def laid_out(
    layout: LayoutFunction,
    num_steps: int = 300,
    steps_per_epoch: float | None = None,
    warmup_steps: int | None = None,
    **options: Any,
) -> Schedule:
    """What `by_name` gives where the layout is registered, with the peak 0.2."""
    name = getattr(layout, "__name__", "layout")
    schedule: Schedule = lay_out(layout, name, HIGHEST, num_steps, steps_per_epoch, warmup_steps, options)
    must(isinstance(schedule, Schedule), "a layout must give a Schedule", got=schedule)
    return schedule


def require_peak_at(schedule: Schedule, num_steps: int, fineness: int, **how: Any) -> None:
    """No step's LR lies above the peak asked for, which is reached, if only between two of the `fineness` places in a step."""
    lrs = schedule(np.arange(num_steps))
    least, highest, peak = float(lrs.min()), float(lrs.max()), _peak(schedule, num_steps, fineness)
    good = least >= 0 and highest <= HIGHEST * (1 + 1e-12) and abs(peak - HIGHEST) <= 1e-3 * HIGHEST
    came = {"lr": HIGHEST, "peak": peak, "least": least, "highest": highest, "num_steps": num_steps, **how}
    must(good, "a schedule's peak must be the lr asked for, and no LR below 0", SCALE, **came)


def _peak(schedule: Schedule, num_steps: int, fineness: int) -> float:
    return float(schedule(np.linspace(0, num_steps, fineness * num_steps + 1)).max())


def corners_of(layout: LayoutFunction) -> Iterator[dict[str, Any]]:
    """Every corner of the ranges of a layout that may be searched, and points between."""
    ranges = ranges_of(layout)
    rng = np.random.default_rng(0)
    for corner in itertools.product(*((spread.low, spread.high) for spread in ranges.values())):
        yield dict(zip(ranges, corner, strict=True))
    for _ in range(20 if ranges else 0):
        yield {option: _drawn(spread, rng) for option, spread in ranges.items()}


def _drawn(spread: Range, rng: np.random.Generator) -> float:
    value = float(rng.uniform(spread.low, spread.high))
    return round(value) if spread.whole else value
