"""What a few trainings of one length show of where the best LR lies, and of what every LR loses.

    drop_i = depth * (1 - regret(x_i - best) - e_i),   e ~ Gaussian process: the task's own misfit, and noise

A Gaussian process whose mean is the usual lopsided basin. Its place, its widths and its depth are not chosen but averaged over, by how
well each explains the trainings (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, sections 2.7 and 5.4.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from lr_search.arrays import BoolArray, FloatArray
from lr_search.scaling.transfer_constants import BasinShape

SIDE_WIDTHS = (-1.73, 0.0, 1.73)  # of a side, in spreads of its logarithm: the nodes and weights of Gauss and Hermite
SIDE_WEIGHTS = (1 / 6, 2 / 3, 1 / 6)
STRAYING = ((1.0, 0.6), (3.0, 0.3), (10.0, 0.1))  # how much further than usual all pilots stray, and how likely that is
MOST_DEPTH, DEPTHS = 2.0, 12  # the best training may gain so many times what the best pilot gained


@dataclass(frozen=True)
class BasinBelief:
    """What is believed after the pilots of one length, at the places of a grid.

    Args:
        density: the share of belief that the best LR lies at each place, (places,), of sum 1.
        regrets: the expected regret of each place, (places,).
    """

    density: FloatArray
    regrets: FloatArray


def basin_belief(
    places: FloatArray, drops: FloatArray, too_high: BoolArray, at: FloatArray, prior: FloatArray, shape: BasinShape
) -> BasinBelief:
    """The belief about the basin after the trainings.

    Args:
        places: log10 LRs of the trainings, (n,); with none the prior stays.
        drops: how far each lowered the objective, >= 0, 0 where it diverged, (n,).
        too_high: which of them diverged: the best LR does not lie above them, (n,).
        at: the grid of log10 LRs, rising evenly, (places,).
        prior: the share of belief at each place of the grid before, (places,), of sum 1.
        shape: of basins.
    """
    kinds = [
        (
            replace(
                shape,
                below=shape.below * float(np.exp(low * shape.below_spread)),
                above=shape.above * float(np.exp(high * shape.above_spread)),
                noise=shape.noise * straying,
                misfit=shape.misfit * straying,
            ),
            weight_low * weight_high * likely,
        )
        for (low, weight_low), (high, weight_high), (straying, likely) in product(
            zip(SIDE_WIDTHS, SIDE_WEIGHTS, strict=True), zip(SIDE_WIDTHS, SIDE_WEIGHTS, strict=True), STRAYING
        )
    ]
    guesses = [_Guess(places, drops, too_high, at, kind) for kind, _ in kinds]
    with np.errstate(divide="ignore"):
        logs = np.array([guess.evidence for guess in guesses]) + np.log(prior)  # (kinds, places)
        logs += np.log([weight for _, weight in kinds])[:, None]
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    regrets = np.array([guess.regrets(of_kind) for guess, of_kind in zip(guesses, weights, strict=True)])
    return BasinBelief(weights.sum(axis=0), regrets.sum(axis=0))


def basin_regret(decades: FloatArray, shape: BasinShape) -> FloatArray:
    """The usual regret so many decades from the best LR. (...,) -> (...,)."""
    width = np.where(decades < 0, shape.below, shape.above)
    power = np.where(decades < 0, shape.below_power, shape.above_power)
    return np.asarray(1 - np.exp(-((np.abs(decades) / width) ** power)))


class _Guess:
    """A basin of one shape, for each place where its best LR may lie. Args: as of `basin_belief`.

    Attributes:
        evidence: for each place, (places,).
    """

    def __init__(
        self, places: FloatArray, drops: FloatArray, too_high: BoolArray, at: FloatArray, shape: BasinShape
    ) -> None:
        self._at, self._shape, self._places = at, shape, places
        self.evidence, self._left = np.zeros(len(at)), np.zeros((len(at), len(places)))
        if not len(places):
            return
        away = places - at[:, None]  # (best, n)
        expected = np.where(too_high & (away < 0), 0.0, basin_regret(away, shape))
        deviation = _misfit(expected, shape)
        # some of what strays is no smooth function of the LR; and from where on trainings diverge is not known well
        noise = np.where(too_high, shape.cliff, shape.noise + 0.5 * deviation)
        alike = _alike(places[:, None] - places, shape.length)
        covariance = deviation[:, :, None] * deviation[:, None, :] * alike
        covariance = covariance + np.eye(len(places)) * noise[:, :, None] ** 2
        inverse = np.linalg.inv(covariance)  # (best, n, n)
        self.evidence, scale = _depths(drops, 1 - expected, inverse, np.linalg.slogdet(covariance)[1])
        misfits = (1 - expected) - scale[:, None] * drops
        self._left = deviation * (inverse @ misfits[:, :, None])[:, :, 0]  # (best, n)

    def regrets(self, weights: FloatArray) -> FloatArray:
        """What every place is expected to lose, times its share of belief. Args: weights: of where the best may lie, (places,)."""
        usual = basin_regret(self._at - self._at[:, None], self._shape)  # (best, places)
        strays = self._left @ _alike(self._places[:, None] - self._at, self._shape.length)
        return np.asarray(weights @ (usual + _misfit(usual, self._shape) * strays))


def _misfit(regret: FloatArray, shape: BasinShape) -> FloatArray:
    """How far a task's own regret strays from the usual one: most on the slopes. (...,) -> (...,)."""
    return np.asarray(4 * shape.misfit * regret * (1 - regret))


def _depths(
    drops: FloatArray, kept: FloatArray, inverse: FloatArray, log_determinant: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The evidence for each place of the best, averaged over the basin's depth, and the mean of 1 / depth.

    Args:
        drops: (n,).
        kept: what remains of the depth at each training, (best, n).
        inverse: of the covariance, (best, n, n).
        log_determinant: of the covariance, (best,).
    """
    largest = float(drops.max())
    scales = np.exp(np.linspace(np.log(1.1), -np.log(MOST_DEPTH), DEPTHS)) / largest if largest > 0 else np.ones(1)
    left = kept[:, None, :] - scales[:, None] * drops  # (best, depths, n)
    squared = ((left @ inverse) * left).sum(axis=2)
    moved = (drops > 0).sum() * np.log(scales * max(largest, 1e-300)) if largest > 0 else np.zeros(1)
    logs = moved - 0.5 * squared - 0.5 * log_determinant[:, None]
    highest = logs.max(axis=1, keepdims=True)
    weights = np.exp(logs - highest)
    total = weights.sum(axis=1)
    return np.asarray(highest[:, 0] + np.log(total / len(scales))), np.asarray(weights @ scales / total)


def _alike(distances: FloatArray, length: float) -> FloatArray:
    """A Matern-5/2 correlation."""
    scaled = np.sqrt(5) * np.abs(distances) / length
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))
