"""One model by itself on one batch: what the fused models are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lr_search.fused.stack import Stack
from lr_search.rng import RNGState
from lr_search.state.forward_state import ForwardState
from lr_search.state.saved_state import changed_names, state_beside
from lr_search.training.step import autocast, checked_loss
from lr_search.workloads.workload import Workload


@dataclass
class Pass:
    """One forward and backward pass of a model by itself."""

    loss: torch.Tensor
    gradients: list[torch.Tensor | None]
    parameters: Sequence[tuple[str, torch.Tensor]]
    buffers: list[torch.Tensor]

    def named(self) -> list[tuple[str, torch.Tensor]]:
        """The parameters that the loss moves."""
        return [pair for pair, gradient in zip(self.parameters, self.gradients, strict=True) if gradient is not None]


class Alone:
    """A model by itself, on one batch, always under the same random numbers and from the same buffers."""

    def __init__(self, workload: Workload, model: nn.Module, batch: Any) -> None:
        self._workload, self.model, self.batch = workload, model, batch
        self._rng = RNGState.capture(workload.torch_device)
        self.draws = False
        self.kept: list[str] = []  # what a pass changes elsewhere than in parameters and buffers
        self.kept_bytes = 0

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Inside, the random numbers and buffers of every pass; afterwards the buffers are as they were."""
        self._rng.restore()
        with ForwardState(self.model, [self._workload.total_loss]).preserved():
            yield

    def run(self) -> Pass:
        """One pass, by the weights as they are."""
        work, named = self._workload, [pair for pair in self.model.named_parameters() if pair[1].requires_grad]
        self.kept_bytes = 0
        with self.replayed():
            counted = torch.autograd.graph.saved_tensors_hooks(self._counted, lambda tensor: tensor)
            before = state_beside(self.model, [work.total_loss], work.torch_device)
            with counted, autocast(work.torch_device, work.precision):
                loss = checked_loss(work.total_loss(self.model, self.batch))
            self.kept = changed_names(before, state_beside(self.model, [work.total_loss], work.torch_device))
            gradients = torch.autograd.grad(loss.reshape(()), [p for _, p in named], allow_unused=True)
            buffers = [buffer.detach().clone() for buffer in self.model.buffers()]
            self.draws = not self._rng.same_in_torch()
        return Pass(loss.detach().reshape(()), list(gradients), named, buffers)

    def run_row(self, stack: Stack, row: int) -> Pass:
        """A pass of one row's model, whose weights stay in the model."""
        with torch.no_grad():
            for parameter, view in zip(stack.parameters, stack.views(stack.weights[row : row + 1]), strict=True):
                parameter.copy_(view[0])
        return self.run()

    def _counted(self, tensor: torch.Tensor) -> torch.Tensor:
        self.kept_bytes += tensor.numel() * tensor.element_size()
        return tensor
