"""A constant learning rate: the control that every other schedule must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.schedules.base import Schedule, require_peak


@dataclass(frozen=True)
class Constant(Schedule):
    """The same LR at every step.

    Args:
        lr: the LR, > 0.

    >>> Constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        require_peak(self.lr)

    def values(self, steps: FloatArray) -> FloatArray:
        """lr(t) = lr."""
        return np.full(steps.shape, self.lr)

    def describe(self) -> str:
        """The LR in words."""
        return f"constant at {self.lr:.3g}"
