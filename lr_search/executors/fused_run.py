"""Several trials that are trained together; each is evaluated, pruned and ended by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from lr_search.curves.curve import LRCurve
from lr_search.errors import LRSearchError, user_code
from lr_search.executors.outcomes import begun, conclude, judged_by, kept_snapshots, tell_curve
from lr_search.executors.time_limits.alarm import TrialTimeoutError
from lr_search.executors.time_limits.limits import NO_LIMITS, TimeLimits
from lr_search.executors.trial_run import Run
from lr_search.fused.lane import Lane, Member
from lr_search.fused.range_tests import fused_range_tests
from lr_search.fused.support import Support
from lr_search.fused.trials import FusedTraining
from lr_search.ramp.settings import RampSettings
from lr_search.studies.trial import Outcome, TrialSpec
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.workload import Workload


class LaneRun(Run):
    """One of several trials that are trained together.

    Args:
        lane: its training.
    """

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane.workload)
        self._lane = lane
        self.outcome.worker += f"/{lane.index + 1}"

    @property
    def index(self) -> int:
        """Among the trials, from 0."""
        return self._lane.index

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self._lane.step

    @property
    def evaluation(self) -> Evaluation | None:
        """The newest, if the training has just come to one."""
        return self._lane.evaluation

    def stop(self) -> None:
        """Train it no further."""
        self._lane.cut()
        super().stop()

    def advanced(self) -> None:
        """The training has come to an evaluation of this trial, or to its end, or to both."""
        self._charge(0.0)
        if self._lane.evaluation is not None:
            self.outcome.evaluations.append(self._lane.evaluation)
        if self._lane.stopped is not None:
            conclude(self.outcome, self._lane)
            self.over = True

    def _charge(self, seconds: float) -> None:
        self.outcome.steps, self.outcome.seconds = self._lane.step, self._lane.seconds


class FusedRun(Iterator[list[LaneRun]]):
    """Several trials from their start. Each item holds the runs that have come to an evaluation or to their end, or to both.

    Whoever iterates may `tell` or `prune` these. A run that is not over when the iteration ends must be trained from its
    start by itself: what it does cannot be done for several at once.

    Args:
        trials: workloads that differ in their optimizer at most, and specs; of several seeds only where the model draws no random numbers.
        support: what is known of a workload, tried out from a seed.
        limits: how long they may take, and everything.

    Attributes:
        runs: in the order of the trials; none before the first item.
        failure: the exception that ended the training before its end.
    """

    def __init__(
        self,
        trials: Sequence[tuple[Workload, TrialSpec]],
        support: Callable[[Workload, int], Support],
        limits: TimeLimits = NO_LIMITS,
    ) -> None:
        self._limits, self._seconds = limits, 0.0
        self._trials, self._support = trials, support
        self._training: FusedTraining | None = None
        self._lanes: Iterator[list[Lane]] = iter(())
        self.runs: list[LaneRun] = []
        self.failure: Exception | None = None

    def __next__(self) -> list[LaneRun]:
        begun = time.perf_counter()
        try:
            with self._limits.watch(self._seconds):
                if self._training is None:
                    self._begin()
                lanes = next(self._lanes)
        finally:
            self._seconds += time.perf_counter() - begun
        advanced = [self.runs[lane.index] for lane in lanes if not lane.alone]
        for run in advanced:
            run.advanced()
        return advanced

    @user_code
    def _begin(self) -> None:
        support = [self._support(workload, spec.seed) for workload, spec in self._trials]
        members = [_member(workload, spec) for workload, spec in self._trials]
        self._training = FusedTraining(members, [spec.seed for _, spec in self._trials], support)
        self._lanes = iter(self._training)
        self.runs = [LaneRun(lane) for lane in self._training.lanes]

    @property
    def over(self) -> bool:
        """Whether nothing is left that can be done for several at once."""
        return self._training is not None and all(lane.over for lane in self._training.lanes)

    @contextmanager
    def failures_kept(self) -> Iterator[None]:
        """An exception inside the block ends the training and becomes `failure`, but for those of the whole comparison."""
        try:
            with user_code:
                yield
        except LRSearchError:
            raise
        except Exception as error:
            self.failure = error.with_traceback(None)  # which would hold on to memory
            self.close()

    def close(self) -> None:
        """Let go of the data and of what is on the device."""
        if self._training is not None:
            self._training.close()
        self._training, self._lanes, self.runs = None, iter(()), []


def fused_outcomes(
    workload: Workload, specs: Sequence[TrialSpec], limits: TimeLimits = NO_LIMITS
) -> list[Outcome] | None:
    """What becomes of range tests of one kind that are run in one fused ramp; None where they must be run one by one.

    Args:
        workload: what is trained.
        specs: that differ in their seeds alone.
        limits: how long they may take, and everything.
    """
    begun_at = time.perf_counter()
    outcomes = [begun(workload) for _ in specs]
    curves: list[LRCurve] | None = None
    with suppress(TrialTimeoutError), limits.watch():
        settings = RampSettings(**(specs[0].range_test or {}))
        curves = fused_range_tests(workload, settings, seeds=[spec.seed for spec in specs])
    if curves is None:
        return None
    seconds = (time.perf_counter() - begun_at) / len(specs)
    for place, (outcome, curve) in enumerate(zip(outcomes, curves, strict=True), start=1):
        tell_curve(outcome, curve)
        outcome.seconds, outcome.worker = seconds, f"{outcome.worker}/{place}"
    return outcomes


def _member(workload: Workload, spec: TrialSpec) -> Member:
    """What a trial is among those that are trained with it."""
    assert spec.schedule is not None
    return Member(judged_by(workload, spec), spec.schedule, kept_snapshots(workload, spec))
