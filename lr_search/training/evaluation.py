"""Judging a model on a data set: every metric averaged over examples, read off the device once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lr_search.errors import WorkloadError, quoted, user_code
from lr_search.kinds.annotations import MaybeNan
from lr_search.kinds.checked import checked
from lr_search.state.capture import preserved_modes
from lr_search.state.forward_state import ForwardState
from lr_search.training.step import autocast
from lr_search.workloads.batches import batch_length, to_device
from lr_search.workloads.parts import Metrics, Precision
from lr_search.workloads.passes import one_pass


@checked
@dataclass(frozen=True)
class Evaluation:
    """What a training looked like after `step` steps.

    Args:
        step: optimizer steps done; 0 is before the first.
        lr: the LR just used (at step 0: the first to be used).
        train_loss: mean training loss since the last evaluation (at step 0: nan).
        metrics: each metric over the validation data.
        end_of_cycle: whether a cycle of the schedule ends here.
    """

    step: int
    lr: float
    train_loss: MaybeNan
    metrics: dict[str, MaybeNan]
    end_of_cycle: bool = False


@checked
class Evaluations(Iterator[Evaluation], ABC):
    """An iterator of evaluations that ends with the last one, and not where the user's code raises StopIteration."""

    def __next__(self) -> Evaluation:
        """Train on to the next evaluation."""
        with user_code:
            evaluation = self._next()
        if evaluation is None:
            raise StopIteration
        return evaluation

    @abstractmethod
    def _next(self) -> Evaluation | None:
        """The next evaluation; None where there is none any more."""


def evaluate(
    model: nn.Module, batches: Iterable[Any], metrics: Metrics, device: torch.device, precision: Precision = "fp32"
) -> dict[str, float]:
    """Average each metric over all examples of `batches`, in eval mode and without gradients.

    What the passes change in buffers and attributes, of the modules that the metrics use too, is undone.

    Args:
        model: the module; its train/eval modes are put back.
        batches: a pass over the data.
        metrics: (model, batch) -> {name: (examples,) tensor, or (sum, count), or a scalar weighted by the batch's first
            dimension}.
        device: where the model is.
        precision: as trained.

    Returns:
        name -> mean; nan for a metric that counted nothing (precision, where nothing was predicted).

    Raises:
        WorkloadError: no batches, or a metric of another form.
    """
    with ForwardState(model, [metrics]).preserved(), preserved_modes(model):
        model.eval()
        sums, counts, examined = metric_sums(model, batches, metrics, device, precision)
    if not examined:
        raise WorkloadError("valid_data must give batches, but got none. Check the data set's length and drop_last.")
    totals = {name: (float(total), float(counts[name])) for name, total in sums.items()}
    return {name: total / count if count else math.nan for name, (total, count) in totals.items()}


def metric_sums(
    model: nn.Module, batches: Iterable[Any], metrics: Metrics, device: torch.device, precision: Precision = "fp32"
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor | float], bool]:
    """Each metric's sum over the batches and its count, still on the device, in the mode the model is in.

    Returns: name -> sum, name -> count, and whether there was a batch at all.
    """
    examined = False
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, torch.Tensor | float] = {}
    with torch.no_grad():
        for drawn in one_pass(batches, "valid_data"):
            batch, examined = to_device(drawn, device), True
            with autocast(device, precision):
                values = metrics(model, batch)
            if not isinstance(values, Mapping):
                raise WorkloadError(f"metrics(model, batch) must return name -> value, but got {quoted(values)}.")
            for name, value in values.items():
                total, count = metric_total(name, value, batch)
                sums[name] = sums[name] + total if name in sums else total
                counts[name] = counts.get(name, 0.0) + count
    return sums, counts, examined


def metric_total(name: str, value: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor | float]:
    """A metric's sum over a batch, still on the device, and the number of examples in it."""
    if isinstance(value, tuple) and len(value) == 2:
        total, count = value
        return _wide(torch.as_tensor(total)), count
    if isinstance(value, int | float):
        value = torch.tensor(float(value))
    if not isinstance(value, torch.Tensor) or value.ndim > 1:
        shape_or_type = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise WorkloadError(
            f"The metric {name!r} must be a tensor (examples,), a scalar, or (sum, count), but got {shape_or_type}. "
            "Give one number an example, or (sum, count) over the batch."
        )
    if value.ndim == 1:
        return _wide(value).sum(), float(len(value))
    examples = batch_length(batch)
    return _wide(value) * examples, float(examples)


def _wide(value: torch.Tensor) -> torch.Tensor:
    """At least single precision, to be summed in."""
    return value.detach() if value.dtype == torch.float64 else value.detach().float()
