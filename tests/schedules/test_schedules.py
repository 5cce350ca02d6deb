"""One contract for every schedule: the numbers are torch's own where torch has the schedule, and the papers' where not."""

import contextlib
import dataclasses
import itertools
import math
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lr_search.schedules
from lr_search.errors import InvalidInputError
from lr_search.schedules import SGDR, Constant, ExpRange, Joined, Schedule, Triangular, Triangular2
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


def test_each_step_has_the_lr_of_torch_or_the_paper(case: Case) -> None:
    np.testing.assert_allclose(case.schedule(STEPS), case.lrs(), rtol=1e-9, atol=1e-12)


def test_each_step_has_the_momentum_of_torch_or_none(case: Case) -> None:
    expected = [math.nan] * NUM_STEPS if case.momenta is None else case.momenta()
    np.testing.assert_allclose(case.schedule.momentum(STEPS), expected, rtol=1e-9)
    for step in range(0, NUM_STEPS, 7):
        momentum = case.schedule.momentum(step)
        if math.isnan(expected[step]):
            assert momentum is None
        else:
            assert type(momentum) is float
            assert momentum == pytest.approx(expected[step], rel=1e-9)


def test_a_number_gives_the_float_that_an_array_gives(schedule: Schedule) -> None:
    for steps in (STEPS, STEPS[:50] + 0.37):
        one_by_one = [schedule(step) for step in steps.tolist()]
        assert all(type(lr) is float for lr in one_by_one)
        np.testing.assert_allclose(schedule(steps), one_by_one, rtol=1e-13, atol=1e-16)


def test_an_array_keeps_its_shape_and_may_be_in_any_order(schedule: Schedule) -> None:
    for method in (schedule, schedule.momentum):
        found = method(STEPS)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(method(STEPS.reshape(4, 60)), found.reshape(4, 60))
        np.testing.assert_array_equal(method(STEPS.reshape(2, 3, 40)), found.reshape(2, 3, 40))
        np.testing.assert_array_equal(method(STEPS[::-1].tolist()), found[::-1])
        assert method(np.empty((0, 3))).shape == (0, 3)


def test_an_lr_is_never_negative_and_never_nan_however_far_on(schedule: Schedule) -> None:
    lrs = schedule(np.array([NUM_STEPS - 1, NUM_STEPS, NUM_STEPS + 0.5, 1000, 123_456, 10**7]))
    assert np.isfinite(lrs).all()
    assert (lrs >= 0).all()


@pytest.mark.parametrize("step", [-1, -1e-9, math.nan, math.inf, [0, -1], np.array([[0.0, math.nan]])])
def test_a_step_that_is_none_is_an_error(schedule: Schedule, step: Any) -> None:
    for method in (schedule, schedule.momentum):
        with pytest.raises(InvalidInputError) as error:
            method(step)
        assert str(error.value) == f"step must be at least 0, and finite, but got step={step!r}."


def test_cycles_end_where_they_must(case: Case) -> None:
    ends = case.schedule.cycle_ends(NUM_STEPS)
    assert ends == list(case.ends)
    assert all(type(end) is int for end in ends)


def test_a_shorter_training_has_the_first_of_the_same_cycles(case: Case) -> None:
    for num_steps in range(1, NUM_STEPS):
        ends = case.schedule.cycle_ends(num_steps)
        assert ends == list(case.ends[: len(ends)])
        missing = case.ends[len(ends) :]
        assert not missing or missing[0] >= num_steps  # a cycle's end is at the nearest step
        assert not ends or ends[-1] <= num_steps


def test_it_survives_pickling(schedule: Schedule) -> None:
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule
    assert hash(copy) == hash(schedule)
    assert copy.describe() == schedule.describe()
    np.testing.assert_array_equal(copy(STEPS), schedule(STEPS))
    np.testing.assert_array_equal(copy.momentum(STEPS), schedule.momentum(STEPS))
    assert copy.cycle_ends(NUM_STEPS) == schedule.cycle_ends(NUM_STEPS)


def test_it_cannot_be_changed(schedule: Schedule) -> None:
    for field in dataclasses.fields(schedule):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(schedule, field.name, getattr(schedule, field.name))


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


def test_it_equals_another_with_the_same_numbers_and_no_other(schedule: Schedule) -> None:
    numbers = {field.name: getattr(schedule, field.name) for field in dataclasses.fields(schedule) if field.compare}
    same = type(schedule)(**numbers)
    assert same == schedule
    assert hash(same) == hash(schedule)
    for name, other in others(schedule, by=1e-6):
        assert other != schedule, name
    assert schedule != numbers


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


def test_its_description_is_one_line_that_holds_its_peak(schedule: Schedule) -> None:
    text = schedule.describe()
    assert "\n" not in text
    assert text == text.strip()
    assert "0.1" in text


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
