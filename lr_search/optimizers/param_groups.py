"""The only writer of an optimizer's `param_groups`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from lr_search.errors import require
from lr_search.optimizers.accelerated import StepsTaken, is_accelerated
from lr_search.schedules.base import Schedule

Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer]


def as_list(optimizers: Optimizers) -> list[torch.optim.Optimizer]:
    """One optimizer or several, as a list."""
    return [optimizers] if isinstance(optimizers, torch.optim.Optimizer) else list(optimizers)


def groups(optimizers: Optimizers) -> list[dict[str, Any]]:
    """Every parameter group of one optimizer or several, in order."""
    optimizer_list = as_list(optimizers)
    if len(optimizer_list) == 1:
        return optimizer_list[0].param_groups
    return [group for optimizer in optimizer_list for group in optimizer.param_groups]


def group_ratios(optimizers: Optimizers) -> list[float]:
    """Each parameter group's LR over the first group's. Read once, before any LR is written.

    Where a warm-up has set the first group's LR to 0, the LRs that the warm-up leads to (`initial_lr`) are compared.

    Raises:
        InvalidInputError: a group has no LR or one that is no finite number, or the first group's is not above 0, so that there
            is nothing to compare with.
    """
    lacking = [number for number, group in enumerate(groups(optimizers), start=1) if group.get("lr") is None]
    require(
        not lacking,
        "every parameter group of the optimizer must have an lr",
        "One that takes no learning rate cannot be searched.",
        without=lacking,
    )
    lrs = [_finite(group["lr"]) for group in groups(optimizers)]
    if lrs[0] == 0:
        lrs = [_finite(group.get("initial_lr", group["lr"])) for group in groups(optimizers)]
    require(
        lrs[0] > 0,
        "the first parameter group's lr must be positive (the others keep their ratio to it)",
        "Build the optimizer with a positive lr.",
        lr=lrs[0],
    )
    return [lr / lrs[0] for lr in lrs]


def _finite(lr: Any) -> float:
    try:
        value = float(lr)
    except (TypeError, ValueError, RuntimeError):  # of a tensor of several numbers
        value = math.nan
    require(
        math.isfinite(value),
        "every parameter group's lr must be a finite number",
        "Build the optimizer with one, a float or a tensor of one element.",
        lr=lr,
    )
    return value


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
    """A schedule of ours as a torch `LRScheduler`; made by `schedule.attach(optimizer)`.

    A parameter group that is added later follows at the ratio of its LR to the one that the first group was built with.
    On an optimizer that Accelerate wraps, `step` goes on only where the optimizer has taken a step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule, last_epoch: int = -1) -> None:
        accelerated: bool = is_accelerated(optimizer)
        optimizer = optimizer.optimizer if accelerated else optimizer  # type: ignore[attr-defined]
        self._steps: StepsTaken | None = None
        rule = "last_epoch must be -1 (the beginning), or from 0 on where the optimizer's groups have an initial_lr"
        known = all("initial_lr" in group for group in optimizer.param_groups)
        good = last_epoch == -1 or (last_epoch >= 0 and known)
        require(good, rule, "Attach at -1, and load a state_dict() to go on.", last_epoch=last_epoch)
        self.schedule = schedule
        self.ratios = group_ratios(optimizer)
        first = optimizer.param_groups[0]
        self.built_lr = float(first["lr"]) or float(first["initial_lr"])
        super().__init__(optimizer, last_epoch)
        if accelerated:
            self.follow_steps_taken()

    def follow_steps_taken(self) -> None:
        """Have `step` go on only where the optimizer has taken a step since the last call."""
        self._steps = StepsTaken(self.optimizer)
        self._step_count += 1  # torch warns at the first where the scaler of fp16 has put back `optimizer.step`

    def step(self, epoch: int | None = None) -> None:
        """The LRs of the next step."""
        if self._steps is None or self._steps.any_since():
            super().step(epoch)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The LR of each group at the present step."""
        lr = self.schedule(self.last_epoch)
        momentum = self.schedule.momentum(self.last_epoch)
        if momentum is not None:
            set_momentum(self.optimizer, momentum)
        for group in self.optimizer.param_groups[len(self.ratios) :]:
            self.ratios.append(float(group["lr"]) / self.built_lr)
            group.setdefault("initial_lr", float(group["lr"]))
        return [lr * ratio for ratio in self.ratios]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and words only, so that it loads with `weights_only=True`; the schedule itself comes from your code."""
        return {"last_epoch": self.last_epoch, "ratios": list(self.ratios), "schedule": _identity(self.schedule)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from that step, and set the optimizer's LRs to it.

        A state of fewer parameter groups than there are now leaves the ratios of the others as they are.

        Raises:
            InvalidInputError: it is the state of another schedule, of more parameter groups, or none of ours.
        """
        known = {"last_epoch", "ratios"} <= set(state_dict)
        require(
            known, "state_dict must come from an attached schedule's state_dict()", got=sorted(map(str, state_dict))
        )
        saved, own = state_dict.get("schedule"), _identity(self.schedule)
        require(
            saved in (None, own),
            "state_dict must be of the schedule that it is loaded into",
            "Attach the schedule that it was saved with.",
            saved=saved,
            attached=own,
        )
        ratios, groups_now = list(state_dict["ratios"]), len(self.optimizer.param_groups)
        require(len(ratios) <= groups_now, f"state_dict must be of {groups_now} parameter groups", got=len(ratios))
        self.last_epoch = int(state_dict["last_epoch"])
        self.ratios[: len(ratios)] = ratios
        self._step_count = self.last_epoch + 1
        lrs = self.get_lr()
        set_lr(self.optimizer, self.schedule(self.last_epoch), self.ratios)
        self._last_lr = lrs


def _identity(schedule: Schedule) -> str:
    """What tells a schedule from others: all its numbers, to the last digit, where it is a data class."""
    return repr(schedule) if is_dataclass(schedule) else schedule.describe()


def foreign(model: nn.Module, optimizers: Optimizers) -> str:
    """What is wrong where an optimizer holds parameters that are not the model's: no step on the model's loss is theirs.

    Returns: what came, as a sentence's end; empty where all are the model's.
    """
    own = {id(parameter) for parameter in model.parameters()}
    held = held_tensors(groups(optimizers))
    others = [parameter for parameter in held if id(parameter) not in own]
    if not others:
        return ""
    shapes = ", ".join(str(tuple(parameter.shape)) for parameter in others[:3])
    return (
        f"got {len(others)} of {len(held)} that are not (of shape {shapes}{', ...' if len(others) > 3 else ''}). "
        "Build the optimizer from this model's parameters, after the model was made; where the loss has parameters of its own, "
        "put it and the model into one module."
    )


def held_tensors(groups: Iterable[dict[str, Any]]) -> list[torch.Tensor]:
    """Every parameter an optimizer's groups hold, in order."""
    return [parameter for group in groups for parameter in group["params"]]
