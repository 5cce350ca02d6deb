"""Cyclical learning rates (Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186)."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.schedules.base import Schedule


@dataclass(frozen=True)
class _Cyclical(Schedule):
    """What the CLR policies share: a triangle between two bounds, which each policy scales in its own way."""

    base_lr: float
    max_lr: float
    step_size: float

    def __post_init__(self) -> None:
        require(self.base_lr > 0, "base_lr must be positive", base_lr=self.base_lr)
        require(self.max_lr > self.base_lr, "max_lr must be above base_lr", max_lr=self.max_lr, base_lr=self.base_lr)
        require(math.isfinite(self.max_lr), "max_lr must be finite", max_lr=self.max_lr)
        require(
            1 <= self.step_size < math.inf,
            "step_size must be at least 1 step (it is half a cycle), and finite",
            "Train for more steps or in fewer cycles.",
            step_size=self.step_size,
        )

    def triangle(self, steps: FloatArray) -> FloatArray:
        """How far up the triangle: 0 at a cycle's ends, 1 in its middle. (steps,) -> (steps,)."""
        cycle = np.floor(1 + steps / (2 * self.step_size))
        x = np.abs(steps / self.step_size - 2 * cycle + 1)
        return np.asarray(np.maximum(0.0, 1 - x))

    @abstractmethod
    def amplitude(self, steps: FloatArray) -> FloatArray:
        """What is left of the first cycle's height at each step. (steps,) -> (steps,)."""

    def values(self, steps: FloatArray) -> FloatArray:
        """lr(t) = base_lr + (max_lr - base_lr) * triangle(t) * amplitude(t)."""
        return self.base_lr + (self.max_lr - self.base_lr) * self.triangle(steps) * self.amplitude(steps)

    def cycle_ends(self, num_steps: int) -> list[int]:
        """Every 2 * step_size steps, to the nearest step."""
        # 1e-9: a step_size of num_steps / (2 * cycles) may round to just beyond the last step
        count = int(num_steps / (2 * self.step_size) + 1e-9)
        return [round(2 * self.step_size * cycle) for cycle in range(1, count + 1)]

    def _bounds(self) -> str:
        return f"between {self.base_lr:.3g} and {self.max_lr:.3g}, cycles of {2 * self.step_size:.4g} steps"


@dataclass(frozen=True)
class Triangular(_Cyclical):
    r"""Rises linearly from `base_lr` to `max_lr` and back, for ever.

    lr(t) = base_lr + (max_lr - base_lr) * max(0, 1 - x),   x = |t / step_size - 2 * cycle + 1|,   cycle = floor(1 + t / (2 * step_size))

    Args:
        base_lr: LR at a cycle's ends, > 0.
        max_lr: LR at its middle, > base_lr.
        step_size: steps in half a cycle, >= 1; may be fractional. Smith: 2 to 10 epochs of steps.
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> schedule = Triangular(base_lr=0.25, max_lr=1.25, step_size=4)
    >>> schedule(np.array([0, 2, 4, 8])).tolist()
    [0.25, 0.75, 1.25, 0.25]
    """

    note: str = field(default="", compare=False)

    def amplitude(self, steps: FloatArray) -> FloatArray:
        """Stays 1."""
        return np.ones_like(steps)

    def describe(self) -> str:
        """Bounds and cycle length in words."""
        return f"triangular {self._bounds()}. {self.note}".strip()


@dataclass(frozen=True)
class Triangular2(_Cyclical):
    r"""`Triangular`, with its height halved after each cycle.

    lr(t) = base_lr + (max_lr - base_lr) * max(0, 1 - x) / 2^(cycle - 1),   x and cycle as in `Triangular`

    Args:
        base_lr: LR at a cycle's ends, > 0.
        max_lr: LR in the middle of the first cycle, > base_lr.
        step_size: steps in half a cycle, >= 1; may be fractional. Smith: 2 to 10 epochs of steps.
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> schedule = Triangular2(base_lr=0.25, max_lr=1.25, step_size=4)
    >>> schedule(np.array([4, 12, 20])).tolist()
    [1.25, 0.75, 0.5]
    """

    note: str = field(default="", compare=False)

    def amplitude(self, steps: FloatArray) -> FloatArray:
        """Halves at each cycle's end."""
        return 0.5 ** np.floor(steps / (2 * self.step_size))

    def describe(self) -> str:
        """Bounds and cycle length in words."""
        return f"triangular, its height halved each cycle, {self._bounds()}. {self.note}".strip()


@dataclass(frozen=True)
class ExpRange(_Cyclical):
    r"""`Triangular`, decaying by `gamma` at every step.

    decay="amplitude":   lr(t) = base_lr + (max_lr - base_lr) * max(0, 1 - x) * gamma^t      (torch's CyclicLR)
    decay="bounds":      lr(t) = (base_lr + (max_lr - base_lr) * max(0, 1 - x)) * gamma^t    (the paper: both bounds decay)

    Args:
        base_lr: LR at step 0, > 0.
        max_lr: upper bound before the decay, > base_lr.
        step_size: steps in half a cycle, >= 1; may be fractional. Smith: 2 to 10 epochs of steps.
        gamma: decay a step, in (0, 1].
        decay: what decays: "amplitude" or "bounds".
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> schedule = ExpRange(base_lr=0.25, max_lr=1.25, step_size=2, gamma=0.5)
    >>> schedule(np.array([0, 1, 2])).tolist()
    [0.25, 0.5, 0.5]
    """

    gamma: float
    decay: Literal["amplitude", "bounds"] = "amplitude"
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.gamma <= 1, "gamma must be above 0 and at most 1", gamma=self.gamma)
        require(self.decay in ("amplitude", "bounds"), "decay must be 'amplitude' or 'bounds'", decay=self.decay)

    def amplitude(self, steps: FloatArray) -> FloatArray:
        """Shrinks by gamma a step."""
        return self.gamma**steps

    def values(self, steps: FloatArray) -> FloatArray:
        """See the class."""
        if self.decay == "amplitude":
            return super().values(steps)
        return (self.base_lr + (self.max_lr - self.base_lr) * self.triangle(steps)) * self.amplitude(steps)

    def describe(self) -> str:
        """Bounds, cycle length and decay in words."""
        what = "its height" if self.decay == "amplitude" else "both bounds"
        return f"triangular, {what} times {self.gamma:.6g} a step, {self._bounds()}. {self.note}".strip()
