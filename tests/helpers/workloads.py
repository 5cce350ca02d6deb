"""Workloads that train in milliseconds, for the tests of everything around a training."""

from functools import partial

import torch
from torch import nn

import lr_search as lrs

SETTINGS = {"num_steps": 30, "eval_every": 10, "device": "cpu"}


def data() -> torch.Tensor:
    """A line with noise, in 8 batches of 8 pairs. Returns: (batches, examples, 2)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(64, generator=generator) * 2 - 1
    y = 3 * x + 0.1 * torch.randn(64, generator=generator)
    return torch.stack([x, y], dim=1).reshape(8, 8, 2)


def squared_error(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return ((model(batch[:, :1]) - batch[:, 1:]) ** 2).mean()


def shuffled() -> list[torch.Tensor]:
    batches = data()
    return [batches[i] for i in torch.randperm(8)]


def line(**changes: object) -> lrs.Workload:
    """A linear model of a line; diverges from an LR of about 1.5 on."""
    settings = {
        "model": partial(nn.Linear, 1, 1),
        "optimizer": torch.optim.SGD,
        "loss": squared_error,
        "train_data": shuffled,
        "valid_data": data,
        **SETTINGS,
        **changes,
    }
    return lrs.Workload(**settings)  # type: ignore[arg-type]
