"""When a ramp's loss has blown up: differences against the noise count, never levels."""

from __future__ import annotations

import numpy as np

from lr_search.arrays import FloatArray, IntArray


def step_noise(loss: FloatArray) -> float:
    """The standard deviation of the noise from one step to the next: 1.4826 x median |change| / sqrt(2). (n,) -> float."""
    return float(_noise_of_first(loss, np.array([len(loss)]))[0]) if len(loss) > 1 else 0.0


def _noise_of_first(loss: FloatArray, counts: IntArray) -> FloatArray:
    """`step_noise` of the first `counts` losses alone: all at once, since a ramp asks often. (n,), (k,) >= 2 -> (k,)."""
    changes = np.abs(loss[1:] - loss[:-1])
    beyond = np.arange(len(changes)) >= counts[:, None] - 1
    low, high = (counts - 2) // 2, (counts - 1) // 2  # the places of the middle one, or two
    ordered = np.partition(np.where(beyond, np.inf, changes), range(low.min(), high.max() + 1), axis=1)  # (k, n - 1)
    rows = np.arange(len(counts))
    return np.asarray(1.4826 * ((ordered[rows, low] + ordered[rows, high]) / 2) / np.sqrt(2))


def blow_up(loss: FloatArray, first: int = 0) -> int | None:
    """The first step, from `first` on, at which a ramp's loss has blown up; None if it has not.

    It has when the median of the last three losses lies above the start by more than the loss had fallen below the start,
    plus 8 standard deviations of the noise (more in the first 9 steps, whose few changes may be small by chance).
    Differences alone count, so that it holds for losses near zero and below.

    Args:
        loss: (n,) the losses so far, finite.
        first: steps before it are known not to have.
    """
    if len(loss) < 5:
        return None
    middle = _medians_of_three(loss)  # (n - 2,), of steps k-2, k-1, k
    best = np.minimum.accumulate(middle)
    start = float(middle[0])
    first = max(first, 4)
    margins = np.maximum(start - best[first - 2 :], 0.01 * abs(start))  # (n - first,), without the noise
    above = np.flatnonzero(middle[first - 2 :] > start + margins)
    if not len(above):
        return None
    steps = first + above
    noise = _noise_of_first(loss, steps - 2)  # without the rise itself
    margins = margins[above] + 8 * 2.0 ** np.maximum(0, 9 - steps) * noise
    blown = steps[middle[steps - 2] > start + margins]
    return int(blown[0]) if len(blown) else None


def _medians_of_three(values: FloatArray) -> FloatArray:
    """The median of each three neighbours. (n,) -> (n - 2,)."""
    left, middle, right = values[:-2], values[1:-1], values[2:]
    low, high = np.minimum(left, middle), np.maximum(left, middle)
    return np.asarray(np.maximum(low, np.minimum(high, right)))
