"""Ends the user's code when it has taken too long, whatever it is at."""

from __future__ import annotations

import ctypes
import gc
import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from types import FrameType, TracebackType
from typing import Any

from lr_search.errors import TimeUpError

REPEAT_SECONDS = 10.0  # after which it rings again: the first time may have come in a finalizer, or been swallowed
MOMENT = 1e-3  # after which it rings again where it came between the block and what is around it
LONGEST_TIMER = 1e8  # seconds; timers take no infinity
_EARLY = 1e-3  # seconds that a timer may ring before its time, by another clock


class TrialTimeoutError(TimeoutError):
    """A trial took longer than it may."""


class Alarm(ABC):
    """Raises `TimeUpError` inside the `with` block, once that has taken so long; what leaves the block is as the words say.

    It is no `Exception`, so that the user's code does not take it for one of its own; where it swallows it even so, it comes again.

    Args:
        seconds: how long the block may take.
        words: of the TrialTimeoutError that leaves the block in its place; "": it leaves the block itself.
    """

    def __init__(self, seconds: float, words: str) -> None:
        self._seconds, self._words = min(seconds, LONGEST_TIMER), words
        self._rang = False

    def __enter__(self) -> None:
        if self._seconds <= 0:
            raise self._error()
        self._set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()
        if self._rang and not isinstance(error, KeyboardInterrupt):
            raise self._error().with_traceback(_without_ring(trace)) from None

    def _error(self) -> BaseException:
        return TrialTimeoutError(self._words) if self._words else TimeUpError()

    @abstractmethod
    def _set(self) -> None:
        """Begin to measure the time."""

    @abstractmethod
    def _put_back(self) -> None:
        """It rings no more."""


class SignalAlarm(Alarm):
    """By SIGALRM, in the main thread: also out of a sleep, a lock or a worker that never answers.

    Not out of a computation in C that does not come back to Python. A timer of the program's own goes on meanwhile: it rings in time,
    for its own handler, and both are there again at the end.
    """

    def _set(self) -> None:
        now, self._over = time.monotonic(), False
        self._due = now + self._seconds
        self._theirs, self._handler = signal.getsignal(signal.SIGALRM), self._ring
        delay, self._every = signal.getitimer(signal.ITIMER_REAL)
        self._their_due = now + delay if delay else math.inf
        self._collecting = False
        gc.callbacks.append(self._collects)
        signal.signal(signal.SIGALRM, self._handler)
        self._wind()

    def _collects(self, phase: str, info: object) -> None:
        """Finalizers run inside the garbage collector, of whatever: a connection to the storage may be closed there."""
        self._collecting = phase == "start"

    def _wind(self) -> None:
        left = min(self._due, self._their_due) - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(left, 1e-6))

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._over:  # it came while the timer was stopped, which must not be wound again; theirs will be
            return
        now = time.monotonic()
        ours, theirs = now >= self._due - _EARLY, now >= self._their_due - _EARLY
        if theirs:
            self._their_due = now + self._every if self._every else math.inf
        own = self._collecting or _in_here(frame)  # the block has not begun, or is over
        if ours:
            self._due = now + (MOMENT if own else REPEAT_SECONDS)
            self._rang = self._rang or not own
        self._wind()
        if theirs and self._theirs is signal.SIG_DFL:  # which ends the program
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGALRM)
        if callable(self._theirs) and (theirs or not ours):
            self._theirs(number, frame)
        if ours and not own:
            raise TimeUpError

    def _put_back(self) -> None:
        gc.callbacks.remove(self._collects)
        if signal.getsignal(signal.SIGALRM) is not self._handler:  # the user's code has put another there
            return
        self._over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._theirs)
        if self._their_due < math.inf:
            signal.setitimer(signal.ITIMER_REAL, max(self._their_due - time.monotonic(), 1e-6), self._every)


class ThreadAlarm(Alarm):
    """From a thread of its own, where no signal comes: other threads than the main one, and Windows.

    It comes when the block next runs a line of Python: between steps and batches, but not while it waits for one.
    """

    def _set(self) -> None:
        self._ident, self._lock, self._over = threading.get_ident(), threading.Lock(), threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        wait = self._seconds
        while not self._over.wait(min(wait, threading.TIMEOUT_MAX)):
            with self._lock:
                if not self._over.is_set():
                    self._rang = True
                    _raise_in(self._ident, TimeUpError)
            wait = REPEAT_SECONDS

    def _put_back(self) -> None:
        try:
            self._end()
        except TimeUpError:  # so late
            self._end()

    def _end(self) -> None:
        with self._lock:
            self._over.set()
            _raise_in(self._ident, None)


def _without_ring(trace: TracebackType | None) -> TracebackType | None:
    """A traceback that ends where the code was, and not with the handler of the signal."""
    at = trace
    while at is not None:
        if at.tb_next is not None and at.tb_next.tb_frame.f_code is SignalAlarm._ring.__code__:
            at.tb_next = None
        at = at.tb_next
    return trace


def _in_here(frame: FrameType | None) -> bool:
    """Whether what a signal has come into is this file, or was called by it."""
    while frame is not None and frame.f_code.co_filename != _in_here.__code__.co_filename:
        frame = frame.f_back
    return frame is not None


def _raise_in(ident: int, error: type[BaseException] | None) -> None:
    """Have a thread raise it when it next runs a line of Python; None: take back what it has not raised yet."""
    raised: Any = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), raised)


def alarm(seconds: float, words: str = "") -> Alarm:
    """The one that can do most in this thread; see `Alarm`."""
    main = threading.current_thread() is threading.main_thread()
    signals = main and hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) is not None
    return (SignalAlarm if signals else ThreadAlarm)(seconds, words)
