"""Trials that a worker trains together: one `step` of Tune's is the way to the next evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lr_search.executors.fused_run import FusedRun
from lr_search.executors.fusing import supported_within, why_apart
from lr_search.executors.time_limits.limits import NO_LIMITS, TimeLimits
from lr_search.fused.losses import ChangingPartsError
from lr_search.fused.support import Support
from lr_search.fused.width import fitting_width, out_of_memory, release_memory
from lr_search.studies.trial import TrialSpec
from lr_search.workloads.workload import Workload
from lr_search_ray.jobs.messages import APART, HALVED, OVER, TOGETHER, result_of


class FusedTrials:
    """Several trials of studies as one trial of Tune's.

    Args:
        trials: workloads and specs.
        known: by a workload's id, how far it can be fused, as determined so far on this worker; added to.
        limits: how long they may take.
    """

    def __init__(
        self,
        trials: Sequence[tuple[Workload, TrialSpec]],
        known: dict[int, Support],
        limits: TimeLimits = NO_LIMITS,
    ) -> None:
        self._trials, self._known, self._limits = trials, known, limits
        self._run = FusedRun(trials, self._support, limits)
        self._tried = False

    def cut(self, indexes: Sequence[int]) -> None:
        """The pruner has cut these after their last evaluation."""
        for index in indexes:
            self._run.runs[index].stop()

    def step(self) -> dict[str, Any]:
        """Train on to the next evaluations. Returns: the result for Tune."""
        reason, results = "", []
        with self._run.failures_kept():
            if not self._tried:
                reason, self._tried = self._why_not(), True
            if not reason:
                advanced = next(self._run, [])
                results = [(run.index, {**result_of(run, run.evaluation), OVER: run.over}) for run in advanced]
        if self._run.failure is not None:
            return self._ended_by(self._run.failure)
        if reason:
            return {APART: reason, TOGETHER: [], "done": True}
        # what is left at the end must be trained from its start by itself
        return {TOGETHER: results, "done": self._run.over, **({APART: ""} if self._run.over else {})}

    def _why_not(self) -> str:
        """Why they cannot be trained together, or "". Raises: MemoryError: there is not enough for so many."""
        supports = [self._support(workload, spec.seed) for workload, spec in self._trials]
        reason = next((support.reason for support in supports if support.reason), "")
        if reason:
            return reason
        if any(set(support.trained) != set(supports[0].trained) for support in supports):
            return "optimizers that hold the same parameters"
        if fitting_width(supports[0], self._trials[0][0].torch_device) < len(self._trials):
            raise MemoryError
        return ""

    def _support(self, workload: Workload, seed: int) -> Support:
        if id(workload) not in self._known:
            self._known[id(workload)] = supported_within(self._limits, workload, seed)
        return self._known[id(workload)]

    def _ended_by(self, failure: Exception) -> dict[str, Any]:
        """The last result, where an exception has ended the training."""
        release_memory(self._trials[0][0].torch_device)
        reason = why_apart(failure) if isinstance(failure, ChangingPartsError) else ""
        return {(HALVED if out_of_memory(failure) else APART): reason, TOGETHER: [], "done": True}

    def close(self) -> None:
        """Let go of the data and of what is on the device."""
        self._run.close()
