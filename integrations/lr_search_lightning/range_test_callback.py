"""A callback that sets the LR of a fit by a range test, before its first step."""

from __future__ import annotations

from typing import Any

import torch

from lr_search.curves.curve import LRCurve
from lr_search.curves.suggest import Suggestion
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.optimizers.param_groups import group_ratios
from lr_search.rng import preserved_rng
from lr_search_lightning.lightning_names import Callback
from lr_search_lightning.ramp_in_fit import ramp_in_fit


@checked
class RangeTest(Callback):  # type: ignore[misc]  # of whichever package is installed
    """`Trainer(callbacks=[RangeTest()])`: a range test at the beginning of the fit, and then the fit at the LR that it suggests.

    Each parameter group keeps the ratio of its LR to the first one's; the LRs that the module's schedulers start from and lead to
    are multiplied by the same factor. All else of the training is as without: weights, random numbers, the order of the data,
    what is logged. A fit that goes on from a checkpoint keeps its LR. Under DDP all processes find the same.

    Args:
        schedule: the name of the schedule that the fit runs under, such as "cosine"; None: one that decays.
        **settings: of the ramp, as of `range_test`: start_lr, end_lr, num_steps, ramp, extend, gain_ratio.

    Attributes:
        curve: what the range test recorded; None before the fit.
        suggestion: what was read off it.

    Raises, at the fit's start:
        InvalidInputError: a range test cannot be run in a fit of this kind, or a setting breaks its rule.
    """

    def __init__(self, schedule: str | None = None, **settings: Any) -> None:
        known = ("start_lr", "end_lr", "num_steps", "ramp", "extend", "gain_ratio")
        unknown = sorted(set(settings) - set(known))
        require(not unknown, f"the settings of RangeTest are schedule, {', '.join(known)}", got=unknown)
        self._schedule, self._settings = schedule, settings
        self.curve: LRCurve | None = None
        self.suggestion: Suggestion | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Run the ramp, and set the LRs."""
        if trainer.global_step > 0:
            return
        with preserved_rng(trainer.strategy.root_device):
            self.curve = ramp_in_fit(trainer, **self._settings)
            self.suggestion = self.curve.suggest(schedule=self._schedule)
        (optimizer,) = trainer.optimizers
        factor = self.suggestion.lr / peak_lr(optimizer)
        scale_lrs(optimizer, [config.scheduler for config in trainer.lr_scheduler_configs], factor)

    def plot(self, **options: Any) -> Any:
        """The curve with what is suggested, as of `LRCurve.plot`. Raises: InvalidInputError: the fit has not begun."""
        require(self.curve is not None, "plot() needs a fit that has begun", "Call it after trainer.fit.")
        assert self.curve is not None
        return self.curve.plot(**options)


def peak_lr(optimizer: torch.optim.Optimizer) -> float:
    """The LR that the first group's schedule is scaled by: its base, not the beginning of a warm-up."""
    group_ratios(optimizer)  # refuses LRs that cannot be scaled
    first = optimizer.param_groups[0]
    return float(first.get("max_lr", first.get("initial_lr", first["lr"])))


def scale_lrs(optimizer: torch.optim.Optimizer, schedulers: list[Any], factor: float) -> None:
    """Multiply every group's LR, and the LRs that schedulers start from, lead to and end at, by the same factor."""
    for group in optimizer.param_groups:
        for name in ("lr", "initial_lr", "max_lr", "min_lr"):
            if isinstance(group.get(name), torch.Tensor):
                group[name].mul_(factor)
            elif name in group:
                group[name] *= factor
    waiting, seen = list(schedulers), set()
    while waiting:
        scheduler = waiting.pop()
        if id(scheduler) in seen:
            continue
        seen.add(id(scheduler))
        waiting += getattr(scheduler, "_schedulers", ())
        for name in ("base_lrs", "max_lrs", "_last_lr"):
            if hasattr(scheduler, name):
                setattr(scheduler, name, [value * factor for value in getattr(scheduler, name)])
