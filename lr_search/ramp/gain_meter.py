"""Measures, step by step, how far the loss fell on the very batch that was stepped on, against what its gradient predicted."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from itertools import repeat

import torch

from lr_search.errors import user_code
from lr_search.state.forward_state import ForwardState
from lr_search.training.replay import ReplayedRNG

GAIN_COLUMNS = (
    6  # loss before, loss after, predicted reduction, norms of the update, of the weights and of the gradient
)
_SAME = 1e-4  # how far a loss that is evaluated again may lie from the first time, relative to it


class GainMeter:
    """The gain ratio's parts at every step, kept on the device: one copy of the weights, and one more forward pass.

    Around a step: `mark` where the forward pass begins, `before_step` copies the weights, `after_step` measures; the forward
    pass only after those steps that `measured` says.
    Gradients may have been clipped by a factor, which is divided out again. Where the loss cannot be evaluated a second
    time, `failure` says why, and nothing is measured.

    Args:
        forward_state: of the module that is trained.
        parameters: those that the optimizers hold.
        device: of the loss.

    Attributes:
        measured: of each step to come, whether the loss after it is evaluated.
    """

    def __init__(self, forward_state: ForwardState, parameters: list[torch.Tensor], device: torch.device) -> None:
        self._parameters = [p for p in dict.fromkeys(parameters) if p.requires_grad]
        self._complex = any(parameter.dtype.is_complex for parameter in self._parameters)
        self._forward_state = forward_state
        self._rng = ReplayedRNG(device)
        self._device = device
        self._flat: list[torch.Tensor] = []
        self._views: list[torch.Tensor] = []
        self._rows: list[torch.Tensor] = []
        self.measured: Iterator[bool] = repeat(True)
        self._repeated: torch.Tensor | None = None  # the first loss, evaluated twice
        self.loss_dtype = torch.float32
        self.failure: Exception | None = None  # of the first loss, when it was evaluated again
        self._versions: list[int] = []  # of the gradients at the first step
        self._writes: bool | None = None  # whether the optimizer's step writes into the gradients
        self._kept: list[torch.Tensor | None] = []  # a copy of the gradients, only where the step writes into them

    def mark(self) -> None:
        """The forward pass begins here."""
        self._rng.mark()

    def before_step(self, loss: torch.Tensor, again: Callable[[], torch.Tensor]) -> None:
        """The gradients are computed; the weights move next."""
        if self._repeated is None and self.failure is None:
            self._evaluate_twice(loss, again)
        if self.failure is not None:
            return
        if not self._views:  # at the first step, when lazy parameters have their shapes
            self._flat, self._views = _copies(self._values())
        gradients = [parameter.grad for parameter in self._parameters]
        if self._writes is None:
            self._versions = [0 if gradient is None else gradient._version for gradient in gradients]
        elif self._writes:
            self._kept = [None if gradient is None else gradient.clone() for gradient in gradients]
        with torch.no_grad():
            torch._foreach_copy_(self._views, self._values())

    def _evaluate_twice(self, loss: torch.Tensor, again: Callable[[], torch.Tensor]) -> None:
        self.loss_dtype = loss.dtype
        try:
            with user_code:
                self._repeated = torch.stack([loss.float(), self._evaluated(again).float()])
        except Exception as error:  # it takes derivatives itself, say, which it cannot without gradients
            self.failure = error

    def after_step(
        self, loss: torch.Tensor, again: Callable[[], torch.Tensor], clipped_by: torch.Tensor | float
    ) -> None:
        """The weights have moved; the gradients are still those of the step."""
        if self.failure is not None:
            return
        with torch.no_grad():
            weight_norm = self._norm()
            torch._foreach_sub_(self._views, self._values())  # the step, with its sign turned
            update_norm = self._norm()
            gradients = self._gradients()
            gradient_norm, predicted = _norm_of(gradients, self._device), self._dot(gradients)
            if isinstance(clipped_by, torch.Tensor):
                gradient_norm, predicted = gradient_norm / clipped_by, predicted / clipped_by
            after = torch.full_like(loss, math.nan)
            if next(self.measured):
                # some losses raise on weights that are not finite; then the next step raises as well
                with contextlib.suppress(Exception), user_code:
                    after = self._evaluated(again)
            row = [loss, after, predicted, update_norm, weight_norm, gradient_norm]
            wide = _wide(loss)
            self._rows.append(torch.stack([value.to(self._device, wide) for value in row]))

    def _values(self) -> list[torch.Tensor]:
        if not self._complex:
            return self._parameters
        return [_real(parameter.detach()) for parameter in self._parameters]

    def _gradients(self) -> list[torch.Tensor | None]:
        """The gradients of the step; none at the first one where the optimizer has written into them."""
        gradients = [parameter.grad for parameter in self._parameters]
        if self._writes:
            gradients, self._kept = self._kept, []
        elif self._writes is None:
            pairs = zip(gradients, self._versions, strict=True)
            self._writes = any(gradient is not None and gradient._version != was for gradient, was in pairs)
            if self._writes:  # nesterov momentum does, in torch's foreach version of SGD
                return []
        return gradients

    def _evaluated(self, again: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The loss once more, under the random numbers of the step; nothing else notices."""
        with torch.no_grad(), self._rng.replayed(), self._forward_state.preserved():
            return again().detach()

    def _norm(self) -> torch.Tensor:
        norms = [torch.linalg.vector_norm(flat, dtype=_wide(flat)).to(self._device) for flat in self._flat]
        norm: torch.Tensor = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
        return norm

    def _dot(self, all_gradients: list[torch.Tensor | None]) -> torch.Tensor:
        """The dot product of the step with its gradients; NaN where there are none."""
        if not all_gradients:
            return torch.full((), math.nan, device=self._device)
        views, gradients, sparse = [], [], []
        for view, gradient in zip(self._views, all_gradients, strict=True):
            if gradient is None:
                view.zero_()
            elif gradient.is_sparse:
                sparse.append(_sparse_dot(view, gradient).to(self._device))
                view.zero_()
            else:
                views.append(view)
                gradients.append(_real(gradient))
        if views:
            torch._foreach_mul_(views, gradients)
        dense = [flat.sum(dtype=_wide(flat)).to(self._device) for flat in self._flat]
        parts = dense + sparse
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def read(self) -> torch.Tensor | None:
        """The rows since the last read, still on the device. Returns: (steps, COLUMNS), or None where there are none."""
        rows, self._rows = self._rows, []
        return torch.stack(rows) if rows else None

    def differs(self) -> torch.Tensor:
        """1 if the first loss came out otherwise when it was evaluated again, 0 if not; still on the device."""
        if self.failure is not None:
            return torch.ones((), device=self._device)
        if self._repeated is None:
            return torch.zeros((), device=self._device)
        first, repeated = self._repeated
        # not the other way round: an evaluation that gives nan differs
        same = ~first.isfinite() | ((repeated - first).abs() <= _SAME * first.abs() + 1e-12)
        differs: torch.Tensor = (~same).float()
        return differs


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """Complex numbers as pairs: the dot product of the pairs is what a step along a complex gradient reduces."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _norm_of(gradients: list[torch.Tensor | None], device: torch.device) -> torch.Tensor:
    """The norm of all gradients together; NaN where there are none."""
    values = [g.coalesce().values() if g.is_sparse else _real(g) for g in gradients if g is not None]
    if not values:
        return torch.full((), math.nan, device=device)
    norms = torch.stack([norm.to(device, torch.float32) for norm in torch._foreach_norm(values)])
    total: torch.Tensor = torch.linalg.vector_norm(norms)
    return total


def _wide(tensor: torch.Tensor) -> torch.dtype:
    """The precision to add up in: at least single."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _sparse_dot(view: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The dot product with a sparse gradient, over the rows it has."""
    gradient = gradient.coalesce()
    return (view[tuple(gradient.indices())] * gradient.values()).sum(dtype=_wide(view))


def _copies(parameters: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Room for a copy of the parameters: one flat tensor a device and dtype, and a view into it for each parameter."""
    kinds = list(dict.fromkeys((p.device, p.dtype) for p in parameters))
    sizes = {kind: sum(p.numel() for p in parameters if (p.device, p.dtype) == kind) for kind in kinds}
    flat = {kind: torch.zeros(sizes[kind], device=kind[0], dtype=kind[1]) for kind in kinds}
    used = dict.fromkeys(kinds, 0)
    views = []
    for parameter in parameters:
        kind = parameter.device, parameter.dtype
        begin = used[kind]
        used[kind] += parameter.numel()
        views.append(flat[kind][begin : used[kind]].view(parameter.shape))
    return list(flat.values()), views
