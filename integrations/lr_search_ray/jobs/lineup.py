"""Which trials Tune runs next, and which it has."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

from lr_search.executors.fusing import alike
from lr_search.executors.work import Work
from lr_search.studies.job import Job
from lr_search.studies.study import StudyTask
from lr_search.workloads.workload import Workload
from lr_search_ray.jobs.tune_trial import TuneTrial


class Lineup:
    """The trials on their way: first those that were lost, then what the studies have, as many together as a worker shall train.

    Args:
        work: what is left to do.
        at_once: how many trials of Tune's own it may hold, running or about to.
        width: how many trials a worker trains together at most, >= 1.
        workers: how many workers there are.

    Attributes:
        held: what Tune has, by its name there.
    """

    def __init__(self, work: Work, at_once: Callable[[], int], width: int, workers: Callable[[], int]) -> None:
        self._work, self._at_once, self._width, self._workers = work, at_once, width, workers
        self._apart: set[str] = set()  # the optimizers whose workloads cannot be fused
        self._lost: deque[TuneTrial] = deque()
        self._freed = False  # a worker, since a trial was last asked for
        self.held: dict[str, TuneTrial] = {}

    def next(self, trial_id: str) -> TuneTrial | None:
        """The next trial, which Tune has under that name from now on; None where there is none at present."""
        trial = self._next()
        if trial is not None:
            self.held[trial_id] = trial
        return trial

    def _next(self) -> TuneTrial | None:
        if len(self.held) >= self._at_once():
            return None
        freed, self._freed = self._freed, False
        if freed and any(not trial.runs for trial in self.held.values()):
            return None  # one waits for the worker that is free now: let it begin first, for to ask a study takes time
        if self._lost:
            return self._lost.popleft()
        job = self._work.next()
        return None if job is None else TuneTrial.of([job, *self._with(job)])

    def _with(self, first: Job) -> list[Job]:
        """More trials that can be trained with it; so many that as many are left for every worker that has none."""
        task = first.task
        if self._width == 1 or not self._fuses(task):
            return []

        def fits(other: StudyTask) -> bool:
            return self._fuses(other) and alike(task, other)

        workers = self._workers()
        free = workers - len(self.held)
        share = math.ceil((1 + len(self._work.to_run(fits))) / (free if free > 0 else workers))
        others: list[Job] = []
        while len(others) + 1 < min(self._width, share):
            job = self._work.next(fits)
            if job is None:
                break
            others.append(job)
        return others

    def _fuses(self, task: StudyTask) -> bool:
        known = isinstance(task.plan.workload, Workload)
        return known and task.plan.scheduled and task.plan.optimizer not in self._apart

    def over(self) -> bool:
        """Whether Tune has none, and the studies will have none either."""
        return not self.held and self._work.over()

    def drop(self, trial_id: str) -> TuneTrial:
        """Forget a trial that Tune does not have any more; a worker is free."""
        self._freed = True
        return self.held.pop(trial_id)

    def again(self, trial: TuneTrial) -> None:
        """Note that a trial is to be run again."""
        self._lost.append(trial)

    def apart(self, jobs: Sequence[Job]) -> None:
        """Run these again from their starts, each by itself."""
        self._split(jobs, 1)

    def halved(self, jobs: Sequence[Job], width: int) -> None:
        """Run these again from their starts, half of that width together, and no more than that from now on."""
        self._width = max(1, width // 2)
        self._split(jobs, self._width)

    def _split(self, jobs: Sequence[Job], size: int) -> None:
        for first in range(0, len(jobs), size):
            self._lost.append(TuneTrial.of(jobs[first : first + size]))

    def refuse(self, optimizers: set[str]) -> None:
        """The workloads with these cannot be fused."""
        self._apart |= optimizers

    def unfinished(self) -> list[TuneTrial]:
        """What Tune has, and what is to be run again."""
        return [*list(self.held.values()), *list(self._lost)]

    def clear(self) -> list[TuneTrial]:
        """Forget what Tune has and what is to be run again. Returns: what is forgotten."""
        unfinished = self.unfinished()
        self.held.clear()
        self._lost.clear()
        return unfinished
