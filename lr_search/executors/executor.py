"""What an executor is: it drains a list of studies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self

from lr_search.errors import TrialsFailedError, require
from lr_search.executors.first_pace import FirstPace, pace_alone
from lr_search.executors.progress import Progress
from lr_search.executors.time_limits.limits import NO_LIMITS, TimeLimits
from lr_search.executors.trial_run import training_of
from lr_search.kinds.checked import checked
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome, TrialSpec
from lr_search.training.training import Training
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload

FAILURES_IN_A_ROW = 3


@checked
class Executor(ABC):
    """Runs the trials of studies. It changes how fast they run, not what they give.

    A class of your own says how to `run`; the other methods have defaults for trials that run in this process.

    Attributes:
        OPTIONS: names that `of_options` takes beside the constructor's arguments.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ()
    kind_remedy: ClassVar[str] = (
        "Such as lrs.LocalExecutor(); a class of your own inherits lr_search.executors.Executor."
    )

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> Self:
        """A new one from the command line's words, by name."""
        return cls(**options)

    def session(self, workloads: Mapping[str, Subject]) -> AbstractContextManager[Executor]:
        """Entered before any study is made; what it yields runs the trials.

        Args:
            workloads: what will be trained, by the names of the optimizers.
        """
        return nullcontext(self)

    def time_limits(self) -> TimeLimits:
        """How long a comparison and each trial may take, if that begins now; what tries the workload out keeps to them too."""
        return NO_LIMITS

    def first_pace(self, workload: Subject, seeds: Sequence[int], trials: int) -> FirstPace | None:
        """How fast it will run trials, measured on a few steps; None where these raise an exception.

        Args:
            workload: what is trained.
            seeds: of the trials.
            trials: how many there are, >= 0.
        """
        return pace_alone(workload)

    @abstractmethod
    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        """Run trials until every study is complete.

        In one session it may be called up to three times: with the range tests that say where all search, with all studies, and with
        the trainings that confirm.

        Raises:
            TrialsFailedError: three trials in a row ended with an exception in the user's code.
            KeyboardInterrupt: on Ctrl-C, after the trials that ran were put back.
        """

    def train(self, workload: Workload, spec: TrialSpec) -> Training:
        """A whole training, for its weights."""
        training = training_of(workload, spec)
        for _ in training:
            pass
        return training


def require_parallel(parallel_per_study: int) -> None:
    """Raises: InvalidInputError: it is below 1."""
    good = parallel_per_study >= 1
    require(good, "parallel_per_study must be at least 1", parallel_per_study=parallel_per_study)


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
