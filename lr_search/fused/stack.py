"""The weights and buffers of several models of one kind: a row each of one matrix, and views of it in the shapes of the parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

Place = tuple[dict[str, torch.Tensor | None], str]  # a module's own parameters or buffers, and a name among them


class Stack:
    """`width` copies of a model's trained parameters and of its buffers.

    A row holds all trained parameters of one model, in the order given. So whatever is elementwise over models and parameters is
    one operation over one matrix, a trial's LR is one number a row, and a row's norm is the norm of a whole gradient. What is not
    trained stays in the model, and is the same for all.

    Args:
        model: one of them, with the weights that all begin with; it becomes a place to load a row into.
        trained: those of its parameters that are trained.
        width: how many models, >= 1.

    Attributes:
        weights: (width, number of trained weights).
        gradients: (width, number of trained weights).
        leaves: the parameters as views of `weights`, (width, *shape) each; what the loss is a function of.
        buffers: (width, *shape) each.
        parameters: the model's own, one for each of the leaves.
    """

    def __init__(self, model: nn.Module, trained: Sequence[torch.Tensor], width: int) -> None:
        self.model = model
        self.parameters = list(trained)
        self._places = [_places(model, "_parameters", parameter) for parameter in self.parameters]
        self._own_buffers = list(model.buffers())
        self._buffer_places = [_places(model, "_buffers", buffer) for buffer in self._own_buffers]
        row = torch.cat([parameter.detach().reshape(-1) for parameter in self.parameters])
        self._lay(row.repeat(width, 1), [_repeated(buffer, width) for buffer in self._own_buffers])

    def _lay(self, weights: torch.Tensor, buffers: list[torch.Tensor]) -> None:
        self.weights, self.buffers = weights, buffers
        self.gradients = torch.zeros_like(weights)
        self.leaves = [view.requires_grad_() for view in self.views(weights)]
        self._gradient_views = self.views(self.gradients)

    @property
    def width(self) -> int:
        """How many models."""
        return int(self.weights.shape[0])

    def views(self, matrix: torch.Tensor) -> list[torch.Tensor]:
        """A matrix like `weights` in the shapes of the parameters, (rows, *shape) each, detached."""
        sizes = [parameter.numel() for parameter in self.parameters]
        parts = torch.split(matrix.detach(), sizes, dim=1)
        rows = matrix.shape[0]
        return [
            torch.unflatten(part, 1, p.shape) if p.ndim else part.view(rows)
            for part, p in zip(parts, self.parameters, strict=True)
        ]

    def columns(self, parameter: torch.Tensor) -> tuple[int, int]:
        """Where a trained parameter lies in a row: from, to."""
        begin = 0
        for trained in self.parameters:
            if trained is parameter:
                return begin, begin + trained.numel()
            begin += trained.numel()
        raise KeyError("no trained parameter")

    def take_gradients(self, gradients: Sequence[torch.Tensor]) -> None:
        """Take over the gradients of the leaves, in their order."""
        torch._foreach_copy_(self._gradient_views, list(gradients))

    @contextmanager
    def swapped(self, leaves: Sequence[torch.Tensor], buffers: Sequence[torch.Tensor]) -> Iterator[nn.Module]:
        """Inside, the model has these in the place of its own parameters and buffers.

        Like torch.func.functional_call, in a tenth of its time, and for whatever the loss calls of the model.
        """
        places = [*self._places, *self._buffer_places]
        own = [*self.parameters, *self._own_buffers]
        _put(places, [*leaves, *buffers])
        try:
            yield self.model
        finally:
            _put(places, own)

    @torch.no_grad()
    def fill(self, row: int, model: nn.Module) -> None:
        """Put another model's weights and buffers into a row.

        Raises:
            ValueError: that model has others than this stack, or differs in what is not trained.
        """
        own, named = dict(model.named_parameters()), dict(self.model.named_parameters())
        names = {id(parameter): name for name, parameter in named.items()}
        trained = [names[id(parameter)] for parameter in self.parameters]
        buffers = list(model.buffers())
        alike = _shapes(own.values()) == _shapes(named.values()) and _shapes(buffers) == _shapes(self._own_buffers)
        if not alike or any(not torch.equal(own[name], named[name]) for name in own if name not in trained):
            raise ValueError("a model that differs by the seed only in the parameters that are trained and in buffers")
        self.weights[row] = torch.cat([own[name].reshape(-1) for name in trained])
        for buffer, own_buffer in zip(self.buffers, buffers, strict=True):
            buffer[row] = own_buffer

    def loaded(self, row: int) -> nn.Module:
        """The model with the weights and buffers of one row; until the next row is loaded."""
        with torch.no_grad():
            for parameter, view in zip(self.parameters, self.views(self.weights[row : row + 1]), strict=True):
                parameter.copy_(view[0])
            for buffer, stacked in zip(self._own_buffers, self.buffers, strict=True):
                buffer.copy_(stacked[row])
        return self.model

    def selected(self, rows: Sequence[int]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Leaves and buffers of some rows, detached; without a copy where these are all."""
        if list(rows) == list(range(self.width)):
            return [leaf.detach() for leaf in self.leaves], self.buffers
        index = torch.tensor(rows, device=self.weights.device)
        return self.views(self.weights[index]), [buffer[index] for buffer in self.buffers]

    def keep(self, rows: Sequence[int]) -> None:
        """Let go of all other rows; these move up, in their order."""
        index = torch.tensor(rows, device=self.weights.device)
        self._lay(self.weights[index].contiguous(), [buffer[index] for buffer in self.buffers])

    def finite(self) -> list[bool]:
        """Whether all weights of a row are; waits for the device."""
        finite: list[bool] = self.weights.isfinite().all(dim=1).tolist()
        return finite


def _shapes(tensors: Iterable[torch.Tensor]) -> list[torch.Size]:
    return [tensor.shape for tensor in tensors]


def _repeated(buffer: torch.Tensor, width: int) -> torch.Tensor:
    return buffer.detach().repeat(width, *([1] * buffer.ndim)) if buffer.ndim else buffer.detach().repeat(width)


def _places(model: nn.Module, kind: str, tensor: torch.Tensor) -> list[Place]:
    """Everywhere the model has it: weights may be tied."""
    owned = (getattr(module, kind) for module in model.modules())
    return [(own, name) for own in owned for name, value in own.items() if value is tensor]


def _put(places: Sequence[Sequence[Place]], values: Sequence[torch.Tensor]) -> None:
    for holders, value in zip(places, values, strict=True):
        for owner, name in holders:
            owner[name] = value
