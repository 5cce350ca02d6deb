"""One cosine from the peak to the end (Loshchilov and Hutter, 2017, arXiv:1608.03983, without its restarts)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import NumSteps, PositiveLR
from lr_search.schedules.base import Schedule, require_end, require_length, require_peak
from lr_search.schedules.layout import ENDS, checked_layout, end_lr_of
from lr_search.schedules.source import TorchCall, line, number, share_done, whole


@checked
@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from `lr` to `end_lr`, then constant.

    lr(t) = end_lr + (lr - end_lr) / 2 * (1 + cos(pi * min(1, t / num_steps)))

    Args:
        lr: LR at step 0, > 0.
        num_steps: steps to `end_lr`, >= 1.
        end_lr: the last LR, from 0 to `lr`.
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> Cosine(lr=1.0, num_steps=4)([0, 2, 4, 9]).round(6).tolist()
    [1.0, 0.5, 0.0, 0.0]
    """

    lr: float
    num_steps: float
    end_lr: float = 0.0
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_peak(self.lr)
        require_length(num_steps=self.num_steps)
        require_end(self.lr, self.end_lr)

    def values(self, steps: FloatArray) -> FloatArray:
        """lr(t) = end_lr + (lr - end_lr) / 2 * (1 + cos(pi * min(1, t / num_steps)))."""
        done = np.minimum(steps / self.num_steps, 1.0)
        return np.asarray(self.end_lr + (self.lr - self.end_lr) / 2 * (1 + np.cos(np.pi * done)))

    def describe(self) -> str:
        """Its ends in words."""
        return f"cosine from {self.lr:.3g} to {self.end_lr:.3g} in {self.num_steps:.4g} steps. {self.note}".strip()

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall | None:
        """CosineAnnealingLR, which goes up again after its end."""
        steps = whole(self.num_steps)
        if steps is None or num_steps > steps + 1:
            return None
        floor = [f"eta_min={number(self.end_lr)}"] if self.end_lr > 0 else []
        return TorchCall("CosineAnnealingLR", [f"T_max={steps}", *floor], self.lr, one_group_only=self.end_lr > 0)

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """Half a cosine."""
        left = f"(1 + math.cos(math.pi * {share_done(self.num_steps, num_steps)})) / 2"
        return [f"return {line(self.end_lr / lr, (self.lr - self.end_lr) / lr, left)}"]

    def highest_lr(self, num_steps: NumSteps) -> float:
        """Its first LR, without the rounding of the formula."""
        return self.lr


@checked_layout
def cosine(lr: float, num_steps: int, steps_per_epoch: float | None = None, *, final_ratio: float = 0.0) -> Cosine:
    """A single cosine to 0 (arXiv:1608.03983).

    Option: final_ratio, the last LR / lr, in [0, 1].
    """
    return Cosine(lr, num_steps, end_lr_of(lr, final_ratio), note=ENDS)
