"""What a workload is made of: the forms of its loss and metrics, and its precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from lr_search.errors import require

Loss = Callable[[nn.Module, Any], torch.Tensor]
Metrics = Callable[[nn.Module, Any], Mapping[str, Any]]
Precision = Literal["fp32", "bf16", "fp16"]

MOST_ACCUMULATED = 100_000  # batches a step
DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def require_accumulate(accumulate: int) -> None:
    """Raises: InvalidInputError: there is no such number of batches a step."""
    good = 1 <= accumulate <= MOST_ACCUMULATED
    require(good, f"accumulate must be from 1 to {MOST_ACCUMULATED:,} batches a step", accumulate=accumulate)


@dataclass(frozen=True)
class LossMetric:
    """The loss as a metric: what is evaluated where the user gave no metrics."""

    loss: Loss
    names: tuple[str, ...] = ("loss",)

    def __call__(self, model: nn.Module, batch: Any) -> Mapping[str, torch.Tensor]:
        """The loss under its name."""
        return {"loss": self.loss(model, batch)}
