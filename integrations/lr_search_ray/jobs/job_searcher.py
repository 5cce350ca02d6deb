"""The trials of all studies of a comparison, as Tune's searcher: it asks the studies, and tells them what became of each."""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lr_search.executors.executor import FailureWatch
from lr_search.executors.fusing import alike
from lr_search.executors.progress import Progress
from lr_search.executors.trial_run import cut
from lr_search.executors.work import Work
from lr_search.studies.study import Job, StudyTask
from lr_search_ray.jobs.messages import APART, ASSIGNMENT, HALVED, RAISED, TOGETHER
from lr_search_ray.jobs.tune_trial import Assigned, Part
from lr_search_ray.tune.bridge import BridgeSearcher

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

TRACEBACK = "ray::"  # how the first line begins to name the place of an exception on a worker


class JobSearcher(BridgeSearcher):
    """Proposes the studies' trials. An exception in here does not escape into Tune's loop: it stops the experiment.

    A trial that was lost with its worker, or whose code raised, goes to another from its last checkpoint; after
    `max_failures` of that, or when the same exception comes again, it is recorded as failed. Trials that are trained together and
    are lost begin again, together.

    Args:
        work: what is left to do.
        progress: is told.
        at_once: how many trials of Tune's own it may hold, running or about to.
        max_failures: how often a trial is taken up again.
        deadline: when to stop, by `clock`; None: never.
        fused_width: how many trials a worker trains together at most, >= 1.
        workers: how many workers there are; default: `at_once`.
        clock: seconds.
    """

    def __init__(
        self,
        work: Work,
        progress: Progress,
        at_once: Callable[[], int],
        *,
        max_failures: int,
        deadline: float | None = None,
        fused_width: int = 1,
        workers: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._work, self._progress, self._at_once = work, progress, at_once
        self._max_failures, self._deadline, self._clock = max_failures, deadline, clock
        self._width, self._workers = fused_width, workers or at_once
        self._apart: set[str] = set()  # the optimizers whose workloads cannot be fused
        self._cuts: dict[
            str, list[int]
        ] = {}  # of the result heard last, by trial of Tune's: which parts the pruner cut
        self._watch = FailureWatch()
        self._assigned: dict[str, Assigned] = {}
        self._lost: deque[Assigned] = deque()
        self._freed = False  # a worker, since a trial was last asked for
        self.stopped: BaseException | None = None
        self.out_of_time = False

    def __deepcopy__(self, memo: Any) -> JobSearcher:
        return self

    # Tune's hooks

    def suggest(self, trial_id: str) -> Any:
        """The next trial of any study; None where there is none at present."""
        if self.over():
            return self.FINISHED
        try:
            assigned = self._next()
        except BaseException as error:
            self.stop(error)
            return self.FINISHED
        if assigned is None:
            return self.FINISHED if not self._assigned and self._work.over() else None
        self._assigned[trial_id] = assigned
        return {ASSIGNMENT: assigned.assignment()}

    def started(self, trial_id: str) -> None:
        """A worker has taken it up."""
        if trial_id not in self._assigned:
            return
        try:
            self._begin(self._assigned[trial_id])
        except BaseException as error:
            self.stop(error)

    def heard(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """A result that is not the last. Returns: whether the pruner cuts the trial here."""
        assigned = self._assigned.get(trial_id)
        if assigned is None or self.stopped is not None:
            return False
        try:
            if TOGETHER in result:
                self._cuts[trial_id] = self._hear_together(assigned, result)
                return False
            part = assigned.parts[0]
            evaluation = part.hear(result)
            self._progress.evaluated(part.job, result["step"])
            part.cut = evaluation is not None and part.job.report(evaluation)
        except BaseException as error:
            self.stop(error)
        return assigned.parts[0].cut

    def answered(self, trial: Trial) -> None:
        """Tell the worker which of several trials the pruner has cut, before Tune tells it to go on."""
        indexes = self._cuts.pop(trial.trial_id, [])
        if indexes and (worker := trial.temporary_state.ray_actor) is not None:
            worker.cut.remote(indexes)

    def _hear_together(self, assigned: Assigned, result: Mapping[str, Any]) -> list[int]:
        """Take over what a result tells of several trials. Returns: which of them the pruner cuts."""
        cuts: list[int] = []
        for index, told in result[TOGETHER]:
            part = assigned.parts[index]
            evaluation = part.hear(told)
            self._progress.evaluated(part.job, told["step"])
            if evaluation is not None and part.job.report(evaluation):
                cut(part.outcome)
                cuts.append(index)
            if index in cuts or "over" in told:
                self._finish(part)
        return cuts

    def seen(self, trial: Trial) -> None:
        """What Tune knows of a trial that has ended or failed."""
        assigned = self._assigned.get(trial.trial_id)
        if assigned is not None:
            assigned.checkpoint = trial.checkpoint or assigned.checkpoint
            # Trial.get_error looks where Tune copies the file only later
            assigned.error = Path(trial.error_file).read_text() if trial.error_file else ""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial has ended, was cut, or its worker is lost."""
        if self.over() or trial_id not in self._assigned:
            return  # what is left is put back in the end
        assigned = self._assigned.pop(trial_id)
        self._freed = True
        try:
            self._end(assigned, None if error else result)
        except BaseException as raised:
            for part in assigned.left:
                part.job.release()
            self.stop(raised)

    # what follows from them

    def _next(self) -> Assigned | None:
        if len(self._assigned) >= self._at_once():
            return None
        freed, self._freed = self._freed, False
        if freed and any(not each.runs for each in self._assigned.values()):
            return None  # one waits for the worker that is free now: let it begin first, for to ask a study takes time
        if self._lost:
            return self._lost.popleft()
        job = self._work.next()
        return None if job is None else Assigned.of([job, *self._with(job)])

    def _with(self, first: Job) -> list[Job]:
        """More trials that can be trained with it; so many that as many are left for every worker that has none."""
        task = first.task
        if self._width == 1 or not self._fuses(task):
            return []

        def fits(other: StudyTask) -> bool:
            return self._fuses(other) and alike(task, other)

        workers = self._workers()
        free = workers - len(self._assigned)
        share = math.ceil((1 + self._work.to_run(fits)) / (free if free > 0 else workers))
        found: list[Job] = []
        while len(found) + 1 < min(self._width, share):
            job = self._work.next(fits)
            if job is None:
                break
            found.append(job)
        return found

    def _fuses(self, task: StudyTask) -> bool:
        return task.plan.scheduled and task.plan.optimizer not in self._apart

    def _end(self, assigned: Assigned, result: Mapping[str, Any] | None) -> None:
        if result is None:
            self._lose(assigned, f"its worker was lost: {_words(assigned.error)}", again=True)
            return
        if RAISED in result:
            raise result[RAISED]
        if TOGETHER in result:
            self._end_together(assigned, result)
            return
        part = assigned.parts[0]
        if part.cut:
            cut(part.outcome)
        else:
            part.hear(result)
        if part.outcome.ended == "failed":
            self._lose(assigned, part.outcome.reason)
        else:
            self._end_of(assigned)

    def _end_together(self, assigned: Assigned, result: Mapping[str, Any]) -> None:
        """Their last result; what has not ended is trained again: in two halves, or each by itself."""
        self._hear_together(assigned, result)
        left = assigned.left
        self._put_back(assigned)
        if reason := result.get(APART, ""):
            told = f"RayExecutor's fused_width needs {reason}. These trials run one by one; the answers are the same."
            warnings.warn(told, stacklevel=2)
            self._apart |= {part.job.task.plan.optimizer for part in left}
        size = 1
        if HALVED in result:
            size = self._width = max(1, len(assigned.parts) // 2)
        for begin in range(0, len(left), size):
            self._lost.append(Assigned.of([part.job for part in left[begin : begin + size]]))

    def _lose(self, assigned: Assigned, reason: str, *, again: bool = False) -> None:
        """Try again, unless it has failed too often; or in the same words as before, and is no matter of luck."""
        same = not again and reason in assigned.failures
        assigned.failures.append(reason)
        if same or len(assigned.failures) > self._max_failures:
            times = len(assigned.failures)
            for part in assigned.left:
                part.outcome.ended = "failed"
                part.outcome.reason = reason if not again else f"{reason} ({times} times)" if times > 1 else reason
            self._end_of(assigned)
        else:
            self._put_back(assigned)
            for part in assigned.left:
                part.outcome.ended, part.outcome.error = "finished", None
            self._lost.append(assigned)

    def _begin(self, assigned: Assigned) -> None:
        if not assigned.runs:
            for part in assigned.left:
                self._progress.begin(part.job)
        assigned.runs = True

    def _put_back(self, assigned: Assigned) -> None:
        if assigned.runs:
            for part in assigned.left:
                self._progress.put_back(part.job)
        assigned.runs = False

    def _end_of(self, assigned: Assigned) -> None:
        """All that is left of it has ended."""
        self._begin(assigned)  # which may have been lost before
        for part in assigned.left:
            self._finish(part)
        assigned.delete_checkpoint()

    def _finish(self, part: Part) -> None:
        part.job.finish(part.outcome)
        part.over = True
        self._progress.end(part.job, part.outcome)
        self._work.ended(part.job)
        self._watch.see(part.outcome)

    # the end

    def over(self) -> bool:
        """Whether nothing more shall run."""
        if self._deadline is not None and self._clock() >= self._deadline:
            self.out_of_time = True
        return self.stopped is not None or self.out_of_time

    def stop(self, error: BaseException) -> None:
        """End the experiment; the first error counts."""
        self.stopped = self.stopped or error

    def beat(self) -> None:
        """A sign of life for every trial that this process holds; called from another thread."""
        for assigned in [*list(self._assigned.values()), *list(self._lost)]:
            for part in assigned.left:
                part.job.beat()

    def release(self) -> int:
        """Put back what has not ended. Returns: how many."""
        left = [*self._assigned.values(), *self._lost]
        self._assigned.clear()
        self._lost.clear()
        for assigned in left:
            self._put_back(assigned)
            for part in assigned.left:
                try:
                    part.job.release()
                except Exception as error:  # the storage is away: the others may be luckier
                    self.stop(error)
        return sum(len(assigned.left) for assigned in left)


def _words(error: str) -> str:
    """The line that tells most of what Ray says: the first, but the exception's of a traceback."""
    lines = [line.strip().rstrip(".") for line in error.splitlines()[1:] if line.strip()]
    if not lines:
        return "no reason given"
    return lines[-1] if TRACEBACK in lines[0] else lines[0]
