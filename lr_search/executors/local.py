"""One trial after the other, in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lr_search.executors.executor import Executor, FailureWatch, require_parallel
from lr_search.executors.interrupts import interrupts_held
from lr_search.executors.progress import Progress
from lr_search.executors.trial_run import run_trial
from lr_search.executors.work import POLL_SECONDS, Work
from lr_search.kinds.checked import checked
from lr_search.storage.ownership import Heartbeat
from lr_search.studies.job import Job
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation


@checked
@dataclass(frozen=True)
class LocalExecutor(Executor):
    """One trial at a time in this process; the same command in other terminals shares the work.

    Range tests come first, then all studies grow alike.

    Args:
        parallel_per_study: how many trials of a study may run side by side, in as many terminals, whose points depend on
            results, >= 1. More than 1 is faster, and what such a study finds then depends on which trial ends first.

    Raises:
        InvalidInputError: parallel_per_study is no whole number from 1 on.
    """

    parallel_per_study: int = 1

    def __post_init__(self) -> None:
        require_parallel(self.parallel_per_study)

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        """See `Executor`."""
        watch, work = FailureWatch(), Work(tasks, parallel_per_study=self.parallel_per_study)
        while not work.over():
            job: Job | None = None
            try:
                with interrupts_held():  # or a trial could be taken and not be known here
                    job = work.next()
                if job is not None:
                    watch.see(run_job(job, progress))
                    work.ended(job)
                elif not work.over():
                    time.sleep(POLL_SECONDS)
            except BaseException:
                if job is not None:
                    job.release()
                raise


def run_job(job: Job, progress: Progress) -> Outcome:
    """Run one trial to its end and report that to its study."""

    def report(evaluation: Evaluation) -> bool:
        progress.evaluated(job, evaluation.step)
        return job.report(evaluation)

    progress.begin(job)
    with Heartbeat(job.beat):
        outcome = run_trial(job.workload, job.spec, report)
    job.finish(outcome)
    progress.end(job, outcome)
    return outcome
