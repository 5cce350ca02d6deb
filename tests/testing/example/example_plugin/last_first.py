"""An executor: one trial at a time, of the last study that has one."""

import time
from collections.abc import Sequence

from lr_search.executors import Executor
from lr_search.executors.executor import FailureWatch
from lr_search.executors.local import run_job
from lr_search.executors.progress import Progress
from lr_search.studies.study import StudyTask


class LastFirst(Executor):
    """One trial at a time, of the last study that has one."""

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        watch = FailureWatch()
        while not all(task.complete() for task in tasks):
            job = next((job for task in reversed(tasks) if (job := task.ask()) is not None), None)
            if job is None:
                time.sleep(0.01)  # another process runs what is left
                continue
            try:
                watch.see(run_job(job, progress))
            except BaseException:
                job.release()
                raise
