"""A trial where it is trained, by itself or among others: what becomes of it. Knows no study, no storage and no executor."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from lr_search.errors import StorageError, WorkloadError, user_code
from lr_search.executors.interrupts import worker_deaths_held
from lr_search.executors.outcomes import begun, conclude, cut, fail, finish, judged_by, kept_snapshots, tell_curve
from lr_search.executors.time_limits.limits import NO_LIMITS, TimeLimits
from lr_search.ramp.descending_probe import descending_probe
from lr_search.studies.trial import TrialSpec
from lr_search.training.evaluation import Evaluation, Evaluations
from lr_search.training.training import Training, train
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload

Report = Callable[[Evaluation], bool]  # is passed each evaluation; whether to prune the trial here


class Run(ABC):
    """A trial, evaluation by evaluation; an exception in the user's code becomes part of its outcome.

    Args:
        subject: what is trained.

    Attributes:
        outcome: what became of it so far; whole once `over`.
        over: whether nothing is left to do; known with the last evaluation.
    """

    def __init__(self, subject: Subject) -> None:
        self.outcome = begun(subject)
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
        with worker_deaths_held():
            try:
                with user_code:
                    yield
            except (WorkloadError, StorageError):  # the whole comparison's, not this trial's
                raise
            except Exception as error:
                fail(self.outcome, error)
                self.stop()
            finally:
                self._charge(time.perf_counter() - started)


class SoloRun(Run, Evaluations):
    """A trial by itself: an iterator of its evaluations; a range test or probe has none, and is run by the first `next`.

    Args:
        subject: what is trained.
        limits: how long it may take, and everything.
    """

    def __init__(self, subject: Subject, limits: TimeLimits) -> None:
        super().__init__(subject)
        self._limits = limits

    def _watched(self) -> AbstractContextManager[None]:
        """The trial's own code runs inside, as long as it may."""
        return self._limits.watch(self.outcome.seconds)

    def run(self, report: Report) -> None:
        """Run it to its end. Args: report: is passed each evaluation; may ask for the trial to be pruned."""
        for evaluation in self:
            self.tell(report, evaluation)

    def next_evaluation(self) -> int | None:
        """The step of the next evaluation, where it can be trained up to there; else None."""
        return None

    def advance(self, step: int) -> None:
        """Train on to that step, which lies before the next evaluation."""

    def state_dict(self) -> dict[str, Any] | None:
        """What another run of the same trial needs to go on from here, but for the evaluations; None: it must begin again."""
        return None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""

    @property
    def has_state(self) -> bool:
        """Whether there is a state to go on from."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Let go of the data."""


class TrialRun(SoloRun):
    """A trial of a workload by itself.

    Args:
        workload: what is trained.
        spec: under which schedule and seed.
        limits: how long it may take, and everything.
    """

    def __init__(self, workload: Workload, spec: TrialSpec, limits: TimeLimits = NO_LIMITS) -> None:
        super().__init__(workload, limits)
        self._workload, self._spec = judged_by(workload, spec), spec
        self._training: Training | None = None

    def _next(self) -> Evaluation | None:
        evaluation: Evaluation | None = None
        if not self.over:
            with self._failures_kept(), self._watched():
                if self._spec.schedule is None:
                    self._run_first()
                else:
                    evaluation = self._next_of_training()
        return evaluation

    def _run_first(self) -> None:
        """Run the range test or the probe."""
        spec, outcome = self._spec, self.outcome
        if spec.range_test is not None:
            tell_curve(outcome, self._workload.range_test(spec.seed, **spec.range_test))
        else:
            assert spec.probe is not None
            lr_range, ladder = spec.probe
            outcome.probe = descending_probe(self._workload, spec.seed, lr_range=lr_range, ladder=ladder)
            outcome.steps = outcome.probe.steps_charged
            finish(outcome, outcome.probe.reason)
        self.over = True

    def _next_of_training(self) -> Evaluation | None:
        training = self._begun()
        evaluation = next(training, None)
        if evaluation is not None:
            self.outcome.evaluations.append(evaluation)
        if evaluation is None or training.stopped is not None:
            conclude(self.outcome, training)
            self.over = True
        return evaluation

    def advance(self, step: int) -> None:
        """Train on to that step, which lies before the next evaluation; of a training."""
        with self._failures_kept(), self._watched():
            self._begun().advance(step)

    def _begun(self) -> Training:
        if self._training is None:
            self._training = training_of(self._workload, self._spec)
        return self._training

    @property
    def step(self) -> int:
        """Optimizer steps done; of a training."""
        return 0 if self._training is None else self._training.step

    def _charge(self, seconds: float) -> None:
        if self._training is not None:
            self.outcome.steps = self._training.steps_charged
        self.outcome.seconds += seconds

    def next_evaluation(self) -> int | None:
        """The step of the next evaluation; of a training; None where there is none."""
        step: int | None = None
        if self._spec.schedule is not None and not self.over:
            with self._failures_kept(), self._watched():
                step = self._begun().next_evaluation()
        return step

    @property
    def has_state(self) -> bool:
        """Whether there is a state to go on from: of a training that has begun."""
        return self._spec.schedule is not None and self.step > 0

    def state_dict(self) -> dict[str, Any]:
        """What another run of the same trial needs to go on from here, but for the evaluations; of a training.

        Plain containers, numbers and tensors; see `Training.state_dict`.
        """
        outcome = self.outcome
        return {"training": self._begun().state_dict(), "seconds": outcome.seconds, "started": outcome.started}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned."""
        self.outcome.seconds, self.outcome.started = state["seconds"], state["started"]
        with self._failures_kept(), self._watched():
            self._begun().load_state_dict(state["training"])

    def close(self) -> None:
        """Let go of the data."""
        if self._training is not None:
            self._training.close()


def training_of(workload: Workload, spec: TrialSpec) -> Training:
    """A training that has not begun."""
    assert spec.schedule is not None
    return train(workload, spec.schedule, seed=spec.seed, snapshots=kept_snapshots(workload, spec))
