"""What a workload is made of: the forms of its loss and metrics, and its precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

Loss = Callable[[nn.Module, Any], torch.Tensor]
Metrics = Callable[[nn.Module, Any], Mapping[str, Any]]
Precision = Literal["fp32", "bf16", "fp16"]

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class LossMetric:
    """The loss as a metric: what is evaluated where the user gave no metrics."""

    loss: Loss

    def __call__(self, model: nn.Module, batch: Any) -> Mapping[str, torch.Tensor]:
        """The loss of the batch, under its name."""
        return {"loss": self.loss(model, batch)}
