"""Schedules and layouts that break their contract fail it, with a message that has the rule, what came, and what to do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from lr_search.arrays import FloatArray
from lr_search.schedules import Constant, Cosine, Schedule
from lr_search.schedules.layout import Range, searchable
from lr_search.testing import LayoutContract, ScheduleContract
from tests.helpers.contract_failures import fails


@dataclass(frozen=True)
class Sound(Schedule):
    """Falls in a line and holds its end; what is derived from it breaks one rule each."""

    lr: float = 0.1

    def values(self, steps: FloatArray) -> FloatArray:
        return self.lr * np.maximum(1 - steps / 300, 0.1)

    def describe(self) -> str:
        return "sound"


class Shared(Sound):
    def values(self, steps: FloatArray) -> FloatArray:
        return self.lr * (1 - steps / (1 + steps.max(initial=0)))


class Sorted(Sound):
    def values(self, steps: FloatArray) -> FloatArray:
        return np.sort(super().values(steps))[::-1]


class Counted(Sound):
    calls: list[int] = []  # noqa: RUF012

    def values(self, steps: FloatArray) -> FloatArray:
        self.calls.append(1)
        return super().values(steps) / len(self.calls)


class Below(Sound):
    def values(self, steps: FloatArray) -> FloatArray:
        return self.lr * (1 - steps / 300)


class Heavy(Sound):
    def momenta(self, steps: FloatArray) -> FloatArray:
        return np.full(steps.shape, 1.5)


class Unordered(Sound):
    def cycle_ends(self, num_steps: int) -> list[int]:
        return [20, 10]


class Late(Sound):
    def cycle_ends(self, num_steps: int) -> list[int]:
        return [num_steps // 2]


class Wordy(Sound):
    def describe(self) -> str:
        return "two\nlines"


class Identity(Sound):
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Miswritten(Sound):
    def factor_lines(self, lr: float, num_steps: int) -> list[str]:
        return ["return 1 - step / 200"]


class Attached(Sound):
    def attach(self, optimizer: Any, last_epoch: int = -1) -> Any:
        return Constant(0.1).attach(optimizer, last_epoch)


class Loose(Schedule):
    def values(self, steps: FloatArray) -> FloatArray:
        return np.full(steps.shape, 0.1)

    def describe(self) -> str:
        return "no dataclass"


SCHEDULES: list[tuple[type[Schedule], str, str]] = [
    (Loose, "test_it_is_a_frozen_dataclass", r"must be a frozen dataclass, but got .*Loose.*Write @dataclass"),
    (
        Shared,
        "test_a_number_gives_the_float_that_an_array_gives",
        r"what an array gives, but got at=1, found=0\.09.*from the step alone",
    ),
    (Sorted, "test_an_array_keeps_its_shape_and_may_be_in_any_order", r"may be in any order, but got at=0"),
    (Counted, "test_the_same_step_always_gives_the_same_lr", r"must always give the same LR .*found=.*wanted="),
    (Below, "test_an_lr_is_never_negative_and_never_nan_however_far_on", r"at least 0.*step=1000\.0.*Hold the last LR"),
    (Heavy, "test_an_lr_is_never_negative_and_never_nan_however_far_on", r"a momentum must be at least 0 and below 1"),
    (
        Unordered,
        "test_cycles_end_at_whole_steps_and_those_of_a_shorter_training_are_the_first",
        r"must rise, but got \[20",
    ),
    (Late, "test_cycles_end_at_whole_steps_and_those_of_a_shorter_training_are_the_first", r"first of the same cycles"),
    (Wordy, "test_its_description_is_one_line", r"describe\(\) must give one line.*two"),
    (Identity, "test_it_survives_pickling_and_equals_another_with_the_same_numbers", r"must equal it, but got copy="),
    (Attached, "test_attached_it_writes_what_is_written_by_hand", r"at step 1, what calling the schedule gives"),
    (
        Miswritten,
        "test_its_code_run_in_plain_torch_gives_its_own_lrs",
        r"the code for 7 steps.*but got at=.*torch_call",
    ),
]


@pytest.mark.parametrize(
    ("kind", "test", "message"), SCHEDULES, ids=[f"{kind.__name__}, {test}" for kind, test, _ in SCHEDULES]
)
def test_a_broken_schedule_fails(kind: type[Schedule], test: str, message: str) -> None:
    fails(message, getattr(ScheduleContract(), test), kind())


def test_the_schedule_that_they_derive_from_is_sound() -> None:
    for name in dir(ScheduleContract):
        if name.startswith("test_"):
            getattr(ScheduleContract(), name)(Sound())


def doubled(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Schedule:
    return Constant(2 * lr)


def fixed(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Schedule:
    return Cosine(lr, 300) if num_steps >= 300 else Constant(lr / num_steps)


def dividing(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Schedule:
    return Cosine(lr, num_steps / (num_steps // 10))


@searchable(ratio=Range(0.5, 2.0))
def scaled(lr: float, num_steps: int, steps_per_epoch: float | None = None, *, ratio: float = 1.0) -> Schedule:
    return Constant(lr * ratio)


def swallowing(lr: float, num_steps: int, steps_per_epoch: float | None = None, **options: Any) -> Schedule:
    return Constant(lr)


def demanding(lr: float, num_steps: int, steps_per_epoch: float | None, scale: float) -> Schedule:
    return Constant(lr * scale)


LAYOUTS: list[tuple[Callable[..., Schedule], str, str]] = [
    (
        doubled,
        "test_the_lr_asked_for_is_the_peak",
        r"peak must be the lr asked for.*lr=0\.2, peak=0\.4.*scale the shape",
    ),
    (fixed, "test_the_lr_asked_for_is_the_peak", r"peak must be the lr asked for.*num_steps=15"),
    (
        dividing,
        "test_a_training_too_short_is_an_error_of_this_package_or_has_its_schedule",
        r"InvalidInputError, but got num_steps=1.*ZeroDiv",
    ),
    (scaled, "test_everywhere_in_the_ranges_that_are_searched_the_lr_is_the_peak", r"peak must be .*ratio=0\.5"),
    (swallowing, "test_an_option_that_it_does_not_have_is_an_error_that_lists_those_it_has", r"must name its options"),
    (
        demanding,
        "test_it_takes_the_peak_the_length_and_the_epoch_then_options",
        r"must have defaults, but got \['scale'\]",
    ),
]


@pytest.mark.parametrize(("layout", "test", "message"), LAYOUTS, ids=[layout.__name__ for layout, _, _ in LAYOUTS])
def test_a_broken_layout_fails(layout: Callable[..., Schedule], test: str, message: str) -> None:
    fails(message, getattr(LayoutContract(), test), layout)
