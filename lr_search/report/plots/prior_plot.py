"""The picture of a prior: its density over the LR, its mode, and the interval that holds 80% of it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from lr_search.curves.prior import LRPrior
from lr_search.report.plots.style import PALETTE, own_axes, short_number

_LINE, INTERVAL = PALETTE[4], PALETTE[2]
SHARES = (0.1, 0.9)


def plot_prior(prior: LRPrior, ax: Axes | None = None) -> Axes:
    """Draw the density per decade over the LR.

    Args:
        prior: what is drawn.
        ax: where; default: a new figure.

    Returns:
        The Axes.
    """
    ax = own_axes(ax)
    lrs = np.geomspace(prior.low, prior.high, 400)
    low, high = prior.ppf(SHARES)
    inside = np.geomspace(low, high, 200)
    label = f"80% between {short_number(low)} and {short_number(high)}"
    ax.fill_between(inside, prior.pdf(inside), color=INTERVAL, alpha=0.25, linewidth=0, label=label)
    ax.plot(lrs, prior.pdf(lrs), color=_LINE, linewidth=1.9, label="prior over the best LR")
    ax.axvline(prior.mode, color=PALETTE[3], linewidth=1.6, linestyle="--", label=f"mode {short_number(prior.mode)}")
    ax.set_xscale("log")
    ax.set_xlim(prior.low, prior.high)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("learning rate")
    ax.set_ylabel("density per decade")
    ax.legend(fontsize=8, frameon=False)
    return ax
