"""What benchmarks/factors.py reads off its measurements: the best LR of a grid, and how it moves with a factor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
A_DECADE = 4  # LRs of the grid
MARGIN = 2  # LRs of the grid beyond every seed's best


@dataclass(frozen=True)
class Slope:
    """Decades of LR per decade of a factor.

    Args:
        mean: over the seeds' own slopes.
        error: its standard error over the seeds.
        seeds: how many.
        off: root mean square of what a straight line leaves of the seeds' mean, in decades.
    """

    mean: float
    error: float
    seeds: int
    off: float

    def interval(self) -> tuple[float, float]:
        """Where the slope lies with 95% confidence, by Student's t over the seeds."""
        from scipy.stats import t

        reach = float(t.ppf(0.975, self.seeds - 1)) * self.error
        return self.mean - reach, self.mean + reach


def grown(final: Callable[[float], list[float]], around: Sequence[float]) -> dict[float, list[float]]:
    """Losses on a grid that grows until the best of every seed, and of their mean, lies `MARGIN` places inside.

    Args:
        final: LR -> (seeds,) losses.
        around: the LRs that the grid begins with, those next to them on it.

    Returns:
        LR -> losses, by rising LR.
    """
    places = list(
        range(math.floor(A_DECADE * math.log10(min(around))), math.ceil(A_DECADE * math.log10(max(around))) + 1)
    )
    found = {place: final(lr_at(place)) for place in places}
    while True:
        places = sorted(found)
        losses = np.array([found[place] for place in places])  # (lrs, seeds)
        best = np.append(losses.argmin(0), losses.mean(1).argmin())
        if best.min() < MARGIN:
            found[places[0] - 1] = final(lr_at(places[0] - 1))
        elif best.max() >= len(places) - MARGIN:
            found[places[-1] + 1] = final(lr_at(places[-1] + 1))
        else:
            return {lr_at(place): found[place] for place in places}


def lr_at(place: int) -> float:
    """The LR at a place of the grid."""
    return float(10 ** (place / A_DECADE))


def parabola_minimum(places: FloatArray, losses: FloatArray) -> float:
    """Where the parabola through the lowest point and its two neighbours has its minimum; an end stays as it is.

    With s the spacing and losses a, b, c around the lowest, b at x:  x + s / 2 * (a - c) / (a - 2 b + c).

    Args:
        places: (n,) evenly spaced.
        losses: (n,) at each of them.

    >>> places = np.array([0.0, 1.0, 2.0, 3.0])
    >>> round(parabola_minimum(places, (places - 1.2) ** 2), 6)
    1.2
    """
    lowest = int(np.argmin(losses))
    if lowest in (0, len(losses) - 1):
        return float(places[lowest])
    before, least, after = losses[lowest - 1 : lowest + 2].tolist()
    bend = before - 2 * least + after
    spacing = float(places[lowest] - places[lowest - 1])
    return float(places[lowest]) + (spacing / 2 * (before - after) / bend if bend > 0 else 0.0)


def slope(factor: FloatArray, places: FloatArray) -> Slope:
    """The straight line through log10 LR against log10 of the factor, a line a seed.

    Args:
        factor: (n,) the factor's values, > 0.
        places: (n, seeds) log10 of the LR, nan where there is none; a seed with fewer than two is left out.

    >>> found = slope(np.array([1.0, 10.0, 100.0]), np.array([[0.0, 0.1], [-1.0, -0.9], [-2.0, -1.9]]))
    >>> round(found.mean, 6)
    -1.0
    """
    decades = np.log10(factor)
    lines = np.array([line(decades, seed) for seed in places.T if np.isfinite(seed).sum() > 1])
    means = np.array([np.mean(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in places])
    fall, height = line(decades, means)
    error = float(lines[:, 0].std(ddof=1) / np.sqrt(len(lines))) if len(lines) > 1 else float("nan")
    off = float(np.sqrt(np.nanmean((means - fall * decades - height) ** 2)))
    return Slope(float(lines[:, 0].mean()), error, len(lines), off)


def line(decades: FloatArray, places: FloatArray) -> tuple[float, float]:
    """Slope and height at 0 of the least-squares line through the finite points."""
    known = np.isfinite(places)
    fall, height = np.polyfit(decades[known], places[known], 1)
    return float(fall), float(height)
