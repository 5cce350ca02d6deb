"""What every schedule is: a pure function of the step."""

from __future__ import annotations

import math
import textwrap
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
import numpy.typing as npt

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.checked import checked, taken
from lr_search.kinds.containers import NUMBERS
from lr_search.kinds.ranges import NumSteps, PositiveLR, Steps
from lr_search.schedules.source import TorchCall

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LRScheduler


MOST_STEPS = 10**8  # that a schedule is walked through, step by step
MOST_ENDS = 10**6  # of cycles
_BLOCK = 10**6


@checked
class Schedule(ABC):
    """A pure function `step -> lr`. Step t is the t-th optimizer step of a training, counted from 0.

    A schedule of your own is a frozen dataclass of numbers (so that it pickles and compares by value) that defines `values` and
    `describe`; a cyclic one also `cycle_ends`, and one that moves the momentum too `momenta`. Calling, `join`, `warmup` and
    `attach` then work, `train` takes it, and `compare` a function of the peak LR: `schedules={"harmonic": Harmonic}`.

    So that it goes by name too, write beside the class how it is laid out for a training, a function
    `(lr, num_steps, steps_per_epoch=None, **options) -> Schedule` with `lr` as the peak, and register that function as an entry
    point of the group `lr_search.schedules`. So that a recommendation comes with its code for a plain PyTorch loop, define one
    or both of the writers: `torch_call`, where one of torch's schedulers gives the same LRs, and `factor_lines`, the body of a
    function for torch's LambdaLR. A writer holds for the class that defines it, not for classes derived from that one.

    >>> from dataclasses import dataclass
    >>> from lr_search.schedules.source import number
    >>> @dataclass(frozen=True)
    ... class Harmonic(Schedule):
    ...     lr: float
    ...
    ...     def values(self, steps):
    ...         return self.lr / (1 + steps)
    ...
    ...     def describe(self):
    ...         return f"harmonic from {self.lr:.3g}"
    ...
    ...     def factor_lines(self, lr, num_steps):
    ...         return [f"return {number(self.lr / lr)} / (1 + step)"]
    >>> Harmonic(lr=1.0)([0, 1, 4]).tolist()
    [1.0, 0.5, 0.2]
    >>> Harmonic(lr=1.0).factor_lines(lr=0.5, num_steps=100)
    ['return 2.0 / (1 + step)']
    """

    kind_remedy: ClassVar[str] = "Make one with lr_search.schedules.by_name(...)."

    @abstractmethod
    def values(self, steps: FloatArray) -> FloatArray:
        """The LR at each step. Args: steps (n,), all >= 0. Returns: (n,)."""

    @abstractmethod
    def describe(self) -> str:
        """One line for the report: the shape in words and numbers, and why it was laid out so."""

    def __str__(self) -> str:
        return textwrap.fill(self.describe(), width=80)

    @overload
    def __call__(self, step: float) -> float: ...
    @overload
    def __call__(self, step: npt.ArrayLike) -> FloatArray: ...
    def __call__(self, step: Any) -> Any:
        """The LR at `step`: a float for a number, an array (steps,) for an array.

        Raises:
            InvalidInputError: a step is negative or not finite.
        """
        steps = _checked(step)
        lr = self.values(steps.ravel())
        return float(lr[0]) if steps.ndim == 0 else lr.reshape(steps.shape)

    def momenta(self, steps: FloatArray) -> FloatArray:
        """The momentum at each step, nan where it is left alone. Args: steps (n,), all >= 0. Returns: (n,)."""
        return np.full(steps.shape, math.nan)

    @overload
    def momentum(self, step: float) -> float | None: ...
    @overload
    def momentum(self, step: npt.ArrayLike) -> FloatArray: ...
    def momentum(self, step: Any) -> Any:
        """The momentum (Adam's first beta) at `step`: None, or nan in an array, where the optimizer's own is left alone."""
        steps = _checked(step)
        momentum = self.momenta(steps.ravel())
        if steps.ndim:
            return momentum.reshape(steps.shape)
        return None if math.isnan(momentum[0]) else float(momentum[0])

    def cycle_ends(self, num_steps: Steps) -> list[int]:
        """The numbers of steps done, up to `num_steps`, at which a cycle ends; empty for a schedule without cycles."""
        return []

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall | None:
        """The schedule as one of torch's own schedulers; None where none gives the same LRs.

        Args:
            num_steps: how many steps it is followed for, from its beginning.
            momentum: whether its momentum is to be moved too.
            groups: parameter groups of the optimizer, >= 1.
        """
        return None

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str] | None:
        """The body of `def factor(step)`, which gives the LR over `lr`; None where it cannot be said in plain Python.

        Args:
            lr: of the optimizer: `highest_lr`, or what a schedule joined to this one has.
            num_steps: how many steps it is followed for, from its beginning.

        Returns:
            Its lines, not indented, which may use `step` and `math`.
        """
        return None

    def highest_lr(self, num_steps: NumSteps) -> float:
        """The LR at the highest of its first `num_steps` steps, which `factor_lines` is first asked to count from."""
        rule = f"num_steps must be from 1 to {MOST_STEPS:,}"
        require(1 <= num_steps <= MOST_STEPS, rule, num_steps=num_steps)
        blocks = range(0, num_steps, _BLOCK)
        return max(float(np.max(self(np.arange(start, min(start + _BLOCK, num_steps))))) for start in blocks)

    def attach(self, optimizer: torch.optim.Optimizer, last_epoch: int = -1) -> LRScheduler:
        """A torch `LRScheduler` that follows this schedule, for loops that are not ours.

        Each parameter group's LR is the schedule times the ratio its LR had to the first group's.
        Call `.step()` once after each optimizer step.
        """
        from lr_search.optimizers.param_groups import AttachedSchedule

        return AttachedSchedule(optimizer, self, last_epoch)


def _checked(step: Any) -> FloatArray:
    steps = np.asarray(taken(NUMBERS, "step", step), dtype=np.float64)
    require(bool(np.all(np.isfinite(steps) & (steps >= 0))), "step must be at least 0, and finite", step=step)
    return steps


def require_peak(lr: float, **others: float) -> None:
    """Raises: InvalidInputError: the peak LR is not positive and finite."""
    require(lr > 0 and math.isfinite(lr), "lr must be positive and finite", lr=lr, **others)


def require_end(lr: float, end_lr: float) -> None:
    """Raises: InvalidInputError: the last LR does not lie between 0 and the peak."""
    require(0 <= end_lr <= lr, "end_lr must lie between 0 and lr", end_lr=end_lr, lr=lr)


def require_length(**steps: float) -> None:
    """Raises: InvalidInputError: a number of steps is below 1, or not finite."""
    for name, value in steps.items():
        require(1 <= value < math.inf, f"{name} must be at least 1 step, and finite", **{name: value})
