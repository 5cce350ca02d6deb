"""Whether a loss that is not finite is a batch's fault, not the LR's: whether that batch gives none with untrained weights either."""

from __future__ import annotations

from typing import Any

import torch

from lr_search.errors import WorkloadError, user_code
from lr_search.rng import preserved_rng
from lr_search.training.step import Stepper, autocast
from lr_search.workloads.batches import BatchWalk, Draw
from lr_search.workloads.workload import Workload

_LOSS = (
    "The loss must be finite, but is {loss} on batch {number} of pass {of} over {name}, with the weights before the first step too: "
    "it is the batch's fault, not the learning rate's. Look for labels that are all ignored (ignore_index) and for values "
    "that are not finite, and leave such batches out."
)
_GRADIENT = (
    "The gradient must be finite, but is not on batch {number} of pass {of} over {name}, with the weights before the first step "
    "too: it is the batch's fault, not the learning rate's. Look for square roots, norms or logarithms of zeros in the loss."
)
_EVERYWHERE = (
    "The first loss must be finite, but is {loss} on the first batch of {name} and on the next, before any step was taken. "
    "Check the data, the model's output and the loss."
)


def batch_fault_of(workload: Workload, seed: int, batches: BatchWalk, number: int) -> Exception | None:
    """As `batch_fault`, by the weights that a training of the workload begins with; the global random states are left alone."""
    try:
        with preserved_rng(workload.torch_device):
            model, optimizer, walk = workload.begin(seed)
            walk.close()
            return batch_fault(Stepper.of(workload, model, optimizer), batches, number)
    except Exception:  # no second model can be had: out of memory
        return None


def batch_fault(stepper: Stepper, batches: BatchWalk, number: int) -> Exception | None:
    """What is wrong with the batches in whose step a loss was not finite, or with those of the step before.

    Those before may have made the weights non-finite, by a gradient that is not.

    Args:
        stepper: of a model with the weights before the first step. Its gradients and buffers are changed, and the random states.
        batches: the walk they were drawn from.
        number: of the step's first batch among all that were drawn, from 1.

    Returns:
        The exception that the loss raises on one of them; or a WorkloadError, where loss or gradient is not finite; or None.
    """
    for each in range(max(1, number - stepper.accumulate), number + stepper.accumulate):
        drawn = batches.again(each)
        if drawn is None:
            continue
        try:
            loss = _loss(stepper, drawn[1])
        except Exception as error:
            return error
        if not loss.isfinite():
            value, following = float(loss.detach()), batches.again(2) if each == 1 else None
            if following is not None and not _loss(stepper, following[1]).isfinite():
                return WorkloadError(_EVERYWHERE.format(loss=value, name=batches.name))
            return _fault(_LOSS, batches.name, drawn[0], loss=value)
        if not _has_finite_gradient(stepper, loss):
            return _fault(_GRADIENT, batches.name, drawn[0])
    return None


def _fault(text: str, name: str, draw: Draw, **values: float) -> WorkloadError:
    return WorkloadError(text.format(name=name, number=draw.number, of=draw.pass_number, **values))


def _loss(stepper: Stepper, batch: Any) -> torch.Tensor:
    """The loss on a batch; the sum of several."""
    stepper.modes.train()
    with user_code, autocast(stepper.device, stepper.precision):
        losses = [loss(stepper.model, batch).reshape(()) for loss in stepper.losses]
    return losses[0] if len(losses) == 1 else torch.stack([loss.float() for loss in losses]).sum()


def _has_finite_gradient(stepper: Stepper, loss: torch.Tensor) -> bool:
    parameters = stepper.parameters
    for parameter in parameters:
        parameter.grad = None
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    values = [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in gradients]
    return all(bool(value.isfinite().all()) for value in values)
