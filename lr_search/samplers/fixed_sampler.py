"""One learning rate: the one someone uses today."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution

from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.samplers.points import Inner, PointSampler


@checked
class FixedSampler(PointSampler):
    """Always the same LR.

    Args:
        lr: > 0, inside the distribution.
        param: the name of the LR, or several names, which all get it.
        seed: of the other parameters, >= 0.
        inner: the sampler of the other parameters; see `PointSampler`.
    """

    def __init__(self, lr: float, param: str | Sequence[str] = "lr", *, seed: Seed = 0, inner: Inner = None) -> None:
        require(lr > 0 and math.isfinite(lr), "lr must be positive and finite", lr=lr)
        super().__init__(param, seed, inner)
        self.lr = float(lr)

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """See the class."""
        return self.lr
