"""One trial after the other, in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lr_search.evaluation import Evaluation
from lr_search.execution.executor import FailureWatch
from lr_search.execution.interrupts import interrupts_held
from lr_search.execution.ownership import Heartbeat
from lr_search.execution.study import Job, StudyTask
from lr_search.execution.trial import Outcome, run_trial
from lr_search.progress import Progress

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class LocalExecutor:
    """One trial at a time in this process; the same command in other terminals shares the work.

    Goes round the studies, so that all grow alike.
    """

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        """See `Executor`."""
        watch = FailureWatch()
        left = list(tasks)
        for task in left:
            task.sweep()
        while left:
            idle: list[StudyTask] = []
            for task in left:
                job: Job | None = None
                try:
                    with interrupts_held():  # or a trial could be taken and not be known here
                        job = task.ask()
                    if job is None:
                        idle.append(task)
                    else:
                        watch.see(run_job(job, progress))
                except BaseException:
                    if job is not None:
                        job.release()
                    raise
            done = {id(task) for task in idle if task.complete()}
            waiting = len(idle) == len(left) and not done
            left = [task for task in left if id(task) not in done]
            if waiting:  # what is left runs in other processes
                time.sleep(POLL_SECONDS)
                for task in left:
                    task.sweep()


def run_job(job: Job, progress: Progress) -> Outcome:
    """Run one trial to its end and tell its study."""

    def report(evaluation: Evaluation) -> bool:
        progress.evaluated(evaluation)
        return job.report(evaluation)

    progress.begin(job)
    with Heartbeat(job.beat):
        outcome = run_trial(job.workload, job.spec, report)
    job.finish(outcome)
    progress.end(outcome)
    return outcome
