"""The trials of all studies of a comparison, as Tune's searcher: it asks the studies, and tells them what became of each."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lr_search.errors import ClusterError
from lr_search.executors.executor import FailureWatch
from lr_search.executors.outcomes import cut
from lr_search.executors.progress import Progress
from lr_search.executors.work import Work
from lr_search_ray.cluster.versions import of_another_version
from lr_search_ray.jobs.lineup import Lineup
from lr_search_ray.jobs.messages import APART, ASSIGNMENT, HALVED, OVER, RAISED, TOGETHER
from lr_search_ray.jobs.tune_trial import RemoteJob, TuneTrial
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
        progress: where the beginning, the evaluations and the end of each trial are reported.
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
        self._work, self._progress = work, progress
        self._max_failures, self._deadline, self._clock = max_failures, deadline, clock
        self._lineup = Lineup(work, at_once, fused_width, workers or at_once)
        # of the result heard last, by trial of Tune's: which of its jobs the pruner cut
        self._cuts: dict[str, list[int]] = {}
        self._watch = FailureWatch()
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
            ours = self._lineup.next(trial_id)
        except BaseException as error:
            self.stop(error)
            return self.FINISHED
        if ours is None:
            return self.FINISHED if self._lineup.over() else None
        return {ASSIGNMENT: ours.assignment()}

    def started(self, trial_id: str) -> None:
        """A worker has taken the trial up."""
        if trial_id not in self._lineup.held:
            return
        try:
            self._begin(self._lineup.held[trial_id])
        except BaseException as error:
            self.stop(error)

    def heard(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """A result that is not the last. Returns: whether the pruner cuts the trial here."""
        ours = self._lineup.held.get(trial_id)
        if ours is None or self.stopped is not None:
            return False
        try:
            if TOGETHER in result:
                self._cuts[trial_id] = self._hear_together(ours, result)
                return False
            remote = ours.jobs[0]
            evaluation = remote.hear(result)
            self._progress.evaluated(remote.job, result["step"])
            remote.cut = evaluation is not None and remote.job.report(evaluation)
        except BaseException as error:
            self.stop(error)
        return ours.jobs[0].cut

    def answered(self, trial: Trial) -> None:
        """Tell the worker which of several trials the pruner has cut, before Tune tells it to go on."""
        indexes = self._cuts.pop(trial.trial_id, [])
        if indexes and (worker := trial.temporary_state.ray_actor) is not None:
            worker.cut.remote(indexes)

    def _hear_together(self, ours: TuneTrial, result: Mapping[str, Any]) -> list[int]:
        """Take over what a result says of several trials. Returns: which of them the pruner cuts."""
        cuts: list[int] = []
        for index, trial_result in result[TOGETHER]:
            remote = ours.jobs[index]
            evaluation = remote.hear(trial_result)
            self._progress.evaluated(remote.job, trial_result["step"])
            if evaluation is not None and remote.job.report(evaluation):
                cut(remote.outcome)
                cuts.append(index)
            if index in cuts or trial_result.get(OVER):
                self._finish(remote)
        return cuts

    def seen(self, trial: Trial) -> None:
        """What Tune knows of a trial that has ended or failed."""
        ours = self._lineup.held.get(trial.trial_id)
        if ours is not None:
            ours.checkpoint = trial.checkpoint or ours.checkpoint
            # Trial.get_error looks where Tune copies the file only later
            ours.error = Path(trial.error_file).read_text() if trial.error_file else ""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial has ended, was cut, or its worker is lost."""
        if self.over() or trial_id not in self._lineup.held:
            return  # what is left is put back in the end
        ours = self._lineup.drop(trial_id)
        try:
            self._end(ours, None if error else result)
        except BaseException as raised:
            for remote in ours.left:
                remote.job.release()
            self.stop(raised)

    # what follows from them

    def _end(self, ours: TuneTrial, result: Mapping[str, Any] | None) -> None:
        if result is None:
            if message := of_another_version(ours.error):
                raise ClusterError(message)
            self._lose(ours, f"its worker was lost: {_words(ours.error)}", again=True)
            return
        if RAISED in result:
            raise result[RAISED]
        if TOGETHER in result:
            self._end_together(ours, result)
            return
        remote = ours.jobs[0]
        if remote.cut:
            cut(remote.outcome)
        else:
            remote.hear(result)
        if remote.outcome.ended == "failed" and not remote.outcome.out_of_time:
            self._lose(ours, remote.outcome.reason)
        else:
            self._end_of(ours)

    def _end_together(self, ours: TuneTrial, result: Mapping[str, Any]) -> None:
        """Their last result; what has not ended is trained again: in two halves, or each by itself."""
        self._hear_together(ours, result)
        left = [remote.job for remote in ours.left]
        self._put_back(ours)
        if reason := result.get(APART, ""):
            text = f"RayExecutor's fused_width needs {reason}. These trials run one by one; the answers are the same."
            warnings.warn(text, stacklevel=2)
            self._lineup.refuse({job.task.plan.optimizer for job in left})
        if HALVED in result:
            self._lineup.halved(left, len(ours.jobs))
        else:
            self._lineup.apart(left)

    def _lose(self, ours: TuneTrial, reason: str, *, again: bool = False) -> None:
        """Try again, unless it has failed too often; or in the same words as before, and is no matter of luck."""
        same = not again and reason in ours.failures
        ours.failures.append(reason)
        if same or len(ours.failures) > self._max_failures:
            times = len(ours.failures)
            for remote in ours.left:
                remote.outcome.ended = "failed"
                remote.outcome.reason = reason if not again else f"{reason} ({times} times)" if times > 1 else reason
            self._end_of(ours)
        else:
            self._put_back(ours)
            for remote in ours.left:
                remote.outcome.ended, remote.outcome.error = "running", None
            self._lineup.again(ours)

    def _begin(self, ours: TuneTrial) -> None:
        if not ours.runs:
            for remote in ours.left:
                self._progress.begin(remote.job)
        ours.runs = True

    def _put_back(self, ours: TuneTrial) -> None:
        if ours.runs:
            for remote in ours.left:
                self._progress.put_back(remote.job)
        ours.runs = False

    def _end_of(self, ours: TuneTrial) -> None:
        """All that is left of the trial has ended."""
        self._begin(ours)  # which may have been lost before
        for remote in ours.left:
            self._finish(remote)
        ours.delete_checkpoint()

    def _finish(self, remote: RemoteJob) -> None:
        remote.job.finish(remote.outcome)
        remote.over = True
        self._progress.end(remote.job, remote.outcome)
        self._work.ended(remote.job)
        self._watch.see(remote.outcome)

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
        for ours in self._lineup.unfinished():
            for remote in ours.left:
                remote.job.beat()

    def release(self) -> int:
        """Put back what has not ended. Returns: how many."""
        unfinished = self._lineup.clear()
        for ours in unfinished:
            self._put_back(ours)
            for remote in ours.left:
                try:
                    remote.job.release()
                except Exception as error:  # the storage is away: the others may be luckier
                    self.stop(error)
        return sum(len(ours.left) for ours in unfinished)


def _words(error: str) -> str:
    """The line that holds most of what Ray says: the first, but the exception's of a traceback."""
    lines = [line.strip().rstrip(".") for line in error.splitlines()[1:] if line.strip()]
    if not lines:
        return "no reason given"
    return lines[-1] if TRACEBACK in lines[0] else lines[0]
