"""What an executor is: it drains a list of studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from lr_search.errors import TrialsFailedError, require
from lr_search.executors.progress import Progress
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome
from lr_search.workloads.workload import Workload

FAILURES_IN_A_ROW = 3


class Executor(Protocol):
    """Runs the trials of studies. It changes how fast they run, not what they give.

    It may have two more methods. `session(workloads)`: a context manager entered before any study is made; what it yields runs the
    trials. `train(workload, spec)`: a whole `Training`, for its weights.
    """

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        """Run trials until every study is complete.

        Raises:
            TrialsFailedError: three trials in a row ended with an exception in the user's code.
            KeyboardInterrupt: on Ctrl-C, after the trials that ran were put back.
        """


def session(executor: Executor, workloads: Mapping[str, Workload]) -> AbstractContextManager[Executor]:
    """The executor, ready to run these workloads, by the names of their optimizers."""
    prepared: Callable[..., AbstractContextManager[Executor]] | None = getattr(executor, "session", None)
    return nullcontext(executor) if prepared is None else prepared(workloads)


def require_parallel(parallel_per_study: object) -> None:
    """Raises: InvalidInputError: it is no whole number from 1 on."""
    good = isinstance(parallel_per_study, int) and parallel_per_study >= 1
    require(good, "parallel_per_study must be a whole number, at least 1", parallel_per_study=parallel_per_study)


class FailureWatch:
    """Stops a comparison whose trials fail one after the other."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def see(self, outcome: Outcome) -> None:
        """Take note of a trial's end. Raises: TrialsFailedError: it was the third failure in a row."""
        self._in_a_row = self._in_a_row + 1 if outcome.ended == "failed" else 0
        if self._in_a_row >= FAILURES_IN_A_ROW:
            raise TrialsFailedError(
                f"{FAILURES_IN_A_ROW} trials in a row failed, the last with {outcome.reason}. "
                "Their tracebacks are kept in the report. Mend the cause, then start over with fresh=True (--fresh), "
                "or run the same command again to go on with the trials that are left."
            )
