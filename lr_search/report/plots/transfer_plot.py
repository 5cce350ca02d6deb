"""The picture of a transfer: the pilots of each length, the way to the full one, and the interval there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lr_search.report.plots.style import PALETTE, fit_y, log_lr, own_axes, short_number

if TYPE_CHECKING:
    from lr_search.scaling.told import Transfer

_ANSWER, _INTERVAL, _EXPECTED = PALETTE[3], PALETTE[2], PALETTE[4]
MARKERS = "osDv^"
_ARROW_AT = 0.06  # up the axes
_ROOM = 0.3  # decades beside what is drawn


def plot_transfer(transfer: Transfer, ax: Axes | None = None) -> Axes:
    """Draw the objective of the pilots against their LR, a line a length; what is expected at the full length; and the answer.

    Args:
        transfer: what is drawn.
        ax: where; default: a new figure.

    Returns:
        The Axes.
    """
    ax = own_axes(ax)
    low, high = transfer.interval
    label = f"80% between {short_number(low)} and {short_number(high)} at {transfer.num_steps:,} steps"
    ax.axvspan(low, high, color=_INTERVAL, alpha=0.15, linewidth=0, label=label)
    ax.axvline(transfer.lr, color=_ANSWER, linewidth=1.8, linestyle="--", label=f"LR {short_number(transfer.lr)}")
    table = transfer.table.dropna(subset=["objective"])
    rungs = list(table.groupby("num_steps", sort=True))
    for (length, rung), marker, color in zip(rungs, MARKERS, (PALETTE[0], PALETTE[1], *PALETTE[4:]), strict=False):
        _draw_rung(ax, rung.sort_values("lr"), f"pilots of {length:,} steps", marker, color)
    if transfer.best_pilot is not None:
        _draw_move(ax, transfer.best_pilot[1], transfer.lr)
    fit_y(ax, table["objective"].to_numpy(dtype=float), "objective at a pilot's end")
    shown = np.log10([low, high, transfer.lr, *table["lr"]])
    ax.set_xlim(10 ** (shown.min() - _ROOM), 10 ** (shown.max() + _ROOM))
    _draw_expected(ax, transfer)
    log_lr(ax)
    ax.set_title(f"{transfer.schedule} with {transfer.optimizer}, seed {transfer.seed}")
    ax.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return ax


def _draw_rung(ax: Axes, rung: pd.DataFrame, label: str, marker: str, color: str) -> None:
    """A pilot that diverged is a cross at the upper end."""
    finite = np.isfinite(rung["objective"].to_numpy(dtype=float))
    ax.plot(rung["lr"][finite], rung["objective"][finite], color=color, marker=marker, linewidth=1.4, label=label)
    lost = rung["lr"][~finite]
    if len(lost):
        ax.plot(
            lost, np.full(len(lost), 0.97), color=color, marker="x", linestyle="none", transform=ax.get_xaxis_transform(),
            label="diverged",
        )  # fmt: skip


def _draw_move(ax: Axes, best: float, lr: float) -> None:
    """From the LR of the best of the longest pilots to the answer, where the two differ."""
    if abs(np.log10(best / lr)) > 0.02:
        ax.annotate(
            "", xy=(lr, _ARROW_AT), xytext=(best, _ARROW_AT), xycoords=ax.get_xaxis_transform(),
            arrowprops={"arrowstyle": "->", "color": _ANSWER, "linewidth": 1.4},
        )  # fmt: skip


def _draw_expected(ax: Axes, transfer: Transfer) -> None:
    """What every LR is expected to lose at the full length, on an axis of its own."""
    lrs, regrets = 10**transfer.posterior.places, transfer.posterior.regrets
    low, high = ax.get_xlim()
    inside = (lrs >= low) & (lrs <= high)
    other = ax.twinx()
    other.plot(lrs[inside], regrets[inside], color=_EXPECTED, linewidth=1.2, linestyle=":")
    other.set_ylim(bottom=0)
    other.set_ylabel(f"expected regret at {transfer.num_steps:,} steps (dotted)", color=_EXPECTED)
    other.spines[["top"]].set_visible(False)
