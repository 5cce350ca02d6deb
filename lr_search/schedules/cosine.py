"""One cosine from the peak to the end (Loshchilov and Hutter, 2017, arXiv:1608.03983, without its restarts)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.schedules.base import Schedule, require_end, require_length, require_peak


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
        """See the class."""
        done = np.minimum(steps / self.num_steps, 1.0)
        return np.asarray(self.end_lr + (self.lr - self.end_lr) / 2 * (1 + np.cos(np.pi * done)))

    def describe(self) -> str:
        """Its ends in words."""
        return f"cosine from {self.lr:.3g} to {self.end_lr:.3g} in {self.num_steps:.4g} steps. {self.note}".strip()
