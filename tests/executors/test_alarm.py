"""What ends the user's code when it takes too long: out of whatever it waits for, and not behind the block."""

import contextlib
import gc
import itertools
import math
import signal
import threading
import time
from contextlib import suppress

import pytest

from lr_search.errors import InvalidInputError, TimeUpError, error_text, user_code
from lr_search.executors import FusedExecutor, LocalExecutor
from lr_search.executors.time_limits import alarm as alarms
from lr_search.executors.time_limits import limits
from lr_search.executors.time_limits.alarm import SignalAlarm, ThreadAlarm, TrialTimeoutError, alarm
from lr_search.executors.time_limits.limits import TimeLimits, require_time_limits, time_over_text

SOON = 0.05
ALARM = pytest.mark.parametrize("kind", [SignalAlarm, ThreadAlarm])


@pytest.fixture(autouse=True)
def as_it_was():
    """SIGALRM is nobody's again after each test, and its timer is off."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def spin():
    for _ in itertools.count():
        pass


def wait_for_a_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def elsewhere(work):
    """Run it in another thread. Returns: what it raised."""
    raised = []

    def run():
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    return raised


@pytest.mark.parametrize("hangs", [spin, wait_for_a_lock, lambda: time.sleep(100)])
def test_a_signal_ends_whatever_it_is_at(hangs):
    with pytest.raises(TimeUpError), alarm(SOON), user_code:
        hangs()


def test_another_thread_is_ended_between_two_lines():
    def work():
        with alarm(SOON), user_code:
            spin()

    assert [type(error) for error in elsewhere(work)] == [TimeUpError]


@ALARM
def test_words_make_a_failure_of_it_that_names_the_place(kind):
    with pytest.raises(TrialTimeoutError) as found, kind(SOON, "longer than a=1"):
        spin()
    assert error_text(found.value).startswith("TrialTimeoutError: longer than a=1 (test_alarm.py, line ")


@ALARM
def test_what_ends_in_time_ends_as_ever(kind):
    with kind(100, ""):
        pass
    with pytest.raises(ValueError, match="mine"), kind(100, ""):
        raise ValueError("mine")
    with kind(math.inf, ""):
        pass


@ALARM
def test_no_time_at_all(kind):
    with pytest.raises(TimeUpError), kind(0, ""):
        pytest.fail("it began")


@ALARM
def test_who_swallows_it_is_told_at_the_end(kind):
    with pytest.raises(TimeUpError), kind(SOON, ""), suppress(BaseException):
        spin()


@ALARM
def test_who_makes_another_exception_of_it_does_not_get_away_with_it(kind):
    def work():
        try:
            spin()
        except BaseException as error:
            raise ValueError("mine") from error

    with pytest.raises(TimeUpError), kind(SOON, ""), user_code:
        work()


@ALARM
def test_who_swallows_it_and_goes_on_is_ended_the_next_time(kind, monkeypatch):
    monkeypatch.setattr(alarms, "REPEAT_SECONDS", SOON)

    def work():
        with suppress(BaseException):
            spin()
        spin()

    with pytest.raises(TimeUpError), kind(SOON, ""):
        work()


def test_ctrl_c_stays_what_it_is():
    def work():
        try:
            spin()
        except TimeUpError:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt), alarm(6 * SOON):
        work()


def test_the_programs_own_timer_goes_on_meanwhile():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, SOON, SOON)
    try:
        with pytest.raises(TimeUpError), alarm(4.5 * SOON):
            spin()
        within = len(rung)
        assert 0 < within <= 4
        until = time.monotonic() + 10
        while len(rung) < within + 2 and time.monotonic() < until:
            pass
        assert len(rung) == within + 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_one_within_another():
    with pytest.raises(TrialTimeoutError, match="inner"), alarm(100, "outer"), alarm(SOON, "inner"):
        spin()
    with pytest.raises(TrialTimeoutError, match="outer"), alarm(SOON, "outer"), alarm(100, "inner"):
        spin()


def test_a_handler_that_the_users_code_puts_there_stays():
    before = signal.getsignal(signal.SIGALRM)

    def mine(number, frame):
        pass

    with alarm(100):
        signal.signal(signal.SIGALRM, mine)
    try:
        assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_it_does_not_ring_behind_the_block():
    """However near to its end the time is over."""
    caught = 0
    for turn in range(300):
        until = time.monotonic() + 0.00002 * (turn % 40)
        try:
            with alarm(0.0005):
                while time.monotonic() < until:
                    pass
        except TimeUpError:
            caught += 1
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert 0 < caught < 300


class Closing:
    """Held by itself, so that the garbage collector finds it."""

    closed = 0

    def __init__(self):
        self.itself = self

    def __del__(self):
        until = time.monotonic() + 0.002
        while time.monotonic() < until:
            pass
        Closing.closed += 1


@pytest.mark.long
def test_it_does_not_ring_inside_the_garbage_collector():
    made = 0
    with contextlib.suppress(TimeUpError), alarm(0.05):
        while True:
            Closing()
            made += 1
            gc.collect()
    gc.collect()
    assert Closing.closed >= made > 0


# how long everything and each trial may take


def test_a_trial_has_what_is_left_of_both():
    now = 100.0
    both = TimeLimits(60, 5, clock=lambda: now)
    assert (both.left(), both.over()) == (60, False)
    with pytest.raises(TrialTimeoutError, match="longer than trial_seconds=5"), both.watch(5):
        pass
    now = 157.0
    with pytest.raises(TrialTimeoutError, match="longer than trial_seconds=5"), both.watch(4.99):
        spin()
    now = 160.0
    assert both.over()
    with pytest.raises(TimeUpError), both.watch(4):
        pass


def test_what_begins_cold_has_a_minute_at_least(monkeypatch):
    asked = []
    monkeypatch.setattr(limits, "alarm", lambda seconds, words: asked.append((seconds, words)))
    TimeLimits(1e4, 50, clock=lambda: 0).watch_first(3)
    TimeLimits(1e4, 5e3, clock=lambda: 0).watch_first(3)
    TimeLimits(1, clock=lambda: 0).watch_first()
    TimeLimits(trial_seconds=1, clock=lambda: 0).watch_first()
    assert [seconds for seconds, _ in asked] == [150, 1e4, 60, 60]
    assert asked[0][1] == "longer than 150 s"


def test_without_limits_nothing_is_touched(monkeypatch):
    monkeypatch.setattr(signal, "signal", None)
    none = TimeLimits()
    with none.watch(1e12), none.watch_first(3):
        assert not none.over()


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_time_that_is_not_positive_is_refused(seconds):
    with pytest.raises(InvalidInputError, match="trial_seconds must be a positive number of seconds, or None, but got"):
        require_time_limits(time_budget_seconds=None, trial_seconds=seconds)


@pytest.mark.parametrize("seconds", [math.nan, True, "5"])
@pytest.mark.parametrize("executor", [LocalExecutor, FusedExecutor])
def test_what_is_no_time_is_refused(executor, seconds):
    with pytest.raises(InvalidInputError, match=f"^trial_seconds must be a number or None, but got {seconds!r}"):
        executor(trial_seconds=seconds)


def test_the_words_at_the_end():
    assert time_over_text(60, 2).endswith("60 s is over; 2 trials were put back. The same call goes on with them.")
    assert time_over_text(0.5, 1).endswith("0.5 s is over; 1 trial was put back. The same call goes on with it.")
    assert time_over_text(60, 0).endswith("0 trials were put back. The same call goes on with what is left.")
