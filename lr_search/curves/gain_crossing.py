"""The LR at which a step becomes large against the curvature, read off the gain ratio, or at which steps stop growing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lr_search.errors import require

if TYPE_CHECKING:
    from lr_search.curves.curve import LRCurve

ADAPTIVE = 0.1  # the power of the gradient that an adaptive optimizer's steps grow with, at most
STALLED = 0.25  # decades that steps grow by, at most, over a ramp's last decade where they stall
NEAR = 3.0  # times the LR at which steps stall: a gain ratio that falls further up fell by chance
GROWING = 0.75  # the quantile of steps over their LR that those which still grow have
MOST_FEW = 5  # steps in a decade that tell nothing
HOLD_DECADES = 0.2  # the smoothing's width: a shorter stay below the level may be one step's noise


def gain_crossing(curve: LRCurve, level: float = 0.5) -> float | None:
    """The LR at which the smoothed gain ratio falls below the level and stays there.

    It is the first crossing after which the ratio stays below for 0.2 decades, or to the ramp's end, interpolated in
    log LR. On a quadratic of curvature h the gain ratio of plain gradient descent is 1 - lr * h / 2, so that the level 1/2
    is crossed at 1/h and the level 0 at 2/h (smoothing over decades moves both 0.05 decades down).

    Args:
        curve: a range test's record.
        level: of the gain ratio, < 1.

    Returns:
        The LR; the ramp's first above 0 where the ratio is below the level from the start; None where it was not measured,
        or never falls below.

    >>> from lr_search.curves.curve import LRCurve
    >>> lr = np.linspace(0.0, 1.0, 201)
    >>> curve = LRCurve(lr, np.ones(201), gain_ratio=1 - lr * 4 / 2, ramp="linear")
    >>> round(gain_crossing(curve), 3), round(gain_crossing(curve, level=0.0), 3)
    (0.25, 0.5)

    Reference:
        Andrew R. Conn, Nicholas I. M. Gould, Philippe L. Toint, "Trust-Region Methods", 2000, for the ratio; Vincent Roulet
        et al., "Stepping on the Edge: Curvature Aware Learning Rate Tuners", 2024, arXiv:2407.06183, for what its edge tells.
    """
    require(level < 1, "level must be below 1, the gain ratio of a small step", level=level)
    smoothed = curve.smoothed_gain_ratio
    if smoothed is None:
        return None
    known = np.isfinite(smoothed) & (curve.lr > 0)
    log10_lr, ratio = np.log10(curve.lr[known]), smoothed[known]
    below = ratio < level
    for step in np.flatnonzero(np.diff(below, prepend=False) & below).tolist():  # the first of each stretch below
        above = np.flatnonzero(~below[step:])
        if len(above) and log10_lr[step + above[0]] - log10_lr[step] < HOLD_DECADES:
            continue
        if step == 0:
            return float(curve.lr[known][0])
        share = (ratio[step - 1] - level) / (ratio[step - 1] - ratio[step])
        return float(10 ** (log10_lr[step - 1] + share * (log10_lr[step] - log10_lr[step - 1])))
    return None


def stalled_lr(curve: LRCurve) -> float | None:
    """The LR beyond which the optimizer takes no larger steps, whatever the LR, as Adafactor does; None where steps go on to grow or break.

    Where the steps' size over the last decade of a ramp that went through hardly grows, it is the LR at which steps in proportion to the
    LR would have that size; if the gain ratio fell below 1/2 before, or not far beyond it, the steps broke rather than stalled.

    Args:
        curve: a range test's record, with the relative update.

    >>> from lr_search.curves.curve import LRCurve
    >>> lr = np.logspace(-5, 1, 100)
    >>> adaptive, steps = {"scaling": 0.0}, {"relative_update": np.minimum(lr, 0.1)}
    >>> round(stalled_lr(LRCurve(lr, np.ones(100), metrics=steps, optimizer=adaptive)), 2)
    0.1
    """
    # others' steps shrink with the gradient, where a training has converged
    adaptive = curve.optimizer.get("scaling", 1.0) < ADAPTIVE
    if not adaptive or "relative_update" not in curve.metrics or curve.stopped != "finished":
        return None
    update = curve.metrics["relative_update"]
    known = np.isfinite(update) & (update > 0) & (curve.lr > 0)
    lr, update = curve.lr[known], update[known]
    last = lr >= curve.lr[-1] / 10
    if last.sum() < MOST_FEW or last.all():
        return None
    slope = np.polyfit(np.log10(lr[last]), np.log10(update[last]), 1)[0]
    if slope > STALLED:
        return None
    stalled = float(np.median(update[last]) / np.quantile(update[~last] / lr[~last], GROWING))
    half = gain_crossing(curve, 0.5)
    return None if half is not None and half < NEAR * stalled else stalled
