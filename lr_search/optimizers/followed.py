"""Optimizers of a loop that is not ours, as they follow a schedule: one scheduler, each step of which is counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch

from lr_search.errors import WorkloadError, require
from lr_search.optimizers.accelerated import is_accelerated
from lr_search.optimizers.param_groups import AttachedSchedule, Optimizers, group_ratios, set_lr
from lr_search.schedules.base import Schedule

LEAST_LR = 1e-30  # in the place of a warm-up's first LR of 0, to which no parameter group would have a ratio


class FollowedSchedule(AttachedSchedule):
    """A schedule attached to one optimizer of a training function: a step of it is a step of the training."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedule: Schedule, count: Callable[[], None] | None, times: float = 1.0
    ) -> None:
        self._count: Callable[[], None] | None = None
        self._stood_in = False
        super().__init__(optimizer, schedule)
        self.ratios = [times * ratio for ratio in self.ratios]
        self.built_lr /= times  # to which the LR of a group that is added later has its ratio
        self._stood_in = self.built_lr < 1e6 * LEAST_LR
        self.change(schedule)
        self._count = count

    def step(self, epoch: int | None = None) -> None:
        """Set the LR of the next step, and count the one that was taken."""
        before = self.last_epoch
        if before >= 0:
            self._require_untouched()
        if self._stood_in:  # an LR that nothing has a ratio to: a group that is added now has one to the present LR
            self.built_lr = self.schedule(before) or self.built_lr
        super().step(epoch)
        if self._count is not None and self.last_epoch != before:
            self._count()

    def _require_untouched(self) -> None:
        lr = self.schedule(self.last_epoch)
        for group, ratio in zip(self.optimizer.param_groups, self.ratios, strict=False):
            if not math.isclose(float(group["lr"]), lr * ratio, rel_tol=1e-4):
                raise WorkloadError(
                    "The LR of an attached optimizer must be set by run.attach's scheduler alone, but in step "
                    f"{self.last_epoch + 1} it was {float(group['lr']):.4g} where {lr * ratio:.4g} had been set. Take out what else "
                    'sets it: another scheduler, or lines such as group["lr"] = ...'
                )

    def change(self, schedule: Schedule) -> None:
        """Follow another schedule from the present step on."""
        self.schedule = schedule
        self._last_lr = self.get_lr()
        set_lr(self.optimizer, schedule(self.last_epoch), self.ratios)


class FollowedSchedules:
    """A schedule attached to several optimizers: the groups of all keep their ratios to the first of the first."""

    def __init__(self, followed: Sequence[FollowedSchedule], count: Callable[[], None]) -> None:
        self.schedulers, self._count = list(followed), count

    def step(self) -> None:
        """Set the LRs of the next step, and count the one that was taken: once after all optimizers have stepped."""
        before = [scheduler.last_epoch for scheduler in self.schedulers]
        for scheduler in self.schedulers:
            scheduler.step()
        if before != [scheduler.last_epoch for scheduler in self.schedulers]:
            self._count()

    def change(self, schedule: Schedule) -> None:
        """Follow another schedule from the present step on."""
        for scheduler in self.schedulers:
            scheduler.change(schedule)

    def get_last_lr(self) -> list[float | torch.Tensor]:
        """The LR of each group, optimizer by optimizer."""
        return [lr for scheduler in self.schedulers for lr in scheduler.get_last_lr()]


def plain_optimizers(given: Any) -> list[torch.optim.Optimizer]:
    """Torch's optimizers in what a training function attaches: within wrappers that keep them as `optimizer`.

    Raises:
        InvalidInputError: there is none, something else, or one twice.
    """
    found = [_unwrapped(each) for each in (given if isinstance(given, list | tuple) else [given])]
    good = bool(found) and all(isinstance(each, torch.optim.Optimizer) for each in found)
    rule = "run.attach must be given a torch optimizer, or a list of them"
    require(good, rule, "Without one, read run.lr, and call run.step().", got=given)
    require(len({id(each) for each in found}) == len(found), "run.attach must be given each optimizer once", got=given)
    return found


def _unwrapped(optimizer: Any) -> Any:
    inner = getattr(optimizer, "optimizer", None)
    return _unwrapped(inner) if isinstance(inner, torch.optim.Optimizer) else optimizer


def follow(
    given: Optimizers, optimizers: Sequence[torch.optim.Optimizer], schedule: Schedule, count: Callable[[], None]
) -> FollowedSchedule | FollowedSchedules:
    """Have optimizers follow a schedule.

    Args:
        given: as the training function attached them: one, or a list.
        optimizers: torch's in it.
        schedule: step -> LR of the first group of the first.
        count: is called at each step.

    Raises:
        InvalidInputError: a group's LR has no ratio to the first's.
    """
    ratios = iter(group_ratios(optimizers))
    times = [list(islice(ratios, len(each.param_groups)))[0] for each in optimizers]  # noqa: RUF015  it takes them all
    if not isinstance(given, list | tuple):
        followed = [FollowedSchedule(optimizers[0], schedule, count)]
    else:
        followed = [FollowedSchedule(each, schedule, None, t) for each, t in zip(optimizers, times, strict=True)]
    for each, scheduler in zip(given if isinstance(given, list | tuple) else [given], followed, strict=True):
        if is_accelerated(each):
            scheduler.follow_steps_taken()
    return FollowedSchedules(followed, count) if isinstance(given, list | tuple) else followed[0]
