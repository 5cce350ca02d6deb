"""The trials of all studies of a comparison, as Tune's searcher: it asks the studies, and tells them what became of each."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Checkpoint

from lr_search.evaluation import Evaluation
from lr_search.execution.executor import FailureWatch
from lr_search.execution.study import Job
from lr_search.execution.trial import Outcome
from lr_search.execution.work import Work
from lr_search.progress import Progress
from lr_search_ray.bridge import BridgeSearcher
from lr_search_ray.job_trainable import ASSIGNMENT, CHARGED, EVALUATION, OUTCOME, RAISED, Assignment

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

TRACEBACK = "ray::"  # how the first line begins to name the place of an exception on a worker


@dataclass
class Assigned:
    """A job that Tune runs, or will again.

    Args:
        job: the trial.
        outcome: as far as it is known: the evaluations, and what the last result told.
        checkpoint: the newest, of whichever worker.
        failures: why it was lost or failed so far.
        runs: whether a worker is at it.
        cut: whether the pruner has cut it.
        error: of the last loss, as Ray words it; the first line says when it was.
    """

    job: Job
    outcome: Outcome = field(default_factory=Outcome)
    checkpoint: Checkpoint | None = None
    failures: list[str] = field(default_factory=list)
    runs: bool = False
    cut: bool = False
    error: str = ""

    def assignment(self) -> Assignment:
        """For a worker."""
        plan = self.job.task.plan
        return Assignment.of(self.job.name, plan.optimizer, self.job.spec, self.checkpoint)

    def hear(self, result: Mapping[str, Any]) -> Evaluation | None:
        """Take over what a result tells. Returns: its evaluation."""
        evaluation: Evaluation | None = result.get(EVALUATION)
        known = self.outcome.evaluations
        if OUTCOME in result:
            self.outcome = replace(result[OUTCOME], evaluations=known)
        self.outcome.steps, self.outcome.seconds = result[CHARGED], result["seconds"]
        if evaluation is not None:  # after a loss, what lay behind the checkpoint comes again
            self.outcome.evaluations = [each for each in known if each.step < evaluation.step] + [evaluation]
        return evaluation


class JobSearcher(BridgeSearcher):
    """Proposes the studies' trials. An exception in here does not escape into Tune's loop: it stops the experiment.

    A trial that was lost with its worker, or whose code raised, goes to another from its last checkpoint; after
    `max_failures` of that, or when the same exception comes again, it is recorded as failed.

    Args:
        work: what is left to do.
        progress: is told.
        at_once: how many trials Tune may hold, running or about to.
        max_failures: how often a trial is taken up again.
        deadline: when to stop, by `clock`; None: never.
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._work, self._progress, self._at_once = work, progress, at_once
        self._max_failures, self._deadline, self._clock = max_failures, deadline, clock
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
            evaluation = assigned.hear(result)
            self._progress.evaluated(assigned.job, result["step"])
            assigned.cut = evaluation is not None and assigned.job.report(evaluation)
        except BaseException as error:
            self.stop(error)
        return assigned.cut

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
            assigned.job.release()
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
        return None if job is None else Assigned(job)

    def _end(self, assigned: Assigned, result: Mapping[str, Any] | None) -> None:
        if result is None:
            self._lose(assigned, f"its worker was lost: {_words(assigned.error)}", again=True)
            return
        if RAISED in result:
            raise result[RAISED]
        if assigned.cut:
            step = assigned.outcome.evaluations[-1].step
            assigned.outcome.ended, assigned.outcome.reason = "pruned", f"pruned after step {step}"
        else:
            assigned.hear(result)
        if assigned.outcome.ended == "failed":
            self._lose(assigned, assigned.outcome.reason)
        else:
            self._finish(assigned)

    def _lose(self, assigned: Assigned, reason: str, *, again: bool = False) -> None:
        """Try again, unless it has failed too often; or in the same words as before, and is no matter of luck."""
        same = not again and reason in assigned.failures
        assigned.failures.append(reason)
        if same or len(assigned.failures) > self._max_failures:
            times = len(assigned.failures)
            assigned.outcome.ended = "failed"
            assigned.outcome.reason = reason if not again else f"{reason} ({times} times)" if times > 1 else reason
            self._finish(assigned)
        else:
            self._put_back(assigned)
            assigned.outcome.ended, assigned.outcome.error = "finished", None
            self._lost.append(assigned)

    def _begin(self, assigned: Assigned) -> None:
        if not assigned.runs:
            self._progress.begin(assigned.job)
        assigned.runs = True

    def _put_back(self, assigned: Assigned) -> None:
        if assigned.runs:
            self._progress.put_back(assigned.job)
        assigned.runs = False

    def _finish(self, assigned: Assigned) -> None:
        job = assigned.job
        self._begin(assigned)  # which may have been lost before
        job.finish(assigned.outcome)
        _delete(assigned.checkpoint)
        self._progress.end(job, assigned.outcome)
        self._work.ended(job)
        self._watch.see(assigned.outcome)

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
            assigned.job.beat()

    def release(self) -> int:
        """Put back what has not ended. Returns: how many."""
        left = [*self._assigned.values(), *self._lost]
        self._assigned.clear()
        self._lost.clear()
        for assigned in left:
            try:
                assigned.job.release()
                self._put_back(assigned)
            except Exception as error:  # the storage is away: the others may be luckier
                self.stop(error)
        return len(left)


def _delete(checkpoint: Checkpoint | None) -> None:
    """Of a trial that has ended: each is as large as a model and its optimizer."""
    if checkpoint is not None and checkpoint.filesystem is not None:
        with contextlib.suppress(OSError):
            checkpoint.filesystem.delete_dir(checkpoint.path)


def _words(error: str) -> str:
    """The line that tells most of what Ray says: the first, but the exception's of a traceback."""
    lines = [line.strip().rstrip(".") for line in error.splitlines()[1:] if line.strip()]
    if not lines:
        return "no reason given"
    return lines[-1] if TRACEBACK in lines[0] else lines[0]
