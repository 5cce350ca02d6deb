"""What every schedule is: a pure function of the step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LRScheduler

FloatArray: TypeAlias = npt.NDArray[np.float64]


class Schedule(ABC):
    """A pure function `step -> lr`. Step t is the t-th optimizer step of a training, counted from 0.

    A subclass is a frozen dataclass of numbers (so that schedules pickle and compare by value) and defines `values`;
    a cyclic one also defines `cycle_ends`. A schedule that moves the momentum too defines `momentum(step)`.
    """

    @abstractmethod
    def values(self, steps: FloatArray) -> FloatArray:
        """The LR at each step. Args: steps (n,), all >= 0. Returns: (n,)."""

    @abstractmethod
    def describe(self) -> str:
        """One line for the report: the shape in words and numbers, and why it was laid out so."""

    @overload
    def __call__(self, step: float) -> float: ...
    @overload
    def __call__(self, step: npt.ArrayLike) -> FloatArray: ...
    def __call__(self, step: Any) -> Any:
        """The LR at `step`: a float for a number, an array (steps,) for an array."""
        steps = np.asarray(step, dtype=np.float64)
        lr = self.values(np.atleast_1d(steps))
        return float(lr[0]) if steps.ndim == 0 else lr.reshape(steps.shape)

    def cycle_ends(self, num_steps: int) -> list[int]:
        """The numbers of steps done, up to `num_steps`, at which a cycle ends; empty for a schedule without cycles."""
        return []

    def attach(self, optimizer: torch.optim.Optimizer, last_epoch: int = -1) -> LRScheduler:
        """A torch `LRScheduler` that follows this schedule, for loops that are not ours.

        Each parameter group's LR is the schedule times the ratio its LR had to the first group's.
        Call `.step()` once after each optimizer step.
        """
        from lr_search.optim import AttachedSchedule

        return AttachedSchedule(optimizer, self, last_epoch)
