"""Warm restarts (Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, arXiv:1608.03983)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import NumSteps, PositiveLR, Steps
from lr_search.schedules.base import MOST_ENDS, Schedule
from lr_search.schedules.cycles import restarts
from lr_search.schedules.layout import Range, checked_layout, searchable
from lr_search.schedules.source import TorchCall, number, steps_text, whole

T_MULT = 2  # SGDR's own choice for its anytime results (section 4.1)
RESTART_ROUNDING = 1e-6  # steps: a T_0 laid out from num_steps may put a restart just beyond the step it is meant for


@checked
@dataclass(frozen=True)
class SGDR(Schedule):
    r"""Anneals by a cosine from `max_lr` to `base_lr`, then restarts at the top; cycle i is T_0 * T_mult^i steps long.

    lr(t) = base_i + (max_i - base_i) / 2 * (1 + cos(pi * T_cur / T_i)),   T_i = T_0 * T_mult^i,   T_cur = steps since restart i,
    base_i = base_lr * base_decay^i,   max_i = max_lr * decay^i, but never below base_i

    Args:
        base_lr: the floor, eta_min in the paper; >= 0.
        max_lr: LR at the first start, eta_max in the paper; > base_lr.
        T_0: steps in the first cycle, >= 1; may be fractional.
        T_mult: how much longer each cycle is than the one before, >= 1.
        decay: the peak's factor at each restart, in (0, 1]. The paper suggests it for long trainings.
        base_decay: the floor's factor at each restart, in (0, 1].
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> schedule = SGDR(base_lr=0.0, max_lr=1.0, T_0=4, T_mult=2)
    >>> schedule(np.array([0, 2, 4, 8])).round(6).tolist()
    [1.0, 0.5, 1.0, 0.5]
    >>> schedule.cycle_ends(28)
    [4, 12, 28]
    """

    base_lr: float
    max_lr: float
    T_0: float
    T_mult: float = 1.0
    decay: float = 1.0
    base_decay: float = 1.0
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require(self.base_lr >= 0, "base_lr must be at least 0", base_lr=self.base_lr)
        require(self.max_lr > self.base_lr, "max_lr must be above base_lr", max_lr=self.max_lr, base_lr=self.base_lr)
        require(math.isfinite(self.max_lr), "max_lr must be finite", max_lr=self.max_lr)
        require(
            1 <= self.T_0 < math.inf,
            "T_0 must be at least 1 step, and finite",
            "Train for more steps or in fewer cycles.",
            T_0=self.T_0,
        )
        require(1 <= self.T_mult < math.inf, "T_mult must be at least 1, and finite", T_mult=self.T_mult)
        require(0 < self.decay <= 1, "decay must be above 0 and at most 1", decay=self.decay)
        require(0 < self.base_decay <= 1, "base_decay must be above 0 and at most 1", base_decay=self.base_decay)

    def _start(self, cycle: FloatArray) -> FloatArray:
        """The step at which cycle i starts, a geometric sum. (n,) -> (n,)."""
        if self.T_mult == 1:
            return cycle * self.T_0
        return self.T_0 * (self.T_mult**cycle - 1) / (self.T_mult - 1)

    def _cycle(self, steps: FloatArray) -> FloatArray:
        """The cycle each step lies in. (n,) -> (n,)."""
        if self.T_mult == 1:
            cycle = np.floor(steps / self.T_0)
        else:
            cycle = np.floor(np.log1p(steps * (self.T_mult - 1) / self.T_0) / np.log(self.T_mult))
        # the logarithm may round across a boundary: set it right by the exact starts
        cycle = np.where(self._start(cycle + 1) <= steps + RESTART_ROUNDING, cycle + 1, cycle)
        return np.where(self._start(cycle) > steps + RESTART_ROUNDING, cycle - 1, cycle)

    def values(self, steps: FloatArray) -> FloatArray:
        """Half a cosine from each cycle's peak to its floor."""
        cycle = self._cycle(steps)
        done = np.maximum(0.0, steps - self._start(cycle)) / (self.T_0 * self.T_mult**cycle)  # T_cur / T_i
        base = self.base_lr * self.base_decay**cycle
        peak = np.maximum(base, self.max_lr * self.decay**cycle)
        return np.asarray(base + (peak - base) / 2 * (1 + np.cos(np.pi * done)))

    def cycle_ends(self, num_steps: Steps) -> list[int]:
        """The restarts, to the nearest step."""
        count = int(self._cycle(np.array([float(num_steps)]))[0]) + 1  # one more than may end: the last is looked at
        require(count <= MOST_ENDS, f"there must be at most {MOST_ENDS:,} cycles in num_steps", num_steps=num_steps)
        ends = self._start(np.arange(1.0, count + 1))
        return [round(end) for end in ends[ends <= num_steps + RESTART_ROUNDING].tolist()]

    def describe(self) -> str:
        """Bounds, cycle lengths and decay in words."""
        decay = f", the peak times {self.decay:.3g} at each restart" if self.decay < 1 else ""
        decay += f", the floor times {self.base_decay:.3g}" if self.base_decay < 1 else ""
        shape = f"cosine from {self.max_lr:.3g} to {self.base_lr:.3g}, restarted after {self.T_0:.4g} steps"
        return f"{shape}, each cycle {self.T_mult:.3g} times the last{decay}. {self.note}".strip()

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall | None:
        """CosineAnnealingWarmRestarts, which knows whole numbers of steps and no decay."""
        first, growth = whole(self.T_0), whole(self.T_mult)
        if first is None or growth is None or min(self.decay, self.base_decay) < 1:
            return None
        arguments = [f"T_0={first}", f"T_mult={growth}"]
        arguments += [f"eta_min={number(self.base_lr)}"] if self.base_lr > 0 else []
        return TorchCall("CosineAnnealingWarmRestarts", arguments, self.max_lr, one_group_only=self.base_lr > 0)

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """The cycle and the share of it that is done, its floor and peak, and half a cosine between them."""
        low, high = (
            number(bound / lr) + (f" * {number(decay)}**cycle" if decay < 1 and bound else "")
            for bound, decay in ((self.base_lr, self.base_decay), (self.max_lr, self.decay))
        )
        return [
            *self._share_lines(),
            f"low = {low}",
            f"high = {f'max(low, {high})' if self.decay < 1 else high}",
            "return low + (high - low) * (1 + math.cos(math.pi * share)) / 2",
        ]

    def _share_lines(self) -> list[str]:
        """Source that finds `cycle`, and the `share` of it that is done."""
        first, remark = steps_text(self.T_0), "# rounding may have put a restart just beyond its step"
        if self.T_mult == 1:
            return [
                f"length = {first}",
                f"cycle = int((step + {RESTART_ROUNDING}) / length)  {remark}",
                "share = max(0, step - cycle * length) / length",
            ]
        return [
            f"cycle, start, length = 0, 0, {first}",
            f"while step >= start + length - {RESTART_ROUNDING}:  {remark}",
            f"    cycle, start, length = cycle + 1, start + length, length * {steps_text(self.T_mult)}",
            "share = max(0, step - start) / length",
        ]

    def highest_lr(self, num_steps: NumSteps) -> float:
        """The first cycle's peak."""
        return self.max_lr


