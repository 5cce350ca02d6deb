"""Cyclical learning rates (Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186)."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import NumSteps, PositiveLR, Steps
from lr_search.schedules.base import MOST_ENDS, Schedule
from lr_search.schedules.cycles import triangles
from lr_search.schedules.layout import Range, checked_layout, searchable
from lr_search.schedules.source import TorchCall, line, number, steps_text

BASE_RATIO = 1 / 4  # base_lr = max_lr / 3 or / 4 (Smith 2017, section 3.3)
CYCLES = Range(3, 8, whole=True)
CLR_BASE = Range(1 / 20, 1 / 2, log=True)


@checked
@dataclass(frozen=True)
class Cyclical(Schedule):
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

    def cycle_ends(self, num_steps: Steps) -> list[int]:
        """Every 2 * step_size steps, to the nearest step."""
        # 1e-9: a step_size of num_steps / (2 * cycles) may round to just beyond the last step
        count = int(num_steps / (2 * self.step_size) + 1e-9)
        require(count <= MOST_ENDS, f"there must be at most {MOST_ENDS:,} cycles in num_steps", num_steps=num_steps)
        return [round(2 * self.step_size * cycle) for cycle in range(1, count + 1)]

    def highest_lr(self, num_steps: NumSteps) -> float:
        """The upper bound."""
        return self.max_lr

    def bounds_text(self) -> str:
        """Bounds and length of a cycle in words."""
        return f"between {self.base_lr:.3g} and {self.max_lr:.3g}, cycles of {2 * self.step_size:.4g} steps"

    def cyclic_lr(self, mode: str, *decay: str) -> TorchCall:
        """Torch's CyclicLR in that mode; without its momentum, which these do not move."""
        bounds = [f"base_lr={number(self.base_lr)}", f"max_lr={number(self.max_lr)}"]
        shape = [f"step_size_up={steps_text(self.step_size)}", f'mode="{mode}"', *decay]
        return TorchCall("CyclicLR", [*bounds, *shape, "cycle_momentum=False"], self.base_lr, one_group_only=True)

    def triangle_factor(self, lr: PositiveLR) -> str:
        """The source of the triangle between its bounds over `lr`, without amplitude, where `up` is how far up it is."""
        return line(self.base_lr / lr, (self.max_lr - self.base_lr) / lr, "up")

    def triangle_lines(self, value: str, into: str = "into = step % {cycle}") -> list[str]:
        """Source that finds `up`, and returns `value`."""
        return [
            into.format(cycle=steps_text(2 * self.step_size)),
            f"up = 1 - abs(into / {steps_text(self.step_size)} - 1)  # 0 at a cycle's ends, 1 in its middle",
            f"return {value}",
        ]


@checked
@dataclass(frozen=True)
class Triangular(Cyclical):
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
        return f"triangular {self.bounds_text()}. {self.note}".strip()

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall:
        """CyclicLR in its first mode."""
        return self.cyclic_lr("triangular")

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """The triangle."""
        return self.triangle_lines(self.triangle_factor(lr))


@checked_layout
@searchable(cycles=CYCLES, base_ratio=CLR_BASE)
def triangular(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    base_ratio: float = BASE_RATIO,
    cycles: int | None = None,
    step_size: float | None = None,
) -> Triangular:
    """Smith's triangular policy from lr/4 to lr (arXiv:1506.01186).

    Args:
        lr: the peak.
        num_steps: steps in the training.
        steps_per_epoch: steps in one pass over the data.
        base_ratio: base_lr / lr, in (0, 1).
        cycles: how many; default: at least 3, 4 where half a cycle is then 2 epochs, more where it would be above 10.
        step_size: steps in half a cycle, in place of `cycles`.
    """
    size, note = triangles(num_steps, steps_per_epoch, cycles, step_size)
    return Triangular(base_lr_of(lr, base_ratio), lr, size, note=base_note(base_ratio) + note)


@checked
@dataclass(frozen=True)
class Triangular2(Cyclical):
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
        return f"triangular, its height halved each cycle, {self.bounds_text()}. {self.note}".strip()

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall:
        """CyclicLR in its second mode."""
        return self.cyclic_lr("triangular2")

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """The triangle, and a power of the cycle."""
        return self.triangle_lines(f"{self.triangle_factor(lr)} / 2**cycle", "cycle, into = divmod(step, {cycle})")


@checked_layout
@searchable(cycles=CYCLES, base_ratio=CLR_BASE)
def triangular2(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    base_ratio: float = BASE_RATIO,
    cycles: int | None = None,
    step_size: float | None = None,
) -> Triangular2:
    """Smith's triangular2 policy: the triangle's height halves each cycle (arXiv:1506.01186).

    Options as of `triangular`.
    """
    size, note = triangles(num_steps, steps_per_epoch, cycles, step_size)
    return Triangular2(base_lr_of(lr, base_ratio), lr, size, note=base_note(base_ratio) + note)


def base_lr_of(lr: float, base_ratio: float) -> float:
    """The lower bound, by its ratio to the peak.

    Raises:
        InvalidInputError: the ratio does not lie between 0 and 1.
    """
    require(0 < base_ratio < 1, "base_ratio must lie between 0 and 1", base_ratio=base_ratio)
    return lr * base_ratio


def base_note(base_ratio: float) -> str:
    """Where the lower bound comes from, in words."""
    why = " (Smith: 1/3 or 1/4)" if base_ratio == BASE_RATIO else " as asked for"
    return f"base_lr is {base_ratio:.3g} of the peak{why}. "
