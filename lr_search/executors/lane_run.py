"""One trial among several that are trained together: what it is told, and what becomes of it."""

from __future__ import annotations

from lr_search.errors import StorageError, WorkloadError
from lr_search.executors.trial_run import Report, begun, conclude, cut, fail, judged_by, kept_snapshots
from lr_search.fused.lane import Lane, Member
from lr_search.schedules.base import Schedule
from lr_search.studies.trial import Outcome, TrialSpec
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.workload import Workload


def member(workload: Workload, spec: TrialSpec) -> Member:
    """What a trial is among those that are trained with it."""
    assert isinstance(spec.schedule, Schedule)
    return Member(judged_by(workload, spec), spec.schedule, kept_snapshots(workload, spec))


class LaneRun:
    """A trial and its lane, as `TrialRun` is a trial and its training.

    Attributes:
        outcome: what became of it so far.
    """

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.outcome: Outcome = begun(lane.workload)
        self.outcome.worker += f"/{lane.index + 1}"
        self._ended = False

    def tell(self, report: Report, evaluation: Evaluation) -> None:
        """Report an evaluation, and prune if the answer says so; an exception there, as in a pruner, is the trial's failure."""
        self.outcome.evaluations.append(evaluation)
        try:
            if report(evaluation):
                self.prune()
        except (WorkloadError, StorageError):  # the whole comparison's, not this trial's
            raise
        except Exception as error:
            fail(self.outcome, error)
            self._end()

    def prune(self) -> None:
        """End it after its last evaluation."""
        cut(self.outcome)
        self._end()

    def _end(self) -> None:
        self.lane.cut()
        self._ended = True

    def concluded(self) -> Outcome:
        """The whole outcome, of a lane that has stopped."""
        self.outcome.steps, self.outcome.seconds = self.lane.step, self.lane.seconds
        if not self._ended:
            conclude(self.outcome, self.lane)
        return self.outcome
