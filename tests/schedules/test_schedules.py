"""Every schedule, under the contract for all: the numbers are torch's own where torch has it, and the papers' where not."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lr_search.schedules
from lr_search.errors import InvalidInputError
from lr_search.schedules import SGDR, Constant, ExpRange, Joined, Schedule, Triangular, Triangular2
from lr_search.testing import ScheduleContract
from tests.helpers.schedule_cases import CASES, USERS, Case
from tests.helpers.schedule_walks import NUM_STEPS

STEPS = np.arange(NUM_STEPS)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def schedule(case: Case) -> Schedule:
    return case.schedule


def test_every_schedule_of_the_package_is_in_this_suite() -> None:
    public = {getattr(lr_search.schedules, name) for name in lr_search.schedules.__all__} - {Schedule}
    classes = {member for member in public if isinstance(member, type) and issubclass(member, Schedule)}
    assert classes | set(USERS) == {type(case.schedule) for case in CASES.values()}


@pytest.mark.parametrize("name", CASES)
class TestOurs(ScheduleContract):
    @pytest.fixture
    def schedule(self, name: str) -> Schedule:
        return CASES[name].schedule


def test_each_step_has_the_lr_of_torch_or_the_paper(case: Case) -> None:
    np.testing.assert_allclose(case.schedule(STEPS), case.lrs(), rtol=1e-9, atol=1e-12)


def test_each_step_has_the_momentum_of_torch_or_none(case: Case) -> None:
    expected = [math.nan] * NUM_STEPS if case.momenta is None else case.momenta()
    np.testing.assert_allclose(case.schedule.momentum(STEPS), expected, rtol=1e-9)


def test_cycles_end_where_they_must(case: Case) -> None:
    assert case.schedule.cycle_ends(NUM_STEPS) == list(case.ends)


def changed(value: Any, by: float) -> list[Any]:
    """Other values in its place, a number by about that share; not every schedule takes all of them."""
    if isinstance(value, tuple):  # what is joined, and where
        return [(*value[:-1], Constant(7.0) if isinstance(value[-1], Schedule) else value[-1] + 1)]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [math.ceil(value * (1 + by))]
    if isinstance(value, float):
        return [value * (1 - by) or by / 10, value * (1 + by), value * (1 - by / 5)]
    return ["amplitude", "bounds", "1-sqrt", "linear", "cos"] if isinstance(value, str) else [0.8]


def others(schedule: Schedule, by: float) -> Iterator[tuple[str, Schedule]]:
    """The schedule with one of its numbers changed; each of them in turn."""
    for field in dataclasses.fields(schedule):
        if not field.compare:
            continue
        value = getattr(schedule, field.name)
        made = []
        for candidate in changed(value, by):
            with contextlib.suppress(InvalidInputError):
                if candidate != value:
                    made.append(dataclasses.replace(schedule, **{field.name: candidate}))
        assert made, field.name
        yield field.name, made[0]


def test_it_equals_none_with_another_number(schedule: Schedule) -> None:
    for name, other in others(schedule, by=1e-6):
        assert other != schedule, name


def test_no_two_schedules_are_equal() -> None:
    for first, second in itertools.combinations(CASES.values(), 2):
        assert first.schedule != second.schedule
    assert Triangular(0.1, 1.0, 5) != Triangular2(0.1, 1.0, 5)
    assert ExpRange(0.1, 1.0, 5, gamma=0.9) != ExpRange(0.1, 1.0, 5, gamma=0.9, decay="bounds")


def test_a_note_is_shown_and_does_not_count_for_equality(schedule: Schedule) -> None:
    if isinstance(schedule, (Constant, Joined, *USERS)):
        assert "note" not in {field.name for field in dataclasses.fields(schedule)}
        return
    noted = dataclasses.replace(schedule, note="laid out for a reason.")
    assert noted == schedule
    assert hash(noted) == hash(schedule)
    assert noted.describe() == f"{schedule.describe()} laid out for a reason."


def test_its_description_holds_its_peak(schedule: Schedule) -> None:
    assert "0.1" in schedule.describe()


def test_another_number_that_changes_an_lr_changes_the_description(schedule: Schedule) -> None:
    for name, other in others(schedule, by=0.4):
        lrs, momenta = other(STEPS) == schedule(STEPS), other.momentum(STEPS) == schedule.momentum(STEPS)
        if not lrs.all() or not (momenta | np.isnan(schedule.momentum(STEPS))).all():
            assert other.describe() != schedule.describe(), name


@pytest.mark.parametrize("cycles", [3, 4, 7, 13])
def test_the_last_of_a_whole_number_of_cycles_ends_with_the_training(cycles: int) -> None:
    for num_steps in range(2 * cycles, 500):
        for schedule in (Triangular(0.1, 1.0, num_steps / (2 * cycles)), SGDR(0.0, 1.0, T_0=num_steps / cycles)):
            ends = schedule.cycle_ends(num_steps)
            assert len(ends) == cycles, (schedule, num_steps)
            assert ends[-1] == num_steps
            assert np.abs(ends - np.arange(1, cycles + 1) * num_steps / cycles).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("cycles", [3, 4, 6, 8])
def test_warm_restarts_are_at_the_top_even_where_their_place_is_rounded(cycles: int) -> None:
    whole = 2**cycles - 1
    for num_steps in range(whole, 2400, 3):
        starts = [num_steps * (2**i - 1) // whole for i in range(cycles) if num_steps * (2**i - 1) % whole == 0]
        schedule = SGDR(0.0, 1.0, T_0=num_steps / whole, T_mult=2)
        np.testing.assert_allclose(schedule(starts), 1.0, atol=1e-9, err_msg=str(num_steps))


def test_stairs_drop_at_the_step_meant_even_where_their_length_is_rounded() -> None:
    for drops, num_steps in itertools.product((2, 5, 8, 9, 13), range(20, 600)):
        stairs = lr_search.schedules.StepDecay(1.0, num_steps / (drops + 1), 0.5)
        expected = 0.5 ** (np.arange(num_steps) * (drops + 1) // num_steps)
        np.testing.assert_array_equal(stairs(np.arange(num_steps)), expected, err_msg=f"{drops} in {num_steps}")
