"""A comparison under DDP: the first process decides and writes, the others train with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from lr_search.errors import error_text
from lr_search.executors.display.logger import LOGGER
from lr_search.ramp.settings import RampSettings
from lr_search.rng import preserved_rng, seed_everything
from lr_search.workloads.devices import device_named

_MOVED = ("lr", "momentum", "betas")


@dataclass(frozen=True)
class Order:
    """What the first process tells the others of a fit before it begins.

    Args:
        seed: of the trial.
        ramping: whether it is a training under a rising LR.
        ramp: of a range test in the place of a training; None: it is one.
    """

    seed: int
    ramping: bool = False
    ramp: RampSettings | None = None


@dataclass(frozen=True)
class FitState:
    """What holds in all processes between two steps.

    Args:
        due: whether a validation comes next.
        over: whether the first process has ended the training.
        groups: of each parameter group, the LR and what a schedule moves beside it; empty where one process trains.
    """

    due: bool
    over: bool
    groups: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, optimizers: Sequence[torch.optim.Optimizer], *, due: bool, over: bool) -> FitState:
        """As it is in this process."""
        if num_processes() == 1:
            return cls(due, over)
        held = (group for optimizer in optimizers for group in optimizer.param_groups)
        return cls(due, over, tuple({name: group[name] for name in _MOVED if name in group} for group in held))

    def set_on(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Write it to this process's optimizers."""
        held = (group for optimizer in optimizers for group in optimizer.param_groups)
        for group, values in zip(held, self.groups, strict=True):
            for name, value in values.items():
                if isinstance(group[name], torch.Tensor):
                    group[name].fill_(float(value))
                else:
                    group[name] = value


def agreed(trainer: Any, mine: FitState) -> FitState:
    """The first process's."""
    if num_processes() == 1:
        return mine
    theirs: FitState = trainer.strategy.broadcast(mine, 0)
    return mine if distributed.get_rank() == 0 else theirs


class LedRun:
    """In the other processes, in the place of a trial's run: the first one decides, and tells the LRs at each step.

    Args:
        order: of the fit.
        device: whose random state an evaluation leaves alone.
    """

    def __init__(self, order: Order, device: torch.device) -> None:
        self.ramping, self.due, self._device = order.ramping, False, device

    def attach(self, optimizers: Any) -> LedRun:
        """No schedule."""
        return self

    def step(self) -> None:
        """Is counted by the first process."""

    def loss(self, value: torch.Tensor) -> None:
        """Is recorded by the first process."""

    def report(self, **metrics: float) -> None:
        """Is recorded by the first process."""

    def evaluating(self) -> AbstractContextManager[None]:
        """The training's random state is kept."""
        return preserved_rng(self._device)


def is_led() -> bool:
    """Whether this process is one of several that train together, and not the first."""
    return num_processes() > 1 and distributed.get_rank() > 0


def num_processes() -> int:
    """That train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def tell(order: Order | None) -> None:
    """From the first process to the others: the next fit, or that there is none."""
    if num_processes() > 1:
        distributed.broadcast_object_list([order], src=0)


def train_led(fit: Callable[[LedRun], None], ramp: Callable[[RampSettings], object]) -> None:
    """In another process than the first: train with it until there is nothing more to train."""
    device = device_named("auto")
    while (order := _told()) is not None:
        with preserved_rng(device):
            seed_everything(order.seed)
            try:
                if order.ramp is None:
                    fit(LedRun(order, device))
                else:
                    ramp(order.ramp)
            except Exception as error:  # the first process knows what ended its fit, and decides what comes next
                LOGGER.debug("A fit of this process was ended: %s", error_text(error))


def _told() -> Order | None:
    received: list[Order | None] = [None]
    distributed.broadcast_object_list(received, src=0)
    return received[0]
