"""The trials of a comparison on a worker: what the driver sends, and what comes back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.cloudpickle as cloudpickle
import torch
from ray.tune import Checkpoint

from lr_search.errors import LRSearchError
from lr_search.evaluation import Evaluation
from lr_search.execution.local import LocalExecutor
from lr_search.execution.running import TrialRun
from lr_search.execution.trial import TrialSpec
from lr_search.workload import Workload
from lr_search_ray.packing import unpacked
from lr_search_ray.place import Place
from lr_search_ray.trainable import TrialTrainable, use_assigned_device

ASSIGNMENT = "assignment"  # the one entry of a trial's configuration
EVALUATION, OUTCOME, RAISED, CHARGED = "evaluation", "outcome", "raised", "steps_charged"  # of a result


@dataclass(frozen=True)
class Held:
    """The packed workloads in Ray's store."""

    data: ray.ObjectRef[bytes]


@dataclass(frozen=True)
class Assignment:
    """One trial for a worker.

    Args:
        name: of the trial, for Ray's dashboard.
        optimizer: the name under which its workload was packed.
        spec: the pickled `TrialSpec`: schedules of the user's own may live in his script.
        resume: where an earlier worker got to, or None.
    """

    name: str
    optimizer: str
    spec: bytes
    resume: Checkpoint | None = None

    @classmethod
    def of(cls, name: str, optimizer: str, spec: TrialSpec, resume: Checkpoint | None) -> Assignment:
        """Pack it."""
        return cls(name, optimizer, cloudpickle.dumps(spec), resume)

    def __repr__(self) -> str:  # Tune makes names of it
        return self.name


def trained(held: Held, place: Place, spec: bytes) -> bytes:
    """The only workload, trained to the end; a task of Ray's. Returns: the training's saved state."""
    place.enter()
    use_assigned_device()
    (workload,) = unpacked(ray.get(held.data)).values()
    training = LocalExecutor().train(workload, cloudpickle.loads(spec))
    file = io.BytesIO()
    torch.save(training.state_dict(), file)
    return file.getvalue()


class JobTrainable(TrialTrainable):
    """Trains what a comparison's driver assigns."""

    def setup(self, config: dict[str, Any], *, packed: Held, place: Place, **settings: Any) -> None:  # type: ignore[override]
        """Unpacks the workloads once an actor."""
        self._packed, self._place = packed, place
        self._workloads: dict[str, Workload] | None = None
        self._raised: LRSearchError | None = None
        super().setup(config, **settings)

    def _start(self, config: Mapping[str, Any]) -> None:
        self._raised = None
        try:
            super()._start(config)
            resume = config[ASSIGNMENT].resume
            if resume is not None:
                with resume.as_directory() as folder:
                    self.load_checkpoint(str(Path(folder)))
        except LRSearchError as error:  # the whole comparison's: told by the first result, for Tune would try again
            self._raised = error

    def _trial(self, config: Mapping[str, Any]) -> tuple[Workload, TrialSpec]:
        if self._workloads is None:
            self._place.enter()
            self._workloads = unpacked(ray.get(self._packed.data))
        assignment: Assignment = config[ASSIGNMENT]
        return self._workloads[assignment.optimizer], cloudpickle.loads(assignment.spec)

    def step(self) -> dict[str, Any]:
        """See `TrialTrainable`."""
        try:
            if self._raised is not None:
                raise self._raised
            return super().step()
        except LRSearchError as error:
            return {RAISED: error, "done": True}

    def _told(self, run: TrialRun, evaluation: Evaluation | None) -> dict[str, Any]:
        told: dict[str, Any] = {CHARGED: run.outcome.steps}
        if evaluation is not None:
            told[EVALUATION] = evaluation
        if run.over or run.step == 0:
            # the driver has the evaluations
            told[OUTCOME] = replace(run.outcome, evaluations=[])
        return told
