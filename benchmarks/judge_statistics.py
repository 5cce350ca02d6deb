"""Means over tasks with their intervals, and how good an interval is: the judge's statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000  # of the bootstrap
BLOCK = 1_000  # of them at once
MISSED = 0.2  # the share of best LRs that an 80% interval may miss


@dataclass(frozen=True)
class Estimate:
    """A mean over tasks, and the 95% interval of what it would be over other tasks like them."""

    mean: float
    low: float
    high: float


def task_means(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean of each task's values: tasks of more lengths count no more than others. Args: pairs: (task, value)."""
    found: dict[str, list[float]] = {}
    for task, value in pairs:
        found.setdefault(task, []).append(value)
    return {task: float(np.mean(values)) for task, values in found.items()}


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of one value a task, with the percentile interval of a bootstrap over tasks.

    Reference:
        Bradley Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979.
    """
    known, rng = np.array(values, dtype=float), np.random.default_rng(0)
    means = [known[rng.integers(len(known), size=(BLOCK, len(known)))].mean(1) for _ in range(DRAWS // BLOCK)]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Estimate(float(known.mean()), float(low), float(high))


def difference(one: dict[str, float], other: dict[str, float]) -> tuple[Estimate, int]:
    """The mean of one - other over the tasks that both have, and their number."""
    shared = [task for task in one if task in other]
    return estimate([one[task] - other[task] for task in shared]), len(shared)


def interval_score(low: float, high: float, truth: float) -> float:
    """How good an 80% interval is, the lower the better: its width, and ten times how far it misses.

    Reference:
        Tilmann Gneiting and Adrian E. Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007, section 6.2;
        Robert L. Winkler, "A Decision-Theoretic Approach to Interval Estimation", 1972.
    """
    return high - low + 2 / MISSED * (max(0.0, low - truth) + max(0.0, truth - high))


def best_width(errors: Sequence[float]) -> float:
    """The width of an interval around 0 that has the least mean interval score: it misses a fifth of the errors.

    The score's slope in the width is 1 - (share missed) / 0.2.
    """
    return 2 * float(np.quantile(np.abs(errors), 1 - MISSED, method="inverted_cdf"))
