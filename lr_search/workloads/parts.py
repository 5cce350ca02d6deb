"""What a workload is made of: the forms of its loss and metrics, and its precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import nn

from lr_search.errors import require

Loss = Annotated[
    Callable[[nn.Module, Any], torch.Tensor],
    "Pass one of (model, batch), or one of torch's criteria for batches (input, target): torch.nn.CrossEntropyLoss().",
]
Metrics = Callable[[nn.Module, Any], Mapping[str, Any]]
Precision = Literal["fp32", "bf16", "fp16"]

MOST_ACCUMULATED = 100_000  # batches a step
MOST_EPOCHS = 10**9
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


class UsualSteps(int):
    """A number of steps that nobody gave."""


def chosen_steps(num_steps: int, num_epochs: float | None, steps_per_epoch: Callable[[], float | None]) -> int:
    """The optimizer steps of a training: as given, or in so many passes over the data, rounded up.

    Args:
        num_steps: of the two, what was given, or `UsualSteps`.
        num_epochs: likewise, or None.
        steps_per_epoch: optimizer steps in a pass, which is asked only where it is needed; None: not known.

    Raises:
        InvalidInputError: both are given, there is no such number of epochs, or a pass has no known length.

    >>> chosen_steps(UsualSteps(300), 2.5, lambda: 7.0)
    18
    """
    if num_epochs is None:
        return int(num_steps)
    rule, remedy = (
        "num_steps and num_epochs must not both be given",
        "Leave one out; replace() keeps num_steps: give it those.",
    )
    require(isinstance(num_steps, UsualSteps), rule, remedy, num_steps=num_steps, num_epochs=num_epochs)
    rule = f"num_epochs must be above 0 and at most {MOST_EPOCHS:,}"
    require(0 < num_epochs <= MOST_EPOCHS, rule, num_epochs=num_epochs)
    a_pass = steps_per_epoch()
    require(a_pass is not None, "num_epochs needs training data of known length", "Give num_steps instead.")
    assert a_pass is not None
    return max(1, math.ceil(num_epochs * a_pass - 1e-9))
