"""One trial after the other, in this process."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lr_search.executors.executor import FailureWatch, require_parallel
from lr_search.executors.interrupts import interrupts_held
from lr_search.executors.progress import Progress
from lr_search.executors.solo_runs import run_trial
from lr_search.executors.time_limits.limited_executor import LimitedExecutor
from lr_search.executors.time_limits.limits import NO_LIMITS, TimeLimits, require_time_limits
from lr_search.executors.work import POLL_SECONDS, Work
from lr_search.kinds.checked import checked
from lr_search.storage.ownership import Heartbeat
from lr_search.studies.job import Job
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation


@checked
@dataclass(frozen=True)
class LocalExecutor(LimitedExecutor):
    """One trial at a time in this process; the same command in other terminals shares the work.

    Range tests come first, then all studies grow alike.

    Args:
        parallel_per_study: how many trials of a study may run side by side, in as many terminals, whose points depend on
            results, >= 1. More than 1 is faster, and what such a study finds then depends on which trial ends first.
        time_budget_seconds: stop after that; what has not ended is put back, and the same call goes on with it. None: no limit.
        trial_seconds: a trial, a range test too, that has trained and evaluated longer than that is failed; None: no limit. Both
            end the user's code wherever it hangs in Python, a sleep, a lock or a loader's worker, in the main thread of Linux and macOS;
            in another thread and on Windows between two lines of Python only, as between batches.

    Raises:
        InvalidInputError: an argument breaks a rule.
    """

    parallel_per_study: int = 1
    time_budget_seconds: float | None = None
    trial_seconds: float | None = None

    def __post_init__(self) -> None:
        require_parallel(self.parallel_per_study)
        require_time_limits(time_budget_seconds=self.time_budget_seconds, trial_seconds=self.trial_seconds)

    def _drain(self, work: Work, progress: Progress, limits: TimeLimits, put_back: list[str]) -> None:
        watch = FailureWatch()
        while not work.over() and not limits.over():
            job: Job | None = None
            try:
                with interrupts_held():  # or a trial could be taken and not be known here
                    job = work.next()
                if job is not None:
                    watch.see(run_job(job, progress, limits))
                    work.ended(job)
                elif not work.over():
                    time.sleep(POLL_SECONDS)
            except BaseException:
                if job is not None:
                    job.release()
                    put_back.append(job.name)
                raise


def run_job(job: Job, progress: Progress, limits: TimeLimits = NO_LIMITS) -> Outcome:
    """Run one trial to its end and report that to its study."""

    def report(evaluation: Evaluation) -> bool:
        progress.evaluated(job, evaluation.step)
        return job.report(evaluation)

    progress.begin(job)
    with Heartbeat(job.beat):
        outcome = run_trial(job.workload, job.spec, report, limits)
    job.finish(outcome)
    progress.end(job, outcome)
    return outcome
