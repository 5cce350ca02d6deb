"""Trials that are trained together from their start: taken from the studies, fused, and reported to the studies."""

from __future__ import annotations

from collections.abc import Sequence

from lr_search.executors.executor import FailureWatch
from lr_search.executors.fused_run import FusedRun, LaneRun, fused_outcomes
from lr_search.executors.fusing import Fusing, why_apart
from lr_search.executors.interrupts import interrupts_held
from lr_search.executors.local import run_job
from lr_search.executors.progress import Progress
from lr_search.executors.time_limits.alarm import TrialTimeoutError
from lr_search.executors.work import Work
from lr_search.fused.width import out_of_memory, release_memory
from lr_search.storage.ownership import Heartbeat
from lr_search.studies.job import Job
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome
from lr_search.workloads.workload import Workload


class Wave:
    """Trials that are trained together from their start.

    Args:
        work: where they are taken from.
        fusing: what is known of their workloads.
        progress: gets a report of what becomes of them.
        watch: stops the comparison where too many fail.

    Attributes:
        jobs: those that were taken and have not ended.
    """

    def __init__(self, work: Work, fusing: Fusing, progress: Progress, watch: FailureWatch) -> None:
        self._work, self._fusing, self._progress, self._watch = work, fusing, progress, watch
        self.jobs: list[Job] = []

    def take(self) -> None:
        """Ask for a trial, and for more that can be trained with it."""
        first = next(iter(self._ask(1)), None)
        if first is None or not self._fusing.can(first.task):
            return
        seed = first.task.plan.seed
        others = self._work.to_run(lambda task: self._fusing.together(first.task, task))
        width = self._fusing.width(first.task, sorted(others, key=lambda task: task.plan.seed != seed))
        for same_seed in (True, False):  # those of one seed share their batches
            self._ask(width - len(self.jobs), like=first.task, same_seed=same_seed)

    def _ask(self, most: int, like: StudyTask | None = None, *, same_seed: bool = False) -> list[Job]:
        def fits(task: StudyTask) -> bool:
            if like is None:
                return True
            return not (same_seed and task.plan.seed != like.plan.seed) and self._fusing.together(like, task)

        with interrupts_held():  # or a trial could be taken and not be known here
            jobs = self._work.several(most, fits)
            self.jobs += jobs
        return jobs

    def train(self) -> None:
        """Train all of them to their ends."""
        with Heartbeat(self._beat):
            self._train(list(self.jobs))

    def _beat(self) -> None:
        for job in list(self.jobs):
            job.beat()

    def _train(self, jobs: list[Job]) -> None:
        if len(jobs) == 1:
            self._alone(jobs[0])
            return
        if jobs[0].spec.range_test is not None:
            self._range_tests(jobs)
            return
        failure = self._together(jobs)
        left = [job for job in jobs if job in self.jobs]
        if failure is not None and left and out_of_memory(failure):
            release_memory(jobs[0].workload.torch_device)
            self._halve(left)
            return
        if failure is not None and left and len(seeds_of(jobs)) > 1 and not isinstance(failure, TrialTimeoutError):
            self._by_seed(left)
            return
        ended = [self._alone(job).ended for job in left]  # what they do cannot be done for several at once
        if failure is not None and "failed" not in ended:  # no fault of one of them
            for workload in {id(job.workload): job.workload for job in jobs}.values():
                self._fusing.refuse(workload, why_apart(failure))

    def _range_tests(self, jobs: list[Job]) -> None:
        """Run range tests in one fused ramp, or one by one where they cannot be fused."""
        for job in jobs:
            self._progress.begin(job)
        outcomes = fused_outcomes(_known(jobs[0]), [job.spec for job in jobs], self._fusing.limits)
        if outcomes is None:
            for job in jobs:
                self._alone(job)
            return
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._conclude(job, outcome)

    def _halve(self, jobs: list[Job]) -> None:
        """Train them again from their starts, half as many at once."""
        half = (len(jobs) + 1) // 2
        self._fusing.narrow(half)
        for part in (jobs[:half], jobs[half:]):
            if part:
                self._train(part)

    def _by_seed(self, jobs: list[Job]) -> None:
        """Train them again from their starts, those of each seed together."""
        for job in jobs:
            self._fusing.keep_seeds_apart(job.workload)
        for seed in seeds_of(jobs):
            self._train([job for job in jobs if job.spec.seed == seed])

    def _together(self, jobs: list[Job]) -> Exception | None:
        """Train them fused. Returns: the exception that ended it before all of them had ended."""
        for job in jobs:
            self._progress.begin(job)
        fused = FusedRun([(_known(job), job.spec) for job in jobs], self._fusing.support, self._fusing.limits)
        try:
            with fused.failures_kept():
                for runs in fused:
                    with jobs[0].task.storage.together():
                        for run in runs:
                            self._report(jobs[run.index], run)
        finally:
            fused.close()
        return fused.failure

    def _report(self, job: Job, run: LaneRun) -> None:
        """Report that a trial was evaluated, or has ended."""
        if run.evaluation is not None:
            self._progress.evaluated(job, run.step)
            run.tell(job.report, run.evaluation)
        if run.over:
            self._conclude(job, run.outcome)

    def _conclude(self, job: Job, outcome: Outcome) -> None:
        job.finish(outcome)
        self._ended(job)
        self._progress.end(job, outcome)
        self._watch.see(outcome)

    def _alone(self, job: Job) -> Outcome:
        outcome = run_job(job, self._progress, self._fusing.limits)
        self._ended(job)
        self._watch.see(outcome)
        return outcome

    def _ended(self, job: Job) -> None:
        self.jobs.remove(job)
        self._work.ended(job)

    def release(self) -> list[str]:
        """Put back what has not ended. Returns: the names."""
        for job in self.jobs:
            job.release()
        return [job.name for job in self.jobs]


def seeds_of(jobs: Sequence[Job]) -> list[int]:
    """The seeds of their trainings, each once."""
    return list(dict.fromkeys(job.spec.seed for job in jobs))


def _known(job: Job) -> Workload:
    """What it trains: nothing else is trained together."""
    assert isinstance(job.workload, Workload)
    return job.workload
