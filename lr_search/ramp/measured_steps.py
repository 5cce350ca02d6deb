"""Which steps of a ramp the gain ratio is measured at: each where it changes, few where it stays at 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lr_search.arrays import BoolArray, FloatArray

APART_DECADES = 0.25  # between measured steps, at most: little more than the width of a curve's smoothing
BENT = 0.01  # how far from 1 the ratio may lie where every step is measured; at half as far every second one is


def steps_to_measure(
    lrs: Sequence[float], first: int, latest_lrs: Sequence[float], rows: FloatArray, rounding: float
) -> BoolArray:
    """Which of the next steps of an exponential ramp to measure, by what the latest steps were.

    A step in k is measured, k = BENT / bend, from 1 to as many as lie within a quarter of a decade; the bend is the sum of
    |reduction - predicted| over the sum of |predicted| of the latest steps. Of steps whose reduction will drown in the
    rounding of the loss, none is.

    Args:
        lrs: (n,) of the next steps, rising, all > 0.
        first: how many steps came before them.
        latest_lrs: (m,) of the latest steps.
        rows: (m, COLUMNS) of the latest steps: see `GainMeter`; the loss after a step is NaN where it was not measured.
        rounding: how small a change of the loss drowns, relative to it.

    >>> lrs = [0.001 * 1.2**step for step in range(10)]
    >>> steps_to_measure(lrs, 0, [], np.empty((0, 6)), 0.0).nonzero()[0].tolist()  # 3 steps of a factor of 1.2 fit into .25
    [0, 3, 6, 9]
    >>> one = np.array([[2.0, 1.9, 0.11, 1.0, 1.0, 1.0]])  # a reduction by .1 where .11 was predicted
    >>> bool(steps_to_measure(lrs, 10, [0.0009], one, 0.0).all())
    True
    """
    decades = float(np.log10(lrs[-1] / lrs[0])) / (len(lrs) - 1) if len(lrs) > 1 else APART_DECADES
    every = max(1, int(APART_DECADES / decades))
    numbers = first + np.arange(len(lrs))
    if not len(rows):
        return np.asarray(numbers % every == 0)
    before, after, predicted = rows[:, :3].T
    lost = rounding * np.abs(before)
    known = np.isfinite(after) & (np.abs(predicted) > lost)
    if known.any():
        bend = np.abs(before - after - predicted)[known].sum() / np.abs(predicted[known]).sum()
        every = int(BENT / max(bend, BENT / every)) if bend < BENT else 1
    with np.errstate(invalid="ignore"):
        promise = np.nan_to_num(np.abs(predicted / latest_lrs), nan=np.inf).max()
    return np.asarray((numbers % every == 0) & (promise * np.asarray(lrs) > lost[-1]))
