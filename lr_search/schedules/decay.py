"""Decay by a formula: in steps, exponential, polynomial, linear and by the inverse square root."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.schedules.base import Schedule, require_end, require_length, require_peak


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiplies the LR by `gamma` every `step_size` steps. For uneven stairs, `join` constants.

    lr(t) = lr * gamma^floor(t / step_size)

    Args:
        lr: LR at step 0, > 0.
        step_size: steps between two drops, >= 1; may be fractional.
        gamma: factor of a drop, in (0, 1].
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> StepDecay(lr=1.0, step_size=10, gamma=0.5)([0, 9, 10, 25]).tolist()
    [1.0, 1.0, 0.5, 0.25]
    """

    lr: float
    step_size: float
    gamma: float = 0.1
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_peak(self.lr)
        require_length(step_size=self.step_size)
        _require_gamma(self.gamma)

    def values(self, steps: FloatArray) -> FloatArray:
        """See the class."""
        # 1e-9: a step_size of num_steps / 3 may round to just beyond the step it is meant for
        return np.asarray(self.lr * self.gamma ** np.floor(steps / self.step_size + 1e-9))

    def describe(self) -> str:
        """LR and drops in words."""
        return f"steps down from {self.lr:.3g}, times {self.gamma:.3g} every {self.step_size:.4g} steps. {self.note}".strip()


@dataclass(frozen=True)
class Exponential(Schedule):
    """Multiplies the LR by `gamma` at every step.

    lr(t) = lr * gamma^t

    Args:
        lr: LR at step 0, > 0.
        gamma: factor a step, in (0, 1].
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> Exponential(lr=1.0, gamma=0.5)([0, 1, 2]).tolist()
    [1.0, 0.5, 0.25]
    """

    lr: float
    gamma: float
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_peak(self.lr)
        _require_gamma(self.gamma)

    def values(self, steps: FloatArray) -> FloatArray:
        """See the class."""
        return np.asarray(self.lr * self.gamma**steps)

    def describe(self) -> str:
        """LR and factor in words."""
        return f"exponential from {self.lr:.3g}, times {self.gamma:.6g} a step. {self.note}".strip()


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
        """See the class."""
        left = 1 - np.minimum(steps / self.num_steps, 1.0)
        return np.asarray(self.end_lr + (self.lr - self.end_lr) * left**self.power)

    def describe(self) -> str:
        """Ends and power in words."""
        shape = f"polynomial of power {self.power:.3g} from {self.lr:.3g} to {self.end_lr:.3g} in {self.num_steps:.4g} steps"
        return f"{shape}. {self.note}".strip()


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
        """See the class."""
        return np.asarray(self.lr + (self.end_lr - self.lr) * np.minimum(steps / self.num_steps, 1.0))

    def describe(self) -> str:
        """Its ends in words."""
        return f"linear from {self.lr:.3g} to {self.end_lr:.3g} in {self.num_steps:.4g} steps. {self.note}".strip()


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """Falls as the inverse square root of the step; under `warmup` of `timescale` steps it is the transformer's.

    lr(t) = lr * sqrt(timescale / (t + timescale))

    Args:
        lr: LR at step 0, > 0.
        timescale: steps after which the LR has fallen by sqrt(2), >= 1.
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 5.3.

    >>> InverseSqrt(lr=1.0, timescale=100)([0, 300]).tolist()
    [1.0, 0.5]
    """

    lr: float
    timescale: float
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_peak(self.lr)
        require_length(timescale=self.timescale)

    def values(self, steps: FloatArray) -> FloatArray:
        """See the class."""
        return np.asarray(self.lr * np.sqrt(self.timescale / (steps + self.timescale)))

    def describe(self) -> str:
        """LR and time scale in words."""
        return f"inverse square root from {self.lr:.3g} on a scale of {self.timescale:.4g} steps. {self.note}".strip()


def _require_gamma(gamma: float) -> None:
    require(0 < gamma <= 1, "gamma must be above 0 and at most 1", gamma=gamma)
