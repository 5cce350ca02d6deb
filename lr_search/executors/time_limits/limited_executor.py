"""An executor in this process whose comparisons and trials may take so long."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from lr_search.errors import TimeUpError
from lr_search.executors.display.logger import LOGGER
from lr_search.executors.executor import Executor
from lr_search.executors.progress import Progress
from lr_search.executors.time_limits.limits import TimeLimits, time_over_text
from lr_search.executors.work import Work
from lr_search.kinds.checked import checked
from lr_search.studies.study import StudyTask
from lr_search.workloads.subject import Subject


@checked
class LimitedExecutor(Executor):
    """One that says how trials are run, as long as there is time; this says how that ends.

    Attributes:
        parallel_per_study: how many trials of a study may run side by side whose points depend on results.
        time_budget_seconds: for a whole comparison, or None.
        trial_seconds: for each trial, or None.
    """

    parallel_per_study: int
    time_budget_seconds: float | None
    trial_seconds: float | None
    _limits: TimeLimits | None = None  # of the session, from its beginning on

    def time_limits(self) -> TimeLimits:
        """See `Executor`."""
        return TimeLimits(self.time_budget_seconds, self.trial_seconds)

    def session(self, workloads: Mapping[str, Subject]) -> AbstractContextManager[Executor]:
        """See `Executor`."""
        begun = copy.copy(self)
        object.__setattr__(begun, "_limits", self.time_limits())
        return nullcontext(begun)

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        """See `Executor`."""
        limits = self._limits or self.time_limits()
        work, put_back = Work(tasks, parallel_per_study=self.parallel_per_study), list[str]()
        try:
            self._drain(work, progress, limits, put_back)
        except TimeUpError:
            if not limits.over():  # another's
                raise
        if not work.over():
            LOGGER.warning(time_over_text(self.time_budget_seconds, len(put_back)))

    @abstractmethod
    def _drain(self, work: Work, progress: Progress, limits: TimeLimits, put_back: list[str]) -> None:
        """Run trials until no work is left, or the time is over; `put_back`: takes the names of those that were at it then."""