@checked_layout
@searchable(cycles=Range(3, 6, whole=True), T_mult=Range(1.0, 2.0), base_ratio=Range(0.001, 0.3, log=True))
def sgdr(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    T_mult: float = T_MULT,
    cycles: int | None = None,
    T_0: float | None = None,
    base_ratio: float = 0.0,
    decay: float = 1.0,
    base_decay: float = 1.0,
) -> SGDR:
    """Cosine annealing to 0 with warm restarts, each cycle twice the last (arXiv:1608.03983).

    Args:
        lr: the peak.
        num_steps: steps in the training.
        steps_per_epoch: steps in one pass over the data.
        T_mult: how much longer each cycle is than the one before, >= 1.
        cycles: how many; default: at least 3, 4 where the first is then an epoch, more where it would be above 10 epochs.
        T_0: steps in the first cycle, in place of `cycles`.
        base_ratio: the floor / lr, in [0, 1).
        decay: the peak's factor at each restart.
        base_decay: the floor's.
    """
    first, note = restarts(num_steps, steps_per_epoch, T_mult, cycles, T_0)
    require(0 <= base_ratio < 1, "base_ratio must be at least 0 and below 1", base_ratio=base_ratio)
    return SGDR(lr * base_ratio, lr, T_0=first, T_mult=T_mult, decay=decay, base_decay=base_decay, note=note)
