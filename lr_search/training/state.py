"""The state of a training: captured in memory, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lr_search.errors import WorkloadError
from lr_search.optimizers.param_groups import Optimizers, as_list, groups, trainable
from lr_search.rng import RNGState


@contextmanager
def preserved_modes(model: nn.Module) -> Iterator[None]:
    """Every submodule's train/eval mode is put back, also after an exception."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def capture(model: nn.Module, optimizers: Optimizers, scaler: torch.amp.GradScaler | None = None) -> Captured:
    """Copy in memory everything that training changes: see `Captured`."""
    return Captured(model, optimizers, scaler)


class Captured:
    """One copy of a training's state: weights, buffers, requires_grad, `.grad`, modes, optimizer, scaler and RNG.

    `restore()` writes it back into the same tensors, so that references to them stay good.
    """

    def __init__(self, model: nn.Module, optimizers: Optimizers, scaler: torch.amp.GradScaler | None = None) -> None:
        self._optimizers, self._scaler = as_list(optimizers), scaler
        self._rng = RNGState.capture(device_of(model))
        self._modes = [(module, _numbers(module)) for module in model.modules()]
        self._values: list[tuple[torch.Tensor, torch.Tensor]] = []  # each tensor and a copy of it
        owned = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        owned.update({id(parameter): parameter for parameter in trainable(groups(optimizers))})
        self._keep(list(owned.values()))
        self._grads = [(t, t.requires_grad, self._keep(t.grad)) for t in owned.values() if t.is_leaf]
        # a buffer may be replaced rather than written to, so its place is kept as well
        self._buffers = [(module, dict(module._buffers)) for module in model.modules()]
        self._groups = [self._keep({k: v for k, v in g.items() if k != "params"}) for g in groups(optimizers)]
        self._counters = [(optimizer, _numbers(optimizer)) for optimizer in self._optimizers]
        self._states = [
            {p: self._keep(state) for p, state in optimizer.state.items()} for optimizer in self._optimizers
        ]
        self._scaler_state = None if scaler is None else scaler.state_dict()
        # whether its gradients are unscaled, which state_dict() leaves out
        self._scaler_stages = None if scaler is None else self._keep(dict(scaler._per_optimizer_states))

    def _keep(self, value: Any) -> Any:
        """The tensors of `value`, each copied on the side, in new containers; what cannot change is passed through."""
        if isinstance(value, torch.Tensor):
            if not _expanded(value):
                self._values.append((value, value.detach().clone()))
            return value
        if isinstance(value, dict):
            return {key: self._keep(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._keep(item) for item in value]
        if isinstance(value, tuple) and type(value) is tuple:
            return tuple(self._keep(item) for item in value)
        return value

    def restore(self) -> None:
        """Write everything back; as often as need be."""
        with torch.no_grad():
            for module, buffers in self._buffers:
                module._buffers.clear()
                module._buffers.update(buffers)
            for tensor, value in self._values:
                tensor.copy_(value)
        for tensor, requires_grad, grad in self._grads:
            tensor.requires_grad_(requires_grad)
            tensor.grad = grad
        for group, saved in zip(groups(self._optimizers), self._groups, strict=True):
            for key in group.keys() - saved.keys() - {"params"}:
                del group[key]
            group.update(_renewed(saved))
        for optimizer, state in zip(self._optimizers, self._states, strict=True):
            optimizer.state.clear()
            optimizer.state.update({parameter: _renewed(value) for parameter, value in state.items()})
        if self._scaler is not None and self._scaler_state is not None and self._scaler_stages is not None:
            self._scaler.load_state_dict(self._scaler_state)
            self._scaler._per_optimizer_states.clear()
            self._scaler._per_optimizer_states.update(_renewed(self._scaler_stages))
        for owner, numbers in (*self._modes, *self._counters):
            vars(owner).update(numbers)
        self._rng.restore()


def _numbers(owner: Any) -> dict[str, Any]:
    """The plain numbers among an object's attributes: train/eval mode, and what it counts."""
    return {name: value for name, value in vars(owner).items() if type(value) in (bool, int, float)}


def _renewed(value: Any) -> Any:
    """The tensors of `value` in new containers: the containers that are in use must not be the kept ones."""
    if isinstance(value, dict):
        return {key: _renewed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_renewed(item) for item in value]
    return value


def _expanded(tensor: torch.Tensor) -> bool:
    """Whether several elements share one place in memory: then it cannot be written to, nor has it been."""
    if tensor.layout is not torch.strided:
        return False
    return any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter.

    Raises:
        WorkloadError: the model has no parameters.
    """
    for parameter in model.parameters():
        return parameter.device
    raise WorkloadError(
        "The model must have parameters to train, but got none. Return the module that holds the layers."
    )
