"""Smoothing without lag: a centred Gaussian kernel over log LR, so that no rule moves to the high side."""

from __future__ import annotations

import numpy as np

from lr_search.arrays import FloatArray

_WIDTH_DECADES = 0.2  # standard deviation of the kernel over log10(lr)
WIDTH_SHARE = 0.025  # standard deviation of the kernel over the LR of a linear ramp, as a share of the range of LRs
TINY = float(np.finfo(float).tiny)


class Smoother:
    """A weighted mean over the steps near each step. The width is in decades: the number of steps does not matter.

    Args:
        lr: (n,) the LR of each step.
        linear: whether nearness is measured in the LR itself (a linear ramp) rather than in decades.
    """

    def __init__(self, lr: FloatArray, *, linear: bool = False) -> None:
        self.place = lr if linear else np.log10(np.maximum(lr, TINY))
        self.width = WIDTH_SHARE * float(lr[-1] - lr[0]) if linear else _WIDTH_DECADES
        reach = (self.place[:, None] - self.place[None, :]) / max(self.width, TINY)
        self._kernel = np.exp(-0.5 * reach**2)

    def mean(self, values: FloatArray) -> FloatArray:
        """The smoothed values; those that are not finite are left out. (n,) -> (n,), nan where nothing is near."""
        finite = np.isfinite(values)
        return self.ratio(np.where(finite, values, 0.0), finite.astype(float))

    def ratio(self, parts: FloatArray, wholes: FloatArray) -> FloatArray:
        """The sum of the parts over the sum of the wholes, both near each step. (n,), (n,) -> (n,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((self._kernel @ parts) / (self._kernel @ wholes))

    def noise_left(self) -> float:
        """The share of a step's noise that is left after smoothing, in the middle of the ramp."""
        weights = self._kernel[len(self.place) // 2]
        return float(np.sqrt(np.sum(weights**2)) / np.sum(weights))
