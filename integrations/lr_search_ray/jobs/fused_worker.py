"""Trials that a worker trains together: one `step` of Tune's is the way to the next evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lr_search.errors import LRSearchError
from lr_search.executors.fusing import why_apart
from lr_search.executors.lane_run import LaneRun, member
from lr_search.fused.lane import Lane
from lr_search.fused.losses import ChangingPartsError
from lr_search.fused.support import Support, support_of
from lr_search.fused.trials import FusedTraining
from lr_search.fused.width import fitting_width, out_of_memory, release_memory
from lr_search.studies.trial import TrialSpec
from lr_search.workloads.workload import Workload
from lr_search_ray.jobs.messages import APART, CHARGED, EVALUATION, HALVED, OUTCOME, TOGETHER


class Together:
    """Several trials as one of Tune's.

    Args:
        trials: workloads and specs.
        known: what was found out about the workloads on this worker; added to.
    """

    def __init__(self, trials: Sequence[tuple[Workload, TrialSpec]], known: dict[int, Support]) -> None:
        self._trials, self._known = trials, known
        self._training: FusedTraining | None = None
        self._steps: Iterator[list[Lane]] = iter(())
        self._runs: list[LaneRun] = []

    def cut(self, indexes: Sequence[int]) -> None:
        """The pruner has cut these after their last evaluation."""
        for index in indexes:
            self._runs[index].lane.cut()

    def step(self) -> dict[str, Any]:
        """Train on to the next evaluations. Returns: for Tune."""
        try:
            if self._training is None and (reason := self._begin()):
                return {APART: reason, TOGETHER: [], "done": True}
            lanes = next(self._steps, None)
        except LRSearchError:
            raise
        except Exception as error:
            full = out_of_memory(error)
            reason = why_apart(error) if isinstance(error, ChangingPartsError) else ""
            self.close()
            release_memory(self._trials[0][0].torch_device)
            return {(HALVED if full else APART): reason, TOGETHER: [], "done": True}
        told = [(lane.index, self._told(self._runs[lane.index])) for lane in lanes or () if not lane.alone]
        done = all(run.lane.over for run in self._runs)
        # what is left then must be trained from its start by itself
        return {TOGETHER: told, "done": done, **({APART: ""} if done else {})}

    def _begin(self) -> str:
        """Returns: why they cannot be trained together."""
        support = []
        for workload, spec in self._trials:
            if id(workload) not in self._known:
                self._known[id(workload)] = support_of(workload, spec.seed)
            support.append(self._known[id(workload)])
        reason = next((each.reason for each in support if each.reason), "")
        if reason:
            return reason
        if any(set(each.trained) != set(support[0].trained) for each in support):
            return "optimizers that hold the same parameters"
        if fitting_width(support[0], self._trials[0][0].torch_device) < len(self._trials):
            raise MemoryError
        members = [member(workload, spec) for workload, spec in self._trials]
        self._training = FusedTraining(members, self._trials[0][1].seed, support)
        self._steps = iter(self._training)
        self._runs = [LaneRun(lane) for lane in self._training.lanes]
        return ""

    def _told(self, run: LaneRun) -> dict[str, Any]:
        """Of one that was evaluated or has ended."""
        lane = run.lane
        told: dict[str, Any] = {CHARGED: lane.step, "step": lane.step, "seconds": lane.seconds}
        if lane.evaluation is not None:
            told[EVALUATION] = lane.evaluation
            run.outcome.evaluations.append(lane.evaluation)
        if lane.stopped is not None:
            told |= {OUTCOME: replace(run.concluded(), evaluations=[]), "over": True}
        elif lane.step == 0:
            told[OUTCOME] = replace(run.outcome, evaluations=[])
        return told

    def close(self) -> None:
        """Let go of the data and of what is on the device."""
        if self._training is not None:
            self._training.close()
        self._training, self._steps, self._runs = None, iter(()), []
