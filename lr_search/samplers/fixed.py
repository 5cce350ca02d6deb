"""One learning rate: the one someone uses today."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import BaseDistribution

from lr_search.errors import require
from lr_search.samplers.points import PointSampler


class FixedSampler(PointSampler):
    """Always the same LR.

    Args:
        lr: > 0, inside the distribution.
        param: the name of the LR; other parameters are drawn at random.
        seed: of the other parameters, >= 0.
    """

    def __init__(self, lr: float, param: str = "lr", *, seed: int = 0) -> None:
        require(lr > 0 and math.isfinite(lr), "lr must be positive and finite", lr=lr)
        super().__init__(param, seed)
        self.lr = float(lr)

    def point(self, number: int, distribution: BaseDistribution) -> Any:
        """See the class."""
        return self.lr
