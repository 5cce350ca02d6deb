"""A trial where it is trained, by itself or among others: what becomes of it. Knows no study, no storage and no executor."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lr_search.errors import StorageError, WorkloadError
from lr_search.executors.outcomes import begun, cut, fail
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.workload import Workload

Report = Callable[[Evaluation], bool]  # is passed each evaluation; whether to prune the trial here


class Run(ABC):
    """A trial, evaluation by evaluation; an exception in the user's code becomes part of its outcome.

    Args:
        workload: what is trained.

    Attributes:
        outcome: what became of it so far; whole once `over`.
        over: whether nothing is left to do; known with the last evaluation.
    """

    def __init__(self, workload: Workload) -> None:
        self.outcome = begun(workload)
        self.over = False

    @property
    @abstractmethod
    def step(self) -> int:
        """Optimizer steps done; of a training."""

    @abstractmethod
    def _charge(self, seconds: float) -> None:
        """Write down the steps and the time spent so far, of which these seconds were spent just now."""

    def stop(self) -> None:
        """Train it no further."""
        self.over = True

    def prune(self) -> None:
        """End it after its last evaluation."""
        cut(self.outcome)
        self.stop()

    def tell(self, report: Report, evaluation: Evaluation) -> None:
        """Report an evaluation, and prune if the answer says so; an exception there, as in a pruner, is the trial's failure."""
        with self._failures_kept():
            if report(evaluation):
                self.prune()

    @contextmanager
    def _failures_kept(self) -> Iterator[None]:
        """An exception in the user's code becomes the outcome; what is spent is counted."""
        started = time.perf_counter()
        try:
            yield
        except (WorkloadError, StorageError):  # the whole comparison's, not this trial's
            raise
        except Exception as error:
            fail(self.outcome, error)
            self.stop()
        finally:
            self._charge(time.perf_counter() - started)
