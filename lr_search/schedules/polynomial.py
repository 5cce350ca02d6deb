"""Decay to an end by a power of the steps that are left, and a straight line, which may also rise."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import NumSteps, PositiveLR
from lr_search.schedules.base import Schedule, require_end, require_length, require_peak
from lr_search.schedules.layout import ENDS, Range, checked_layout, end_lr_of, searchable
from lr_search.schedules.source import TorchCall, line, number, share_done, whole


@checked
@dataclass(frozen=True)
class Polynomial(Schedule):
    """Falls from `lr` to `end_lr` as a power of the steps that are left, then stays there.

    lr(t) = end_lr + (lr - end_lr) * (1 - t / num_steps)^power

    Args:
        lr: LR at step 0, > 0.
        num_steps: steps to `end_lr`, >= 1.
        power: > 0; 1 is a straight line.
        end_lr: the last LR, from 0 to `lr`.
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> Polynomial(lr=1.0, num_steps=4, power=2)([0, 2, 4, 9]).tolist()
    [1.0, 0.25, 0.0, 0.0]
    """

    lr: float
    num_steps: float
    power: float = 1.0
    end_lr: float = 0.0
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_peak(self.lr)
        require_length(num_steps=self.num_steps)
        require(0 < self.power < np.inf, "power must be positive and finite", power=self.power)
        require_end(self.lr, self.end_lr)

    def values(self, steps: FloatArray) -> FloatArray:
        """lr(t) = end_lr + (lr - end_lr) * (1 - min(1, t / num_steps))^power."""
        left = 1 - np.minimum(steps / self.num_steps, 1.0)
        return np.asarray(self.end_lr + (self.lr - self.end_lr) * left**self.power)

    def describe(self) -> str:
        """Ends and power in words."""
        shape = f"polynomial of power {self.power:.3g} from {self.lr:.3g} to {self.end_lr:.3g} in {self.num_steps:.4g} steps"
        return f"{shape}. {self.note}".strip()

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall | None:
        """PolynomialLR, which always ends at 0."""
        steps = whole(self.num_steps)
        if steps is None or self.end_lr > 0:
            return None
        return TorchCall("PolynomialLR", [f"total_iters={steps}", f"power={number(self.power)}"], self.lr)

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """A power of the share that is left."""
        left = f"(1 - {share_done(self.num_steps, num_steps)}) ** {number(self.power)}"
        return [f"return {line(self.end_lr / lr, (self.lr - self.end_lr) / lr, left)}"]

    def highest_lr(self, num_steps: NumSteps) -> float:
        """Its first LR, without the rounding of the formula."""
        return self.lr


@checked_layout
@searchable(power=Range(0.5, 4.0, log=True))
def polynomial(
    lr: float, num_steps: int, steps_per_epoch: float | None = None, *, power: float = 2.0, final_ratio: float = 0.0
) -> Polynomial:
    """Polynomial decay of power 2 to 0.

    Options: power, > 0, and final_ratio, the last LR / lr, in [0, 1].
    """
    return Polynomial(lr, num_steps, power, end_lr_of(lr, final_ratio), note=ENDS)


@checked
@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from `lr` to `end_lr`, then constant. It may rise: `warmup` is made of it.

    lr(t) = lr + (end_lr - lr) * min(1, t / num_steps)

    Args:
        lr: LR at step 0, >= 0.
        num_steps: steps to `end_lr`, >= 1.
        end_lr: the last LR, >= 0; one of the two must be positive.
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> Linear(lr=1.0, num_steps=4)([0, 1, 4, 9]).tolist()
    [1.0, 0.75, 0.0, 0.0]
    """

    lr: float
    num_steps: float
    end_lr: float = 0.0
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        good = all(0 <= lr < np.inf for lr in (self.lr, self.end_lr)) and self.lr + self.end_lr > 0
        require(good, "lr and end_lr must be at least 0, not both 0, and finite", lr=self.lr, end_lr=self.end_lr)
        require_length(num_steps=self.num_steps)

    def values(self, steps: FloatArray) -> FloatArray:
        """lr(t) = lr + (end_lr - lr) * min(1, t / num_steps)."""
        return np.asarray(self.lr + (self.end_lr - self.lr) * np.minimum(steps / self.num_steps, 1.0))

    def describe(self) -> str:
        """Its ends in words."""
        return f"linear from {self.lr:.3g} to {self.end_lr:.3g} in {self.num_steps:.4g} steps. {self.note}".strip()

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall | None:
        """LinearLR; a rise from 0, which that refuses, by LambdaLR."""
        first_lr, steps = self.highest_lr(num_steps), whole(self.num_steps)
        if self.lr == 0:
            return TorchCall("LambdaLR", [f"lambda step: {share_done(self.num_steps, num_steps)}"], first_lr)
        if steps is None:
            return None
        ends = [f"start_factor={number(self.lr / first_lr)}", f"end_factor={number(self.end_lr / first_lr)}"]
        return TorchCall("LinearLR", [*ends, f"total_iters={steps}"], first_lr)

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """A share of the way from one end to the other."""
        done = share_done(self.num_steps, num_steps)
        return [f"return {line(self.lr / lr, (self.end_lr - self.lr) / lr, done)}"]

    def highest_lr(self, num_steps: NumSteps) -> float:
        """The higher of its ends, also where it is followed for less than its length."""
        return max(self.lr, self.end_lr)


@checked_layout
def linear(lr: float, num_steps: int, steps_per_epoch: float | None = None, *, final_ratio: float = 0.0) -> Linear:
    """Linear decay to 0 (Defazio et al., 2023, arXiv:2310.07831).

    Option: final_ratio, the last LR / lr, in [0, 1].
    """
    return Linear(lr, num_steps, end_lr_of(lr, final_ratio), note=ENDS)
