"""The time left, from the steps of late."""

import pytest

from lr_search.executors.display.time_left import TimeLeft


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_before_the_first_report_nothing_is_known(clock: Clock) -> None:
    time_left = TimeLeft(100, clock)
    clock.now += 10
    assert (time_left.pace(), time_left.seconds()) == (None, None)


def test_it_follows_the_pace_since_half_of_the_time(clock: Clock) -> None:
    time_left = TimeLeft(1000, clock)
    for _ in range(4):  # 10 steps a second, for 40 s
        clock.now += 10
        time_left.took(100)
    assert time_left.seconds() == 60
    for _ in range(4):  # 5 a second, until another process leaves the cores
        clock.now += 10
        time_left.took(50)
    assert time_left.pace() == 5
    assert time_left.seconds() == 80  # 400 are left; by the whole average of 7.5 it would be 53
    clock.now += 7
    assert time_left.seconds() == 73


def test_the_beginning_is_forgotten(clock: Clock) -> None:
    time_left = TimeLeft(200, clock)
    clock.now += 100  # loaders start, kernels are compiled
    time_left.took(10)
    for _ in range(11):
        clock.now += 10
        time_left.took(10)
    # by 210 s; of late: since the report at 100 s, 110 steps in 110 s
    assert time_left.seconds() == 80


def test_of_the_first_seconds_all_count(clock: Clock) -> None:
    time_left = TimeLeft(170, clock)
    clock.now += 1
    time_left.took(10)
    clock.now += 3
    time_left.took(60)
    assert time_left.seconds() == pytest.approx(100 / (70 / 4))  # 5 by the latest half alone


def test_what_is_reported_together_counts_as_one(clock: Clock) -> None:
    time_left = TimeLeft(960, clock)
    for _ in range(2):
        clock.now += 10
        for _ in range(24):
            time_left.took(10)
            clock.now += 0.001
    # the whole of the last report, 240 steps, came 10.024 s after the whole of the one before
    assert time_left.pace() == pytest.approx(240 / 10.024)


def test_steps_that_are_spared_count_in_the_pace(clock: Clock) -> None:
    time_left = TimeLeft(1000, clock)
    for _ in range(2):  # of every 100 steps 60 are not taken: the trials diverged
        clock.now += 10
        time_left.took(40)
        time_left.spared(60)
    assert (time_left.taken, time_left.planned) == (80, 880)
    assert time_left.seconds() == 80  # 800 are left, of which as many will be spared


def test_more_steps_than_planned_leave_no_time(clock: Clock) -> None:
    time_left = TimeLeft(10, clock)
    clock.now += 10
    time_left.took(20)
    assert (time_left.planned, time_left.seconds()) == (20, 0)
    time_left.plan(5)
    assert (time_left.planned, time_left.seconds()) == (25, 2.5)
    time_left.spared(7)
    assert time_left.planned == 20


def test_a_clock_that_stands_still_is_no_pace(clock: Clock) -> None:
    time_left = TimeLeft(10, clock)
    time_left.took(2)
    time_left.took(2)
    assert (time_left.pace(), time_left.seconds()) == (None, None)
