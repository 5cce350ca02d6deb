"""Smith's exp_range policy: a triangle that decays at every step (arXiv:1506.01186)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import NumSteps, PositiveLR
from lr_search.schedules.cycles import triangles
from lr_search.schedules.layout import Range, checked_layout, searchable
from lr_search.schedules.source import TorchCall, number
from lr_search.schedules.triangular import BASE_RATIO, CLR_BASE, CYCLES, Cyclical, base_lr_of, base_note

FINAL_RATIO = 1 / 10  # what its decay leaves at the end of the training


@checked
@dataclass(frozen=True)
class ExpRange(Cyclical):
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
    >>> schedule([0, 1, 2]).tolist()
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
        """The triangle between its bounds, with its height or both bounds decayed."""
        if self.decay == "amplitude":
            return super().values(steps)
        return (self.base_lr + (self.max_lr - self.base_lr) * self.triangle(steps)) * self.amplitude(steps)

    def describe(self) -> str:
        """Bounds, cycle length and decay in words."""
        decayed = "its height" if self.decay == "amplitude" else "both bounds"
        return f"triangular, {decayed} times {self.gamma:.6g} a step, {self.bounds_text()}. {self.note}".strip()

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall | None:
        """CyclicLR in its third mode, which knows the decay of the height alone."""
        return None if self.decay == "bounds" else self.cyclic_lr("exp_range", f"gamma={number(self.gamma)}")

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """The triangle, and a power of the step."""
        value = self.triangle_factor(lr)
        value = f"({value})" if self.decay == "bounds" else value
        return self.triangle_lines(f"{value} * {number(self.gamma)}**step")


@checked_layout
@searchable(cycles=CYCLES, base_ratio=CLR_BASE, final_ratio=Range(0.01, 1.0, log=True))
def exp_range(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    base_ratio: float = BASE_RATIO,
    cycles: int | None = None,
    step_size: float | None = None,
    final_ratio: float | None = None,
    gamma: float | None = None,
    decay: Literal["amplitude", "bounds"] = "amplitude",
) -> ExpRange:
    """Smith's exp_range policy: the triangle's height decays to a tenth by the end (arXiv:1506.01186).

    Args:
        lr: the peak.
        num_steps: steps in the training.
        steps_per_epoch: steps in one pass over the data.
        base_ratio: base_lr / lr, in (0, 1).
        cycles: how many; default: at least 3, 4 where half a cycle is then 2 epochs, more where it would be above 10.
        step_size: steps in half a cycle, in place of `cycles`.
        final_ratio: what the decay leaves at the end of the training, in (0, 1]: gamma^num_steps; default: a tenth.
        gamma: the decay a step, in place of `final_ratio`.
        decay: what decays: "amplitude" (torch's CyclicLR) or "bounds" (the paper).
    """
    size, note = triangles(num_steps, steps_per_epoch, cycles, step_size)
    gamma = _gamma(num_steps, final_ratio, gamma)
    base_lr = base_lr_of(lr, base_ratio)
    max_lr = (_upper_bound if decay == "bounds" else _first_height)(lr, base_lr, -size * math.log(gamma))
    decayed = "both bounds" if decay == "bounds" else "its height"
    note = f"{base_note(base_ratio)}{gamma**num_steps:.3g} of {decayed} is left at the end. {note}"
    return ExpRange(base_lr, max_lr, size, gamma=gamma, decay=decay, note=note)


def _gamma(num_steps: int, final_ratio: float | None, gamma: float | None) -> float:
    at_most_one = final_ratio is None or gamma is None
    require(
        at_most_one,
        "final_ratio and gamma must not both be given, for each gives the other",
        final_ratio=final_ratio,
        gamma=gamma,
    )
    if gamma is None:
        final_ratio = FINAL_RATIO if final_ratio is None else final_ratio
        require(0 < final_ratio <= 1, "final_ratio must be above 0 and at most 1", final_ratio=final_ratio)
        gamma = final_ratio ** (1 / num_steps)
    require(0 < gamma <= 1, "gamma must be above 0 and at most 1", gamma=gamma)
    return gamma


# The decay has begun when the first cycle is at its middle, so the upper bound is raised until the LR peaks at lr. The peak is
# in the middle, or before it where the decay outruns the rise; `fall` is the decay up to the middle, -log(gamma^step_size).


def _first_height(lr: float, base_lr: float, fall: float) -> float:
    """max_lr where the height decays. The rise x * exp(-fall * x), 0 <= x <= 1, is highest at x = 1 / fall."""
    x = 1.0 if fall <= 1 else 1 / fall
    return base_lr + (lr - base_lr) / (x * math.exp(-fall * x))


def _upper_bound(lr: float, base_lr: float, fall: float) -> float:
    """max_lr where both bounds decay: (base_lr + (max_lr - base_lr) * x) * exp(-fall * x) is highest at x = (1 - u) / fall.

    There u = fall * base_lr / (max_lr - base_lr), and the height is lr where exp(u - 1) / u = lr / base_lr.
    """
    if fall <= 1 - base_lr / lr * math.exp(-fall):
        return lr * math.exp(fall)
    u = base_lr / lr / math.e
    for _ in range(50):  # Newton's method; the function is convex and u starts below its root
        u += (u - math.log(u) - 1 - math.log(lr / base_lr)) * u / (1 - u)
    return base_lr * (1 + fall / u)
