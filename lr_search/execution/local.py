"""One trial after the other, in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lr_search.execution.executor import FailureWatch
from lr_search.execution.ownership import Heartbeat
from lr_search.execution.study import Job, StudyTask
from lr_search.execution.trial import Outcome, run_trial
from lr_search.progress import Progress

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class LocalExecutor:
    """Runs one trial at a time in this process, going round the studies, so that all grow alike.

    Start the same command in other terminals to share the work: each takes trials the others have not.
    """

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        """See `Executor`."""
        watch = FailureWatch()
        left = list(tasks)
        for task in left:
            task.sweep()
        while left:
            ran = 0
            for task in left:
                job = task.ask()
                if job is not None:
                    watch.see(run_job(job, progress))
                    ran += 1
            left = [task for task in left if not task.complete()]
            if left and not ran:  # what is left runs in other processes
                time.sleep(POLL_SECONDS)
                for task in left:
                    task.sweep()


def run_job(job: Job, progress: Progress) -> Outcome:
    """Run one trial to its end; if it is interrupted, put it back."""
    progress.begin(job)
    try:
        with Heartbeat(job.beat):
            outcome = run_trial(job.workload, job.spec, lambda e: (progress.evaluated(e), job.report(e))[1])
        job.finish(outcome)
    except BaseException:
        job.release()
        raise
    progress.end(outcome)
    return outcome
