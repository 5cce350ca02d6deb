"""A trial by itself: of a training function, which is called once and reports as it trains; and the run that fits whatever is trained."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from lr_search.errors import Stop, WorkloadError
from lr_search.executors.outcomes import cut, finish, tell_curve
from lr_search.executors.time_limits.limits import NO_LIMITS, TimeLimits
from lr_search.executors.trial_run import Report, SoloRun, TrialRun
from lr_search.own_loops.function_state import seeded_call
from lr_search.own_loops.function_thread import FunctionThread
from lr_search.own_loops.stop_swallowed import stop_swallowed_told
from lr_search.own_loops.training_run import TrainingRun
from lr_search.own_loops.trial_listener import TrialListener
from lr_search.studies.trial import Outcome, TrialSpec
from lr_search.training.controller import Controller, first_schedule
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.subject import Subject
from lr_search.workloads.trainable import Trainable
from lr_search.workloads.workload import Workload


class FunctionRun(SoloRun):
    """A trial of a training function.

    As an iterator (where somebody else asks for its evaluations one by one) the function runs in a thread of its own, which waits
    after each evaluation.

    Args:
        trainable: the function.
        spec: under which schedule and seed.
        limits: how long it may take, and everything.
    """

    def __init__(self, trainable: Trainable, spec: TrialSpec, limits: TimeLimits = NO_LIMITS) -> None:
        super().__init__(trainable, limits)
        self._trainable, self._spec = trainable, spec
        self._listener: TrialListener | None = None
        self._beside: FunctionThread | None = None

    def run(self, report: Report) -> None:
        """See `SoloRun`: in this thread."""
        with self._failures_kept(), self._watched():
            self._train(report)

    def _next(self) -> Evaluation | None:
        evaluation: Evaluation | None = None
        if not self.over:
            with self._failures_kept():
                if self._beside is None:
                    self._beside = FunctionThread(self._watched_train)
                evaluation = self._beside.next()
        return evaluation

    def _watched_train(self, report: Report) -> None:
        with self._watched():
            self._train(report)

    def _train(self, report: Report) -> None:
        """Call the function, or run its range test; what comes of it is in the outcome."""
        spec, outcome = self._spec, self.outcome
        if spec.range_test is not None:
            tell_curve(outcome, self._trainable.range_test(spec.seed, **spec.range_test))
        else:
            assert spec.schedule is not None
            schedule = first_schedule(spec.schedule)
            control = spec.schedule.by_evaluations(self._trainable) if isinstance(spec.schedule, Controller) else None
            self._listener = listener = TrialListener(outcome.evaluations, control, report)
            run = TrainingRun(self._trainable, schedule, listener, seed=spec.seed)
            with seeded_call(self._trainable.torch_device, spec.seed):
                self._call(run, listener)
            self._conclude(run, listener)
        self.over = True

    def _call(self, run: TrainingRun, listener: TrialListener) -> None:
        try:
            with stop_swallowed_told():
                self._trainable.train(run)
                run.end()
                run.require_followed()
        except Stop:
            if not run.stopped:
                raise WorkloadError(
                    "lr_search.Stop must be raised by lr_search alone: a training ends by returning."
                ) from None
        except WorkloadError:
            raise
        except Exception as error:
            with suppress(Stop):
                run.end()
            if not listener.diverged and not isinstance(error, OverflowError | FloatingPointError):
                raise
            listener.diverged = listener.diverged or f"a number became too large after step {run.steps_done}"

    def _conclude(self, run: TrainingRun, listener: TrialListener) -> None:
        outcome, trainable = self.outcome, self._trainable
        if listener.diverged:
            outcome.ended, outcome.reason = "diverged", listener.diverged
        elif listener.pruned:
            cut(outcome)
        elif run.steps_done != run.num_steps:
            raise WorkloadError(
                f"{trainable.__name__}(run) must take num_steps={run.num_steps} steps, but returned after {run.steps_done}. Call "
                "scheduler.step() (or run.step()) once after each optimizer step, or give the number of steps that it takes."
            )
        elif not outcome.evaluations or outcome.evaluations[-1].step != run.num_steps:
            raise WorkloadError(
                f"{trainable.__name__}(run) must report {trainable.objective} after its last step, but returned without: call "
                f"run.report({trainable.objective}=...) where run.due, after scheduler.step()."
            )
        elif not np.isfinite(value := outcome.evaluations[-1].metrics[trainable.objective]):
            outcome.ended, outcome.reason = "diverged", f"{trainable.objective} was {value} at the end"
        else:
            finish(outcome, f"all {run.steps_done} steps done")

    @property
    def step(self) -> int:
        """Optimizer steps done; of a training."""
        return 0 if self._listener is None else self._listener.step

    def _charge(self, seconds: float) -> None:
        if self._listener is not None:
            self.outcome.steps = self._listener.step
        self.outcome.seconds += seconds

    def close(self) -> None:
        """End the function, where it waits in its thread."""
        if self._beside is not None:
            self._beside.close()


def run_of(subject: Subject, spec: TrialSpec, limits: TimeLimits = NO_LIMITS) -> SoloRun:
    """A trial that has not begun.

    Args:
        subject: what is trained: a workload, or a training function.
        spec: under which schedule and seed.
        limits: how long it may take, and everything.
    """
    if isinstance(subject, Trainable):
        return FunctionRun(subject, spec, limits)
    assert isinstance(subject, Workload)
    return TrialRun(subject, spec, limits)


def run_trial(subject: Subject, spec: TrialSpec, report: Report, limits: TimeLimits = NO_LIMITS) -> Outcome:
    """Train, or run the range test or probe; an exception in the user's code becomes part of the answer.

    Args:
        subject: what is trained.
        spec: under which schedule and seed.
        report: is passed each evaluation; may ask for the trial to be pruned.
        limits: how long it may take, and everything.

    Raises:
        TimeUpError: the time for everything is over.
    """
    run = run_of(subject, spec, limits)
    try:
        run.run(report)
    finally:
        run.close()
    return run.outcome
