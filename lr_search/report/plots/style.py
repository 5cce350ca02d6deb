"""One look for every figure: colours that the colour-blind can distinguish, and axes made without pyplot's global state."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, TICKLEFT
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

# Okabe and Ito, "Color Universal Design", 2008
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442"]
GREY = "#5f6368"
DPI = 110
LONGEST_NAME = 40  # characters of a user's name in a figure
MANY = 1_000  # points or bars in a picture from which on they are pixels in an SVG
WIDE = 30  # high / low of an LR axis from which on its decades are labelled alone
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LineStyle = str | tuple[float, tuple[float, ...]]
COMPRESSION = 3  # of a PNG: half the time of 6, for a twentieth more bytes
LINES: list[LineStyle] = [
    "-", "--", ":", "-.", (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 2, 2, 2)),
]  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a strategy is drawn: by colour, and by marker and line where there is none.

    Args:
        color: of everything.
        marker: of its points.
        line: the style of its lines.
    """

    color: str
    marker: str
    line: LineStyle


KNOWN = {
    "grid": Look(PALETTE[0], "o", "--"),
    "random": Look(PALETTE[1], "s", ":"),
    "range_test": Look(PALETTE[2], "^", "-"),
}
OTHER_COLORS = [PALETTE[3], PALETTE[4], PALETTE[5], PALETTE[6]]  # white paper swallows the yellow
OTHER_MARKERS = ["D", "v", "P", "*", "<", "p", ">", "h", "d", "8"]
OTHER_LINES = [LINES[3], LINES[4], LINES[5], LINES[6], LINES[7]]


def strategy_looks(strategies: Iterable[str]) -> dict[str, Look]:
    """A look for each strategy. The package's own strategies have a fixed one; others get theirs by their names, in any order.

    >>> strategy_looks(["mine", "grid"])["grid"] == strategy_looks(["grid"])["grid"]
    True
    """
    others = sorted({str(name) for name in strategies} - KNOWN.keys())
    looks = dict(KNOWN)
    for i, name in enumerate(others):
        turn, place = divmod(i, len(OTHER_COLORS))
        line = OTHER_LINES[(place + 2 * turn) % len(OTHER_LINES)]  # no two of a colour share line and marker
        looks[name] = Look(OTHER_COLORS[place], OTHER_MARKERS[i % len(OTHER_MARKERS)], line)
    return looks


def strategy_colors(strategies: Iterable[str]) -> dict[str, str]:
    """A colour for each strategy; the package's own strategies have a fixed one in every report."""
    return {name: look.color for name, look in strategy_looks(strategies).items()}


def plain(name: str, longest: int = LONGEST_NAME) -> str:
    """A user's name as text for a figure: matplotlib reads $...$ as a formula and hides labels that begin with _.

    A name longer than `longest` loses its middle, so that names that begin or end alike stay apart.
    """
    end = longest // 3
    shown = name if len(name) <= longest else f"{name[: longest - 1 - end]}…{name[-end:]}"
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
        r"e([+-])0*", lambda match: "e" + match[1].strip("+"), f"{value:.2g}" if value < 100 else f"{value:.3g}"
    )


def decade(value: float, _: object = None) -> str:
    """A power of ten as the label of a tick: in plain letters, since laying out a formula takes far longer.

    >>> decade(0.001), decade(100.0)
    ('10⁻³', '10²')
    """
    return "10" + f"{np.log10(value):.0f}".translate(_SUPERSCRIPTS)


def new_figure(
    rows: int, columns: int, *, panel: tuple[float, float] = (4.4, 3.4), heights: Sequence[float] | None = None
) -> tuple[Figure, Any]:
    """A figure with a grid of axes.

    Args:
        rows: of axes.
        columns: of axes.
        panel: width and height of each of the axes, in inches.
        heights: (rows,) the height of each row, in inches; default: that of `panel`.

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
    new: Axes = new_figure(1, 1, panel=(6.4, 4.2))[1][0, 0]
    return new


def log_lr(ax: Axes, label: str = "learning rate (log)") -> None:
    """A log axis for the LR, with decades labelled, or parts of them where there are few; after the data are drawn."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    if high < WIDE * low:
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        ax.xaxis.set_major_locator(LogLocator(numticks=9))
        ax.xaxis.set_major_formatter(FuncFormatter(decade))
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
    """The figure as a PNG. Its layout is settled by this, once: what is drawn into it later does not move its axes."""
    _lay_out(figure)
    out = io.BytesIO()
    # not savefig, which draws a figure with a layout twice
    FigureCanvasAgg(figure).print_png(out, metadata={"Software": None}, pil_kwargs={"compress_level": COMPRESSION})  # type: ignore[no-untyped-call]
    return out.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as an SVG with texts as text, the same bytes for the same figure; this settles its layout, as `png` does."""
    _lay_out(figure)
    out = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "lr-search", "svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return out.getvalue()


def _lay_out(figure: Figure) -> None:
    """Lay the figure out once: with many panels that takes far longer than to draw it, and every drawing would do it anew."""
    engine = figure.get_layout_engine()
    if engine is not None:
        for ax in figure.axes:
            _draw_minor_ticks_at_once(ax, figure)
        engine.execute(figure)
        figure.set_layout_engine("none")


def _draw_minor_ticks_at_once(ax: Axes, figure: Figure) -> None:
    """The minor ticks of log axes as one line of markers, in place of some fifty artists of five parts each."""
    for axis, marker, place in (
        (ax.xaxis, TICKDOWN, ax.get_xaxis_transform("tick1")),
        (ax.yaxis, TICKLEFT, ax.get_yaxis_transform("tick1")),
    ):
        if (
            not ax.get_visible()
            or axis.get_scale() != "log"
            or not isinstance(axis.get_minor_formatter(), NullFormatter)
        ):
            continue
        low, high = sorted(axis.get_view_interval())
        along = [value for value in axis.get_minorticklocs() if low <= value <= high]
        axis.set_minor_locator(NullLocator())
        across = [0.0] * len(along)
        ticks = Line2D(
            *((along, across) if axis is ax.xaxis else (across, along)), transform=place, linestyle="none",
            marker=marker,  # type: ignore[arg-type]
            markersize=mpl.rcParams["xtick.minor.size"], color=mpl.rcParams["xtick.color"],
            markeredgewidth=mpl.rcParams["xtick.minor.width"], clip_on=False,
        )  # fmt: skip
        ticks.set_in_layout(False)  # the labels reach further
        figure.add_artist(ticks)  # the axes' own lines are those of the data
