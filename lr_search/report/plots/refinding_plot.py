"""The picture of range tests at several points of one training: how the usable range moves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lr_search.arrays import FloatArray
from lr_search.ramp.refinding import Refinding
from lr_search.report.plots.style import GREY, PALETTE, fit_y, own_axes

RANGE, _SUGGESTED, _EDGE, SCHEDULE = PALETTE[2], PALETTE[3], PALETTE[0], GREY  # as in the picture of a range test
_SHAPE_POINTS = 601  # of the schedule
_LRS = ("base_lr", "max_lr", "suggestion", "half_gain_lr", "edge_lr", "blow_up_lr")
EDGES = (
    ("edge_lr", "-", "edge of stability (gain ratio 0)"),
    ("half_gain_lr", ":", "gain ratio 1/2"),
    ("blow_up_lr", "--", "the loss begins to rise"),
)


def plot_refinding(refinding: Refinding, ax: Axes | None = None, *, rule: str | None = None) -> Axes:
    """Draw the bounds, the edge of stability, the suggestions and the schedule's LR against the step.

    Args:
        refinding: range tests at several points of a training.
        ax: where to draw; default: a new figure's.
        rule: how the suggestions are read off the curves.
    """
    ax = own_axes(ax)
    frame = refinding.to_frame(rule)
    steps = np.unique(np.linspace(0, refinding.num_steps - 1, _SHAPE_POINTS).round())
    lr = refinding.schedule(steps)
    shown = lr > 0
    ax.plot(steps[shown], lr[shown], color=SCHEDULE, linewidth=1.4, label="schedule")
    drawn = [lr[shown]]
    if len(frame):
        drawn += _draw_points(ax, frame)
    fit_y(ax, np.concatenate(drawn), "learning rate")
    ax.set_xlim(-0.02 * refinding.num_steps, 1.02 * refinding.num_steps)
    ax.set_xlabel("steps done before the range test")
    if refinding.reason:
        ax.set_title(f"No further: {refinding.reason}")
    ax.legend(fontsize=7.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
    return ax


def _draw_points(ax: Axes, frame: pd.DataFrame) -> list[FloatArray]:
    """What the range tests refinding. Returns: the LRs that were drawn."""
    step, lrs = frame["step"].to_numpy(), {name: frame[name].to_numpy(dtype=float) for name in _LRS}
    low, high = lrs["base_lr"], lrs["max_lr"]
    ax.fill_between(step, low, high, color=RANGE, alpha=0.15, linewidth=0, label="bounds: base_lr to max_lr")
    ax.vlines(step, low, high, color=RANGE, linewidth=1.6, alpha=0.6)
    for name, line, label in EDGES:
        known = np.isfinite(lrs[name])
        if known.any():
            ax.plot(step[known], lrs[name][known], f"{line}o", color=_EDGE, markersize=3, linewidth=1.4, label=label)
    sure = (frame["status"] == "ok").to_numpy()
    rule = frame["rule"].iloc[0]
    for kind, marker, label in ((sure, "D", f"suggestion ({rule})"), (~sure, "X", f"suggestion ({rule}), not ok")):
        if kind.any():
            ax.scatter(
                step[kind], lrs["suggestion"][kind], marker=marker, s=34, color=_SUGGESTED, zorder=3, label=label
            )
    return list(lrs.values())
