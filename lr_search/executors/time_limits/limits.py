"""How long a comparison and each of its trials may take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from lr_search.errors import require
from lr_search.executors.time_limits.alarm import alarm
from lr_search.executors.time_limits.torch_modes import Watch

FIRST_SECONDS = 60.0  # that what tries a workload out may take in any case


@dataclass(frozen=True)
class TimeLimits:
    """From now on, in seconds of wall time.

    Only the user's code is ended by them, never what reads or writes the storage.

    Args:
        time_budget_seconds: for everything together, > 0; None: no limit.
        trial_seconds: for each trial, > 0; None: no limit.
        clock: seconds.
    """

    time_budget_seconds: float | None = None
    trial_seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "begun", self.clock())

    def left(self) -> float:
        """Of the time budget."""
        return math.inf if self.time_budget_seconds is None else self.begun + self.time_budget_seconds - self.clock()

    def over(self) -> bool:
        """Whether the time budget is."""
        return self.left() <= 0

    def watch(self, spent: float = 0.0) -> AbstractContextManager[None]:
        """Ends a trial's own code inside the block, where it takes too long.

        Args:
            spent: seconds that the trial has taken before.

        Raises:
            TrialTimeoutError: the trial has taken longer than it may.
            TimeUpError: the time budget is over.
        """
        trial, budget = self._of_trial(1) - spent, self.left()
        if trial <= budget < math.inf or trial < math.inf == budget:
            return Watch(alarm(trial, f"longer than trial_seconds={self.trial_seconds:g}"))
        return nullcontext() if budget == math.inf else Watch(alarm(budget))

    def watch_first(self, trials: int = 1) -> AbstractContextManager[None]:
        """Ends what tries the workload out, where that takes longer than trials may, but FIRST_SECONDS at least: it begins cold.

        Args:
            trials: for how many it is tried.

        Raises:
            TrialTimeoutError: it has taken longer.
        """
        seconds = min(self._of_trial(trials), self.left())
        if seconds == math.inf:
            return nullcontext()
        seconds = max(seconds, FIRST_SECONDS)
        return Watch(alarm(seconds, f"longer than {seconds:g} s"))

    def _of_trial(self, trials: int) -> float:
        return math.inf if self.trial_seconds is None else self.trial_seconds * trials


NO_LIMITS = TimeLimits()


def require_time_limits(**seconds: float | None) -> None:
    """Raises: InvalidInputError: one of these options is not positive."""
    for name, value in seconds.items():
        require(value is None or value > 0, f"{name} must be a positive number of seconds, or None", got=value)


def time_over_text(time_budget_seconds: float | None, left: int) -> str:
    """What is said at the end of the time budget; `left`: how many trials were put back."""
    put_back = "1 trial was put back" if left == 1 else f"{left} trials were put back"
    with_what = {0: "what is left", 1: "it"}.get(left, "them")
    return f"The time budget of {time_budget_seconds:g} s is over; {put_back}. The same call goes on with {with_what}."
