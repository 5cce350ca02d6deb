"""A Gaussian process over log LR: what a few trainings show of all others.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2 and 5. One dimension, a Matern-5/2 kernel;
its length and noise are not chosen but averaged over, by how well each pair explains the trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from lr_search.arrays import FloatArray

LENGTHS = (0.3, 0.5, 0.8, 1.2, 2.0)  # decades over which the objective changes
# variance of the noise, as a share of that of the objective: small, for trainings share their seed and batches
NOISES = (1e-4, 1e-3, 1e-2)
MIXED_NOISES = (*NOISES, 0.1, 0.3, 1.0)  # where other parameters change from trial to trial
USUAL_LENGTH, LENGTH_SPREAD = 0.8, 0.6  # decades, and the standard deviation of its natural logarithm
MEAN_WEIGHT = 0.5  # trainings that the prior mean of zero counts for
SCALE_WEIGHT = 2.0  # trainings that the prior variance of one counts for
KEPT = 0.75  # the share of trainings, from the best, whose differences count: what is worse is all alike


@dataclass(frozen=True)
class Belief:
    """What is believed of the objective at some places: a mixture of normal distributions.

    Args:
        means: (components, places).
        deviations: (components, places).
        weights: (components,), of sum 1.
    """

    means: FloatArray
    deviations: FloatArray
    weights: FloatArray

    @property
    def mean(self) -> FloatArray:
        """(places,)."""
        return np.asarray(self.weights @ self.means)

    def expected_improvement(self, best: float) -> FloatArray:
        """By how much a training at each place may be expected to lie below `best`, (places,) (Jones et al. 1998)."""
        z = (best - self.means) / self.deviations
        cdf = 0.5 * (1 + _erf(z / np.sqrt(2)))
        pdf = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        return np.asarray(self.weights @ (self.deviations * np.maximum(z * cdf + pdf, 0.0)))


def believe(places: FloatArray, values: FloatArray, at: FloatArray, noises: Sequence[float] = NOISES) -> Belief:
    """The belief about the objective at some places, after trainings at others.

    Args:
        places: log10 LRs of the trainings, (n,), n >= 1.
        values: their standardized objectives, lower is better, (n,); see `standardized`.
        at: log10 LRs, (places,).
        noises: variances of the noise that are averaged over, > 0.
    """
    fits = [_Fit(places, values, length, noise) for length, noise in product(LENGTHS, noises)]
    means, variances = (np.array(part) for part in zip(*(fit.at(at) for fit in fits), strict=True))
    return Belief(means, np.sqrt(variances), _weights(fits))


def paths(
    places: FloatArray, values: FloatArray, at: FloatArray, count: int, seed: int, noises: Sequence[float] = NOISES
) -> FloatArray:
    """Draws of the whole objective, (count, places): for where its best may lie. Args: as of `believe`."""
    generator = np.random.default_rng(seed)
    fits = [_Fit(places, values, length, noise) for length, noise in product(LENGTHS, noises)]
    chosen = generator.choice(len(fits), count, p=_weights(fits))
    drawn = []
    for which, times in zip(*np.unique(chosen, return_counts=True), strict=True):
        mean, covariance = fits[int(which)].together(at)
        drawn.append(generator.multivariate_normal(mean, covariance, int(times), method="eigh"))
    return np.concatenate(drawn)


def _weights(fits: Sequence[_Fit]) -> FloatArray:
    evidence = np.array([fit.evidence for fit in fits])
    weights = np.exp(evidence - evidence.max())
    return np.asarray(weights / weights.sum())


class _Fit:
    """The process under one kernel; equations 2.25, 2.26 and 5.8.

    Its constant mean and its variance are fitted in closed form, each with a weak prior.
    """

    def __init__(self, places: FloatArray, values: FloatArray, length: float, noise: float) -> None:
        n = len(places)
        self._places, self._length = places, length
        self._lower = np.linalg.cholesky(_matern(places[:, None] - places, length) + noise * np.eye(n))
        ones, white = np.linalg.solve(self._lower, np.stack([np.ones(n), values], axis=1)).T
        self._mean = (ones @ white) / (ones @ ones + MEAN_WEIGHT)
        self._left = white - self._mean * ones
        self._variance = (self._left @ self._left + SCALE_WEIGHT) / (n + SCALE_WEIGHT)
        unlikely = ((np.log(length) - np.log(USUAL_LENGTH)) / LENGTH_SPREAD) ** 2
        fit = -0.5 * (n + SCALE_WEIGHT) * np.log(self._variance) - np.log(np.diag(self._lower)).sum()
        self.evidence = float(fit - 0.5 * unlikely)

    def at(self, at: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance at each place, (places,) each."""
        across = self._across(at)
        return self._mean + self._left @ across, self._variance * np.maximum(1 - (across**2).sum(axis=0), 1e-9)

    def together(self, at: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and covariance of all places, (places,) and (places, places)."""
        across = self._across(at)
        covariance = _matern(at[:, None] - at, self._length) - across.T @ across
        return self._mean + self._left @ across, self._variance * covariance

    def _across(self, at: FloatArray) -> FloatArray:
        """(n, places)."""
        return np.asarray(np.linalg.solve(self._lower, _matern(self._places[:, None] - at, self._length)))


def _matern(distances: FloatArray, length: float) -> FloatArray:
    scaled = np.sqrt(5) * np.abs(distances) / length
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))


def _erf(z: FloatArray) -> FloatArray:
    """Abramowitz and Stegun, 7.1.26: right to 1.5e-7."""
    t = 1 / (1 + 0.3275911 * np.abs(z))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(z) * (1 - series * np.exp(-(z**2))))


def standardized(values: FloatArray) -> FloatArray:
    """Objectives (lower is better) with mean 0 and deviation 1; what is much worse than most, or infinite, is alike.

    A training that diverged, or ended in a loss of thousands, shows that its LR is bad; by how much shows nothing of the best.

    Args:
        values: (n,), inf for a training that diverged.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return np.ones(len(values))  # worse than what may be expected elsewhere
    kept = np.sort(values)[int(KEPT * (len(values) - 1))]
    worst = kept if np.isfinite(kept) else values[finite].max()
    cut = np.minimum(np.where(finite, values, worst), worst)
    cut = cut / max(np.abs(cut).max(), np.finfo(float).tiny)  # or the square of a huge loss would overflow
    deviation = float(cut.std())
    return np.asarray((cut - cut.mean()) / deviation) if deviation > 0 else np.where(finite, 0.0, 1.0)
