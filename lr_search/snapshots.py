"""The weights at cycle ends (Huang et al., "Snapshot Ensembles: Train 1, get M for free", 2017, arXiv:1704.00109)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Snapshot:
    """A model's weights after `step` steps, on the CPU: what `model.load_state_dict` takes."""

    step: int
    weights: dict[str, torch.Tensor]


class Snapshots:
    """Keeps the last `most` snapshots.

    Args:
        most: how many to keep, >= 0.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.kept: list[Snapshot] = []

    def keep(self, step: int, model: nn.Module) -> None:
        """Copy the model's weights, and let go of the oldest where there are too many."""
        if not self._most:
            return
        weights = {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
        self.kept = [*self.kept, Snapshot(step, weights)][-self._most :]
