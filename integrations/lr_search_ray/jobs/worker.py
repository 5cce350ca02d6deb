"""The trials of a comparison on a worker: what the driver sends, and what comes back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ray
import ray.cloudpickle as cloudpickle
import torch

from lr_search.errors import LRSearchError
from lr_search.executors.local import LocalExecutor
from lr_search.executors.trial_run import SoloRun
from lr_search.fused.support import Support
from lr_search.studies.trial import TrialSpec
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload
from lr_search_ray.cluster.driver_path import DriverPath
from lr_search_ray.cluster.packing import unpacked
from lr_search_ray.jobs.fused_trials import FusedTrials
from lr_search_ray.jobs.messages import ASSIGNMENT, RAISED, Assignment, result_of
from lr_search_ray.tune.trial_trainable import TrialTrainable, use_assigned_device


@dataclass(frozen=True)
class Held:
    """The packed workloads in Ray's store."""

    data: ray.ObjectRef[bytes]


def trained(held: Held, place: DriverPath, spec: bytes) -> bytes:
    """The only workload, trained to the end; a task of Ray's. Returns: the training's saved state."""
    place.enter()
    use_assigned_device()
    (workload,) = unpacked(ray.get(held.data)).values()
    assert isinstance(workload, Workload)
    training = LocalExecutor().train(workload, cloudpickle.loads(spec))
    file = io.BytesIO()
    torch.save(training.state_dict(), file)
    return file.getvalue()


class JobTrainable(TrialTrainable):
    """Trains what a comparison's driver assigns."""

    def setup(self, config: dict[str, Any], *, packed: Held, place: DriverPath, **settings: Any) -> None:  # type: ignore[override]
        """Unpacks the workloads once an actor."""
        self._packed, self._place = packed, place
        self._workloads: dict[str, Subject] | None = None
        self._raised: LRSearchError | None = None
        self._together: FusedTrials | None = None
        self._support: dict[int, Support] = {}
        super().setup(config, **settings)

    def _start(self, config: Mapping[str, Any]) -> None:
        self._raised = None
        try:
            assignment: Assignment = config[ASSIGNMENT]
            if len(assignment.trials) > 1:
                self._together = FusedTrials(cast("Any", self._trials(assignment)), self._support, self._limits)
                return
            super()._start(config)
            resume = assignment.resume
            if resume is not None:
                with resume.as_directory() as folder:
                    self.load_checkpoint(str(Path(folder)))
        except LRSearchError as error:  # the whole comparison's: reported by the first result, for Tune would try again
            self._raised = error

    def _trial(self, config: Mapping[str, Any]) -> tuple[Subject, TrialSpec]:
        return self._trials(config[ASSIGNMENT])[0]

    def _trials(self, assignment: Assignment) -> list[tuple[Subject, TrialSpec]]:
        if self._workloads is None:
            self._place.enter()
            data = ray.get(self._packed.data)
            with self._limits.watch_first():
                self._workloads = unpacked(data)
        return [(self._workloads[optimizer], cloudpickle.loads(spec)) for optimizer, spec in assignment.trials]

    def step(self) -> dict[str, Any]:
        """Train on to the next evaluation or checkpoint; of several trials together, to the next evaluations."""
        try:
            if self._raised is not None:
                raise self._raised
            return super().step() if self._together is None else self._together.step()
        except LRSearchError as error:
            return {RAISED: error, "done": True}

    def cut(self, indexes: list[int]) -> None:
        """Of several trials that are trained together, the pruner has cut these; called by the driver."""
        if self._together is not None:
            self._together.cut(indexes)

    def cleanup(self) -> None:
        """Let go of the trials."""
        if self._together is not None:
            self._together.close()
        self._together = None
        super().cleanup()

    def _result(self, run: SoloRun, evaluation: Evaluation | None) -> dict[str, Any]:
        return result_of(run, evaluation)
