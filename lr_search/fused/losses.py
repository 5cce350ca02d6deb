"""One forward and backward pass for all models of a stack."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch.func import vmap

from lr_search.fused.stack import Stack
from lr_search.fused.vmap_attention import batchable_attention
from lr_search.fused.vmap_dropout import SameMasks
from lr_search.training.step import autocast
from lr_search.workloads.parts import Loss, Precision


class FusedLoss:
    """The loss of every model of a stack, and its gradient.

    The forward pass is one under `torch.func.vmap`, with the same random numbers for all (a dropout's masks are those that a model
    by itself would draw); the backward pass is autograd's, of the sum: each model's weights move its own loss alone.

    Args:
        stack: the models.
        loss: (model, batch) -> scalar tensor.
        precision: fp32 or bf16.
        draws: whether it draws random numbers.
        batch_dim: None: all see the same batch; 0: each its own, the batch's tensors being stacked.
        idle: parameters that the optimizer holds and that no step moves.
    """

    def __init__(
        self,
        stack: Stack,
        loss: Loss,
        precision: Precision = "fp32",
        *,
        draws: bool = True,
        batch_dim: int | None = None,
        idle: Sequence[torch.Tensor] = (),
    ) -> None:
        self._stack, self._loss, self._device = stack, loss, stack.weights.device
        self._precision, self._draws = precision, draws
        self._idle = list(idle)
        self._moved = [True] * len(stack.leaves) + [False] * len(self._idle)
        self._batched = vmap(self._one, in_dims=(0, 0, batch_dim), randomness="same")

    def _one(self, leaves: Sequence[torch.Tensor], buffers: Sequence[torch.Tensor], batch: Any) -> torch.Tensor:
        with self._stack.swapped(leaves, buffers) as model:
            return self._loss(model, batch).reshape(())

    def __call__(self, batch: Any) -> torch.Tensor:
        """The losses, (width,), by the leaves as they are; buffers are written to."""
        masks = SameMasks() if self._draws else contextlib.nullcontext()
        with autocast(self._device, self._precision), batchable_attention(self._device), masks:
            losses: torch.Tensor = self._batched(self._stack.leaves, self._stack.buffers, batch)
        return losses

    def backward(self, batches: Sequence[Any]) -> torch.Tensor:
        """Put the gradients of the mean loss over the batches into the stack.

        Returns: the losses, (width,), detached.

        Raises:
            ChangingPartsError: these batches move other parameters than those of the stack.
        """
        total: torch.Tensor | None = None
        gradients: list[torch.Tensor] = []
        for batch in batches:
            losses = self(batch)
            losses = losses / len(batches) if len(batches) > 1 else losses
            leaves = self._stack.leaves
            batch_gradients = torch.autograd.grad(losses.sum(), [*leaves, *self._idle], allow_unused=True)
            if [gradient is not None for gradient in batch_gradients] != self._moved:
                raise ChangingPartsError(
                    "a loss that moves the same parameters on every batch, but got others on a later one"
                )
            batch_gradients = batch_gradients[: len(leaves)]
            if gradients:
                torch._foreach_add_(gradients, list(batch_gradients))
            else:
                gradients = list(batch_gradients)
            total = losses.detach() if total is None else total + losses.detach()
        self._stack.take_gradients(gradients)
        assert total is not None
        return total


class ChangingPartsError(RuntimeError):
    """Which parameters are trained depends on the batch: the models must be trained one by one."""
