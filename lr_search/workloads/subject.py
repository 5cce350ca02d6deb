"""What a comparison trains: a workload, which our loop trains, or a training function of the user's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from lr_search.kinds.direction import Direction
from lr_search.workloads.devices import device_named


class Subject(ABC):
    """What executors, samplers and reports know of it, whichever it is. Both have a `range_test`.

    Attributes:
        objective: the metric that decides.
        direction: "minimize" or "maximize" the objective.
        num_steps: optimizer steps in a full training.
        eval_every: steps between evaluations.
        batch_size: examples a batch, for the report; None where it varies or is not known.
        device: as it was asked for.
        test_data: what judges only to confirm a result, or None.
        combine: how the outputs of an ensemble become one, or None.
    """

    objective: str
    direction: Direction
    num_steps: int
    eval_every: int
    batch_size: int | None
    device: str
    test_data: Any
    combine: Any

    @property
    def torch_device(self) -> torch.device:
        """Where it is trained; asked anew each time, for it may be sent to another machine."""
        return device_named(self.device)

    @property
    @abstractmethod
    def steps_per_epoch(self) -> float | None:
        """Optimizer steps in one pass over the training data; None where a pass has no known end."""
