"""One look for every figure: colours that the colour-blind can tell apart, and axes made without pyplot's global state."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito, "Color Universal Design", 2008
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442"]
KNOWN = {"grid": PALETTE[0], "random": PALETTE[1], "range_test": PALETTE[2]}
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
GREY = "#5f6368"
DPI = 110
LONGEST_NAME = 40  # characters of a user's name in a figure


def strategy_colors(strategies: Iterable[str]) -> dict[str, str]:
    """A colour for each strategy; ours have the same in every report."""
    names = list(dict.fromkeys(strategies))
    free = [color for color in PALETTE if color not in KNOWN.values()]
    others = [name for name in names if name not in KNOWN]
    return {**KNOWN, **{name: free[i % len(free)] for i, name in enumerate(others)}}


def plain(name: str) -> str:
    """A user's name as text for a figure: matplotlib reads $...$ as a formula and hides labels that begin with _."""
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return escaped(f" {shown}" if shown.startswith("_") else shown)


def escaped(text: str) -> str:
    """Text for a figure that is no formula, in one line."""
    return text.replace("\n", " ").replace("$", r"\$")


def short_number(value: float) -> str:
    """Two digits of a number, in as few characters as that takes.

    >>> short_number(0.0123), short_number(1.26e-5), short_number(100.0)
    ('0.012', '1.3e-5', '100')
    """
    return re.sub(
        r"e([+-])0*", lambda found: "e" + found[1].strip("+"), f"{value:.2g}" if value < 100 else f"{value:.3g}"
    )


def new_figure(
    rows: int, columns: int, *, panel: tuple[float, float] = (4.4, 3.4), heights: Sequence[float] | None = None
) -> tuple[Figure, Any]:
    """A figure with a grid of axes.

    Args:
        rows: of axes.
        columns: of axes.
        panel: width and height of each, in inches.
        heights: (rows,) of each row instead, in inches.

    Returns:
        The figure and its axes (rows, columns).
    """
    heights = heights or [panel[1]] * rows
    figure = Figure(figsize=(panel[0] * columns, sum(heights)), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=list(heights))
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(visible=True, color="#e3e3e3", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.title.set_fontsize(10.5)
    return figure, axes


def own_axes(ax: Axes | None) -> Axes:
    """The axes that were given, or a new figure's."""
    if ax is not None:
        return ax
    made: Axes = new_figure(1, 1, panel=(6.4, 4.2))[1][0, 0]
    return made


def log_lr(ax: Axes, label: str = "learning rate (log)") -> None:
    """A log axis for the LR, with decades labelled, or parts of them where there are few; after the data are drawn."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    if high < 30 * low:
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        ax.xaxis.set_major_locator(LogLocator(numticks=9))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(label)


def fit_y(ax: Axes, values: Sequence[float] | npt.NDArray[np.float64], label: str) -> None:
    """A y axis that shows all finite values: logarithmic where they are positive and span a factor of 10."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    logarithmic = len(finite) > 0 and finite.min() > 0 and finite.max() > 10 * finite.min()
    ax.set_ylabel(f"{label} (log)" if logarithmic else label)
    if logarithmic:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if finite.max() < 1e4 * finite.min() else (1.0,)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(finite.min() / 1.25, finite.max() * 1.35)
    elif len(finite):
        room = 0.06 * ((finite.max() - finite.min()) or abs(finite.max()) or 1.0)
        ax.set_ylim(finite.min() - room, finite.max() + room)


def png(figure: Figure) -> bytes:
    """The figure as a PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()
