"""What is left to do in several studies, in the order in which workers should take it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from lr_search.studies.job import Job
from lr_search.studies.plan import FIRST
from lr_search.studies.study import StudyTask

POLL_SECONDS = 0.5  # between looks at what other processes have done, while nothing can begin here
POLL_SHARE = 1 / 20  # of the time that may go into those looks


class Work:
    """The trials of several studies.

    Range tests, probes and pilots come first, since others wait for them; then studies that run one trial at a time, whose chain of
    trials is the longest way to the end; then the others, which fill the gaps. Among equals the one that has come least far.
    A study that has nothing to run at present is asked again when one of its trials, or of those it waits for, has ended.

    Args:
        tasks: the studies; trials whose process is gone are put back.
        parallel_per_study: how many trials of a study may run side by side whose points depend on results, >= 1.
        clock: seconds.
    """

    def __init__(
        self,
        tasks: Sequence[StudyTask],
        *,
        parallel_per_study: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._awake, self._asleep = list(tasks), list[StudyTask]()
        self._begun = {id(task): 0 for task in tasks}
        self._poll_at = 0.0
        for task in tasks:
            task.parallel = parallel_per_study
            task.sweep()

    def next(self, fits: Callable[[StudyTask], bool] | None = None) -> Job | None:
        """The trial to run next; None where there is none at present.

        Args:
            fits: whether a trial of the study will do; default: any.
        """
        return next(iter(self.several(1, fits)), None)

    def several(self, most: int, fits: Callable[[StudyTask], bool] | None = None) -> list[Job]:
        """Trials that may run side by side, in even shares of the studies that have any; those of a study are taken together.

        Args:
            most: how many, >= 1.
            fits: whether a trial of the study will do; default: any.
        """
        if not self._awake:
            self._poll()
        jobs: list[Job] = []
        while len(jobs) < most and (
            candidates := sorted((task for task in self._awake if fits is None or fits(task)), key=self._order)
        ):
            for place, task in enumerate(candidates):
                share = math.ceil((most - len(jobs)) / (len(candidates) - place))
                taken = task.ask_several(share) if share > 0 else []
                self._begun[id(task)] += len(taken)
                jobs += taken
                if share > 0 and not taken:
                    self._put_to_sleep(task)
                    break  # others may be awake now, which come first
        return jobs

    def _put_to_sleep(self, task: StudyTask) -> None:
        """It has nothing to run at present."""
        self._awake.remove(task)
        if task.complete():
            self._wake_after(task)
        else:
            self._asleep.append(task)

    def to_run(self, fits: Callable[[StudyTask], bool]) -> list[StudyTask]:
        """The studies of about all trials that could begin at once, of the studies that fit: each as often as it has such trials."""
        found: list[StudyTask] = []
        for task in self._awake:
            if task.ready() and fits(task):
                found += [task] * (max(1, task.num_trials() - self._begun[id(task)]) if task.side_by_side else 1)
        return found

    def over(self) -> bool:
        """Whether every study is complete."""
        return not self._awake and not self._asleep

    def ended(self, job: Job) -> None:
        """A trial has ended in its study, or was put back."""
        if job.task in self._asleep:
            self._asleep.remove(job.task)
            self._awake.append(job.task)

    def _order(self, task: StudyTask) -> tuple[bool, bool, int]:
        return task.plan.kind not in (*FIRST, "pilot"), task.side_by_side, self._begun[id(task)]

    def _wake_after(self, first: StudyTask) -> None:
        """Wake the studies that waited for one that is complete now."""
        waited = [task for task in self._asleep if task.waits_for(first)]
        self._asleep = [task for task in self._asleep if task not in waited]
        self._awake += waited

    def _poll(self) -> None:
        """Look at every study again: other processes may have run, or lost, what is missing."""
        now = self._clock()
        if now < self._poll_at:
            return
        for task in self._asleep:
            task.sweep()
        self._awake, self._asleep = self._asleep, []
        taken = self._clock() - now
        self._poll_at = now + taken + max(POLL_SECONDS, taken / POLL_SHARE)
