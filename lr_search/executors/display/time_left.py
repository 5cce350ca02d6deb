"""How long the rest of a comparison will take, by the pace of late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

TOGETHER_SECONDS = (
    0.1  # what is reported within it counts as one: trials that are trained together are evaluated together
)
OF_LATE, LEAST_SECONDS = 0.5, 5  # the latest half of the time that has passed, but at least so long


class TimeLeft:
    """Steps to take, those taken, and the seconds that the rest will take.

    left = (planned - taken) / pace - seconds since the last report,   pace = steps reported in the latest half of the time / their seconds

    Steps that are not needed any more, of a training that diverged, count in the pace as if they had been taken: those to come
    may diverge as well.

    Args:
        planned: steps to take.
        clock: seconds.

    Attributes:
        planned: steps to take in all, taken ones included.
        taken: steps that were taken.

    >>> times = iter([0, 10, 20, 25])
    >>> time_left = TimeLeft(100, lambda: next(times))
    >>> time_left.took(10)  # by 10 s: a step a second
    >>> time_left.took(20)  # by 20 s: two a second since half of the time
    >>> time_left.seconds()  # 70 steps from 20 s on, of which 5 s have passed
    30.0
    """

    def __init__(self, planned: int, clock: Callable[[], float]) -> None:
        self.planned, self.taken = planned, 0
        self._clock, self._worked = clock, 0
        self._begun = clock()
        self._marks = deque([(self._begun, 0)])  # seconds, and steps reported by then

    def took(self, steps: int) -> None:
        """So many steps were taken; more than were planned are planned from now on."""
        self.taken += steps
        self.planned = max(self.planned, self.taken)
        self._work(steps)

    def spared(self, steps: int) -> None:
        """So many steps of the plan will not be taken."""
        steps = min(steps, self.planned - self.taken)
        self.planned -= steps
        self._work(steps)

    def plan(self, steps: int) -> None:
        """So many are left to take, whatever was planned before."""
        self.planned = self.taken + steps

    def _work(self, steps: int) -> None:
        if not steps:
            return
        self._worked += steps
        now, marks = self._clock(), self._marks
        if len(marks) > 1 and now - marks[-1][0] < TOGETHER_SECONDS:
            marks[-1] = marks[-1][0], self._worked
            return
        marks.append((now, self._worked))
        since = now - max(OF_LATE * (now - self._begun), LEAST_SECONDS)
        while len(marks) > 2 and marks[1][0] <= since:
            marks.popleft()

    def pace(self) -> float | None:
        """Steps a second of late; None before any was taken."""
        (first, before), (last, by_then) = self._marks[0], self._marks[-1]
        return (by_then - before) / (last - first) if last > first else None

    def seconds(self) -> float | None:
        """Until the end; None before any step was taken."""
        pace = self.pace()
        if pace is None:
            return None
        since_last = self._clock() - self._marks[-1][0]
        return max(0.0, (self.planned - self.taken) / pace - since_last)
