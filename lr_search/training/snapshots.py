"""The weights at cycle ends (Huang et al., "Snapshot Ensembles: Train 1, get M for free", 2017, arXiv:1704.00109)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from lr_search.errors import WorkloadError, require
from lr_search.rng import preserved_rng, seed_everything
from lr_search.state.capture import device_of
from lr_search.state.saved_state import load_saved_state, saved_state

if TYPE_CHECKING:
    from lr_search.workloads.workload import Workload


@dataclass(frozen=True)
class Snapshot:
    """A model's weights after `step` steps, on the CPU: what `model.load_state_dict` takes.

    Args:
        step: optimizer steps done.
        weights: the model's `state_dict()`.
        seed: of the training: what a model draws when it is made comes back by it.
        kept: what else the model holds: buffers that its `state_dict()` leaves out, and its attributes.
    """

    step: int
    weights: dict[str, Any]
    seed: int = 0
    kept: dict[str, Any] = field(default_factory=dict, repr=False)

    kind_remedy: ClassVar[str] = "They are such as training.snapshots."


class Snapshots:
    """Keeps the last `most` snapshots.

    Args:
        most: how many to keep, >= 0.
        seed: of the training.
    """

    def __init__(self, most: int, seed: int = 0) -> None:
        require(most >= 0, "snapshots must be at least 0", snapshots=most)
        self.most, self._seed = most, seed
        self.kept: list[Snapshot] = []

    def keep(self, step: int, model: nn.Module) -> None:
        """Copy the model's weights, and let go of the oldest where there are too many."""
        if not self.most:
            return
        self.kept = [*self.kept, snapshot_of(step, model, self._seed)][-self.most :]


def snapshot_of(step: int, model: nn.Module, seed: int) -> Snapshot:
    """A copy of the model's weights and of what else it holds, on the CPU."""
    weights = {name: _copied(value) for name, value in model.state_dict().items()}
    return Snapshot(step, weights, seed, _copied(saved_state(model, device_of(model))))


def _copied(value: Any) -> Any:
    """On the CPU. A module may keep something else than tensors in its state."""
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    if type(value) is list:
        return [_copied(item) for item in value]
    return value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else copy.deepcopy(value)


def last_snapshots(snapshots: Sequence[Snapshot], last: int | None) -> list[Snapshot]:
    """The last of the snapshots, oldest first.

    Args:
        snapshots: as a training kept them.
        last: how many, from 1 to all; None: all.

    Raises:
        InvalidInputError: there are none, or fewer.
    """
    require(
        len(snapshots) > 0,
        "there must be at least 1 snapshot",
        "Train with lrs.train(..., snapshots=n) to the end of a cycle first.",
        snapshots=list(snapshots),
    )
    there = last is None or 1 <= last <= len(snapshots)
    require(there, f"last must be from 1 to the {len(snapshots)} snapshots there are, or None", last=last)
    return list(snapshots)[0 if last is None else -last :]


def rebuilt(workload: Workload, snapshot: Snapshot) -> nn.Module:
    """The model as it was at the snapshot, on the workload's device and in eval mode; the global RNG is left as it was.

    Raises:
        WorkloadError: the snapshot is of another model.
    """
    with preserved_rng(workload.torch_device):
        seed_everything(snapshot.seed)
        model = workload.build_model()
    try:
        if snapshot.kept:
            load_saved_state(model, snapshot.weights, snapshot.kept, workload.torch_device)
        else:
            model.load_state_dict(snapshot.weights)
    except RuntimeError as error:
        message = " ".join(str(error).split())
        raise WorkloadError(
            f"The snapshots must be of the workload's own model, but their weights do not fit it: {message}"
        ) from error
    return model.eval()
