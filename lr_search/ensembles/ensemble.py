"""Snapshots as one model (Huang et al., "Snapshot Ensembles: Train 1, get M for free", 2017, arXiv:1704.00109)."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from lr_search.errors import InvalidInputError, OutputError, WorkloadError, require
from lr_search.kinds.checked import checked
from lr_search.training.snapshots import Snapshot, last_snapshots, rebuilt, snapshot_of
from lr_search.workloads.combining import COMBINE, Combine, require_combine
from lr_search.workloads.workload import Workload

_FORMAT = 2


@checked
class SnapshotEnsemble(nn.Module):
    """The models that a training passed through at its cycles' ends, as one model with one output.

    Called like the workload's model. It is for prediction: it stays in eval mode, and its weights need no gradients.

    Args:
        workload: what was trained; its `model` makes the members.
        snapshots: the members' weights, oldest first: `training.snapshots`.
        last: how many of the last snapshots to take; default: all.
        combine: how the members' outputs become one; default: `workload.combine`. "softmax": the log of the mean softmax,
            on which cross-entropy is the negative log-likelihood; "sigmoid": the logit of the mean sigmoid; "mean"; or a
            function of the stacked outputs (members, ...).

    Attributes:
        members: the models.
        steps: the step of each member's snapshot.

    Raises:
        InvalidInputError: an argument breaks a rule, or nothing says how to combine.
        WorkloadError: the snapshots are of another model, or its outputs cannot be stacked.

    Reference:
        Gao Huang et al., "Snapshot Ensembles: Train 1, get M for free", 2017, arXiv:1704.00109.

    >>> import lr_search as lrs
    >>> data = torch.randn(64, 4), torch.arange(64) % 3
    >>> workload = lrs.classification(
    ...     model=lambda: nn.Linear(4, 3), optimizer=torch.optim.SGD, train=data, valid=data, num_steps=42, device="cpu"
    ... )
    >>> training = lrs.train(workload, lrs.schedules.by_name("sgdr", lr=0.1, num_steps=42), snapshots=2)
    >>> evaluations = list(training)
    >>> ensemble = SnapshotEnsemble(workload, training.snapshots)
    >>> ensemble(data[0]).exp().sum(dim=1).allclose(torch.ones(64))
    True
    """

    def __init__(
        self,
        workload: Workload,
        snapshots: Sequence[Snapshot],
        *,
        last: int | None = None,
        combine: Combine | None = None,
    ) -> None:
        super().__init__()
        members = last_snapshots(snapshots, last)
        require_combine(combine)
        combine = workload.combine if combine is None else combine
        require(
            combine is not None,
            "combine must say how the members' outputs become one",
            "Give combine='softmax', 'sigmoid', 'mean' or a function, here or in the Workload.",
            combine=None,
        )
        self.combine: Any = combine
        self.steps = [snapshot.step for snapshot in members]
        self._seeds = [snapshot.seed for snapshot in members]
        self.members = nn.ModuleList(rebuilt(workload, snapshot) for snapshot in members)
        self.requires_grad_(False).eval()

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The combined output, of what the model takes."""
        outputs = self.member_outputs(*args, **kwargs)
        function = COMBINE[self.combine] if isinstance(self.combine, str) else self.combine
        combined: torch.Tensor = function(outputs)
        return combined

    def member_outputs(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Each member's output, stacked: (members, ...). How much they disagree can be read off it."""
        outputs = [member(*args, **kwargs) for member in self.members]
        shapes = {tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__ for out in outputs}
        if len(shapes) > 1 or not isinstance(outputs[0], torch.Tensor):
            raise WorkloadError(
                "combine works on the members' stacked outputs: each must be one tensor, all of one shape, "
                f"but got {', '.join(str(shape) for shape in sorted(shapes, key=str))}. "
                "Let the workload's model return the tensor that its loss is computed from."
            )
        return torch.stack(outputs)

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode, whatever is asked for: the members' dropout and batch statistics are not to come back."""
        return super().train(False)

    def save(self, path: str | Path) -> None:
        """Write the members' weights to a file that `torch.load(weights_only=True)` reads.

        A `combine` that is a function is not written: `load` asks for it.

        Raises:
            OutputError: the file cannot be written.
        """
        members = [
            dict(vars(snapshot_of(step, member, seed)))
            for step, seed, member in zip(self.steps, self._seeds, self.members, strict=True)
        ]
        combine = self.combine if isinstance(self.combine, str) else None
        try:
            torch.save({"format": _FORMAT, "combine": combine, "members": members}, path)
        except (OSError, RuntimeError) as error:  # torch raises either where the folder does not exist
            raise OutputError(
                f"The ensemble must go to a file that can be written, but got {path}: {error}."
            ) from error

    @classmethod
    def load(cls, path: str | Path, workload: Workload, *, combine: Combine | None = None) -> SnapshotEnsemble:
        """The ensemble that `save` wrote, on the workload's device.

        Args:
            path: of the file.
            workload: what was trained.
            combine: needed where the saved ensemble combined by a function and the workload's `combine` is none; replaces
                the saved one.

        Raises:
            InvalidInputError: it is no such file, or nothing says how to combine.
            WorkloadError: it holds another model's weights.
        """
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            require(saved["format"] == _FORMAT, f"an ensemble must have format {_FORMAT}", format=saved["format"])
            members = [Snapshot(**member) for member in saved["members"]]
            combine = saved["combine"] if combine is None else combine
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError) as error:
            raise InvalidInputError(
                f"path must be a file that SnapshotEnsemble.save wrote, but got {path}: {error}"
            ) from error
        if combine is None:
            combine = workload.combine
            require(
                callable(combine),
                "combine must be given again: the saved ensemble combined by a function, which a file cannot hold",
                "Pass combine=, or a workload that has it.",
                combine=combine,
            )
        return cls(workload, members, combine=combine)
