"""A workload that trains in milliseconds, for the tests of everything around a training."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from lr_search.workloads.workload import Workload

LINE_SETTINGS: dict[str, Any] = {"num_steps": 30, "eval_every": 10, "device": "cpu"}


def data() -> torch.Tensor:
    """A line with noise, in 8 batches of 8 pairs. Returns: (batches, examples, 2)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(64, generator=generator) * 2 - 1
    y = 3 * x + 0.1 * torch.randn(64, generator=generator)
    return torch.stack([x, y], dim=1).reshape(8, 8, 2)


def squared_error(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """The mean squared error of a batch (examples, 2)."""
    loss: torch.Tensor = ((model(batch[:, :1]) - batch[:, 1:]) ** 2).mean()
    return loss


def shuffled() -> list[torch.Tensor]:
    """The batches in a new order."""
    batches = data()
    return [batches[i] for i in torch.randperm(8)]


def shifted() -> torch.Tensor:
    """Data of another line."""
    return data() + 1


def line_workload(**changes: Any) -> Workload:
    """A linear model of a line; diverges from an LR of about 1.5 on. Args: changes: of the workload's arguments."""
    settings: dict[str, Any] = {
        "model": partial(nn.Linear, 1, 1),
        "optimizer": torch.optim.SGD,
        "loss": squared_error,
        "train_data": shuffled,
        "valid_data": data,
        **LINE_SETTINGS,
        **changes,
    }
    return Workload(**settings)
