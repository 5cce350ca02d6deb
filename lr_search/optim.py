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

Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer]


def listed(optimizers: Optimizers) -> list[torch.optim.Optimizer]:
    """One optimizer or several, as a list."""
    return [optimizers] if isinstance(optimizers, torch.optim.Optimizer) else list(optimizers)


def groups(optimizers: Optimizers) -> list[dict[str, Any]]:
    """Every parameter group of one optimizer or several, in order."""
    each = listed(optimizers)
    return each[0].param_groups if len(each) == 1 else [group for one in each for group in one.param_groups]


def group_ratios(optimizers: Optimizers) -> list[float]:
    """Each parameter group's LR over the first group's. Read once, before any LR is written.

    Where a warm-up has set the first group's LR to 0, the LRs that the warm-up leads to (`initial_lr`) are compared.

    Raises:
        InvalidInputError: the first group's LR is not above 0, so that there is nothing to compare with.
    """
    lrs = [float(group["lr"]) for group in groups(optimizers)]
    if lrs[0] == 0:
        lrs = [float(group.get("initial_lr", group["lr"])) for group in groups(optimizers)]
    require(
        lrs[0] > 0,
        "the first parameter group's lr must be positive (the others keep their ratio to it)",
        "Build the optimizer with a positive lr.",
        lr=lrs[0],
    )
    return [lr / lrs[0] for lr in lrs]


def set_lr(optimizers: Optimizers, lr: float, ratios: Sequence[float]) -> None:
    """Give each parameter group `lr` times its ratio."""
    for group, ratio in zip(groups(optimizers), ratios, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr * ratio)
        else:
            group["lr"] = lr * ratio


def set_momentum(optimizers: Optimizers, momentum: float) -> None:
    """Set every group's momentum, or the first of its betas."""
    for group in groups(optimizers):
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
        momentum = self.schedule.momentum(self.last_epoch)
        if momentum is not None:
            set_momentum(self.optimizer, momentum)
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
    seed = int(seed)  # Python's generator takes no number of NumPy's
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  the user's code may draw from the global generator
    # not torch.manual_seed: where there is no GPU it keeps a stack trace of every call for the day CUDA starts
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


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

    def plain(self) -> dict[str, Any]:
        """Plain containers, numbers and tensors: what `torch.load(weights_only=True)` takes."""
        name, keys, *rest = self.numpy
        numpy_state = (name, torch.from_numpy(keys.astype(np.int64)), *rest)
        return {"python": self.python, "numpy": numpy_state, "torch_cpu": self.torch_cpu, "cuda": self.cuda}

    @classmethod
    def from_plain(cls, state: dict[str, Any], device: torch.device) -> RNGState:
        """The state that `plain` gave, for a training on `device`."""
        name, keys, *rest = state["numpy"]
        cuda = state["cuda"].cpu() if state["cuda"] is not None and device.type == "cuda" else None
        numpy_state = (name, keys.cpu().numpy().astype(np.uint32), *rest)
        return cls(state["python"], numpy_state, state["torch_cpu"].cpu(), cuda, device)


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


def capture(model: nn.Module, optimizers: Optimizers, scaler: torch.amp.GradScaler | None = None) -> Captured:
    """Copy in memory everything that training changes: see `Captured`."""
    return Captured(model, optimizers, scaler)


class Captured:
    """One copy of a training's state: weights, buffers, requires_grad, `.grad`, modes, optimizer, scaler and RNG.

    `restore()` writes it back into the same tensors, so that references to them stay good.
    """

    def __init__(self, model: nn.Module, optimizers: Optimizers, scaler: torch.amp.GradScaler | None = None) -> None:
        self._optimizers, self._scaler = listed(optimizers), scaler
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
        self._states = [{p: self._keep(state) for p, state in each.state.items()} for each in self._optimizers]
        self._scaler_state = None if scaler is None else scaler.state_dict()
        # whether its gradients are unscaled, which state_dict() leaves out
        self._scaler_stages = None if scaler is None else self._keep(dict(scaler._per_optimizer_states))

    def _keep(self, value: Any) -> Any:
        """The same tensors, each copied on the side, in new containers; what cannot change is passed through."""
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
            optimizer.state.update({parameter: _renewed(kept) for parameter, kept in state.items()})
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
    """The same tensors in new containers: those that are in use must not be those that are kept."""
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


def trainable(groups: Iterable[dict[str, Any]]) -> list[torch.Tensor]:
    """Every parameter an optimizer's groups hold, in order."""
    return [parameter for group in groups for parameter in group["params"]]


OptimizerFactory = Callable[..., torch.optim.Optimizer]
