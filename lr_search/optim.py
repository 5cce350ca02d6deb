"""The only writer of `param_groups`, and the only place that saves and restores the state of a training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from lr_search.errors import WorkloadError, require
from lr_search.schedules.base import Schedule


def group_ratios(optimizer: torch.optim.Optimizer) -> list[float]:
    """Each parameter group's LR over the first group's. Read once, before any LR is written.

    Raises:
        InvalidInputError: the first group's LR is not above 0, so that there is nothing to compare with.
    """
    lrs = [float(group["lr"]) for group in optimizer.param_groups]
    require(
        lrs[0] > 0,
        "the first parameter group's lr must be positive (the others keep their ratio to it)",
        "Build the optimizer with a positive lr.",
        lr=lrs[0],
    )
    return [lr / lrs[0] for lr in lrs]


def set_lr(optimizer: torch.optim.Optimizer, lr: float, ratios: Sequence[float]) -> None:
    """Give each parameter group `lr` times its ratio."""
    for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr * ratio)
        else:
            group["lr"] = lr * ratio


def set_momentum(optimizer: torch.optim.Optimizer, momentum: float) -> None:
    """Set every group's momentum, or the first of its betas."""
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif "momentum" in group:
            group["momentum"] = momentum


class AttachedSchedule(LRScheduler):
    """A schedule of ours as a torch `LRScheduler`; made by `schedule.attach(optimizer)`."""

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule, last_epoch: int = -1) -> None:
        self.schedule = schedule
        self.ratios = group_ratios(optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The LR of each group at the present step."""
        lr = self.schedule(self.last_epoch)
        momentum = getattr(self.schedule, "momentum", None)
        if momentum is not None:
            set_momentum(self.optimizer, momentum(self.last_epoch))
        return [lr * ratio for ratio in self.ratios]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers only, so that it loads with `weights_only=True`; the schedule itself comes from your code."""
        return {"last_epoch": self.last_epoch, "ratios": list(self.ratios)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from that step, and set the optimizer's LRs to it."""
        self.last_epoch = int(state_dict["last_epoch"])
        self.ratios = list(state_dict["ratios"])
        self._step_count = self.last_epoch + 1
        lrs = self.get_lr()
        set_lr(self.optimizer, self.schedule(self.last_epoch), self.ratios)
        self._last_lr = lrs


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators (the CPU's and every GPU's)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  the user's code may draw from the global generator
    torch.manual_seed(seed)


@dataclass(frozen=True)
class RNGState:
    """The global random states of Python, NumPy and torch (the CPU's, and one GPU's where the training uses it)."""

    python: Any
    numpy: Any
    torch_cpu: torch.Tensor
    cuda: torch.Tensor | None
    device: torch.device

    @classmethod
    def capture(cls, device: torch.device) -> RNGState:
        """Read them all."""
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        numpy_state = np.random.get_state()  # noqa: NPY002
        return cls(random.getstate(), numpy_state, torch.get_rng_state(), cuda, device)

    def restore(self) -> None:
        """Write them all back."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.torch_cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, self.device)


@contextmanager
def preserved_rng(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside leaves the global random states as they were, also after an exception."""
    state = RNGState.capture(device)
    try:
        yield
    finally:
        state.restore()


@contextmanager
def preserved_modes(model: nn.Module) -> Iterator[None]:
    """Every submodule's train/eval mode is put back, also after an exception."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def capture(model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None = None) -> Captured:
    """Copy in memory everything that training changes: see `Captured`."""
    return Captured(model, optimizer, scaler)


class Captured:
    """One copy of a training's state: weights, buffers, requires_grad, `.grad`, modes, optimizer, scaler and RNG.

    `restore()` writes it back into the same tensors, so that references to them stay good.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None = None
    ) -> None:
        self._model, self._optimizer, self._scaler = model, optimizer, scaler
        self._rng = RNGState.capture(device_of(model))
        self._modes = [(module, module.training) for module in model.modules()]
        owned = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        for group in optimizer.param_groups:
            owned.update({id(parameter): parameter for parameter in group["params"]})
        self._tensors = list(owned.values())
        self._values = [tensor.detach().clone() for tensor in self._tensors]
        self._grads = [(t, t.requires_grad, _copied(t.grad)) for t in self._tensors if t.is_leaf]
        # a buffer may be replaced rather than written to, so its place is kept as well
        self._buffers = [(module, dict(module._buffers)) for module in model.modules()]
        self._groups = [{k: _copied(v) for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        self._state = {parameter: _copied(state) for parameter, state in optimizer.state.items()}
        self._scaler_state = None if scaler is None else _copied(scaler.state_dict())

    def restore(self) -> None:
        """Write everything back."""
        with torch.no_grad():
            for module, buffers in self._buffers:
                module._buffers.clear()
                module._buffers.update(buffers)
            for tensor, value in zip(self._tensors, self._values, strict=True):
                tensor.copy_(value)
        for tensor, requires_grad, grad in self._grads:
            tensor.requires_grad_(requires_grad)
            tensor.grad = grad
        for group, saved in zip(self._optimizer.param_groups, self._groups, strict=True):
            for key in group.keys() - saved.keys() - {"params"}:
                del group[key]
            group.update(saved)
        self._optimizer.state.clear()
        self._optimizer.state.update(self._state)
        if self._scaler is not None and self._scaler_state is not None:
            self._scaler.load_state_dict(self._scaler_state)
        for module, training in self._modes:
            module.training = training
        self._rng.restore()


def _copied(value: Any) -> Any:
    """A copy of nested tensors in plain containers; what cannot change is passed through."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_copied(item) for item in value)
    return value


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


def trainable(groups: Iterable[dict[str, Any]]) -> list[torch.Tensor]:
    """Every parameter an optimizer's groups hold, in order."""
    return [parameter for group in groups for parameter in group["params"]]


OptimizerFactory = Callable[..., torch.optim.Optimizer]
