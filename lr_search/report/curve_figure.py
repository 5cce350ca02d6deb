"""The picture of a range test."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from lr_search.curve import LRCurve
from lr_search.prior import LRPrior
from lr_search.report.style import GREY, PALETTE, log_lr, own_axes

PRIOR_SHARE = 0.25  # of the panel's height that the prior's highest point takes


def plot_curve(curve: LRCurve, ax: Axes | None = None, *, legend: bool = True) -> Axes:
    """Draw loss and smoothed loss against LR, with the suggestion, the bounds and the prior.

    Args:
        curve: a range test's record.
        ax: where to draw; default: a new figure's.
        legend: whether to say what is what.
    """
    ax = own_axes(ax)
    suggestion = curve.suggest()
    base_lr, max_lr = curve.bounds()
    shown = curve.lr > 0
    ax.plot(curve.lr[shown], curve.loss[shown], ".", color=GREY, alpha=0.45, markersize=3.5, label="loss of each batch")
    ax.plot(curve.lr[shown], curve.smoothed[shown], color=PALETTE[0], linewidth=1.8, label="smoothed")
    ax.axvspan(base_lr, max_lr, color=PALETTE[2], alpha=0.12, label=f"bounds {base_lr:.1e} to {max_lr:.1e}")
    label = f"suggestion {suggestion.lr:.1e} ({suggestion.rule}, {suggestion.status})"
    ax.axvline(suggestion.lr, color=PALETTE[3], linewidth=1.5, linestyle="--", label=label)
    low, high = _y_range(curve)
    ax.set_ylim(low, high)
    _draw_prior(LRPrior.from_curves([curve], lr_range=_lr_range(curve)), ax, low, high)
    log_lr(ax)
    ax.set_ylabel("training loss")
    if legend:
        ax.legend(fontsize=7.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
    return ax


def _lr_range(curve: LRCurve) -> tuple[float, float]:
    """The ramp's range, wide enough for the suggestion."""
    positive = curve.lr[curve.lr > 0]
    return float(min(positive[0], curve.suggest().lr)), float(positive[-1])


def _y_range(curve: LRCurve) -> tuple[float, float]:
    """From below the lowest loss to somewhat above the start: the blow-up would hide everything else."""
    low, start = float(min(curve.loss.min(), curve.smoothed.min())), curve.start
    top = min(float(curve.loss.max()), start + max(0.6 * (start - low), 6 * curve.noise))
    room = 0.35 * ((top - low) or abs(top) or 1.0)  # below: for the prior
    return low - room, top + 0.25 * room


def _draw_prior(prior: LRPrior, ax: Axes, low: float, high: float) -> None:
    lrs = np.geomspace(prior.low, prior.high, 300)
    density = prior.pdf(lrs)
    height = low + PRIOR_SHARE * (high - low) * density / density.max()
    ax.fill_between(lrs, low, height, color=PALETTE[4], alpha=0.35, linewidth=0, label="prior over the best LR")
