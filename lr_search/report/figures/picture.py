"""A figure of a report with what it shows, in words and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lr_search.errors import require
from lr_search.kinds.checked import checked

_MOST_ROWS = 10_000  # of a picture's table
MOST_NAMED = 4  # in a sentence
LEGEND = 9.0  # points
INCHES = 6.4  # of an axes, where it is not known
INCH_A_ROW = 0.2  # of a legend
INCH_A_LETTER = 0.072  # of the legend's text
INCH_A_HANDLE = 0.55  # its line or marker, and what is left free around it


@checked
@dataclass(frozen=True)
class Picture:
    """A figure and what it shows.

    Args:
        name: the stem of its file.
        title: what is drawn.
        finding: what that shows, in numbers: one or two sentences.
        figure: the figure.
        data: what is drawn, tidy, at most 10,000 rows.
        whole: whether `data` holds all there is to draw.
    """

    name: str
    title: str
    finding: str
    figure: Figure
    data: pd.DataFrame
    whole: bool = True


def new_picture(
    name: str, title: str, finding: Sequence[str], figure: Figure, data: pd.DataFrame, whole: bool = True
) -> Picture:
    """A picture whose table is thinned to its most rows. finding: sentences; empty ones are left out."""
    whole = whole and len(data) <= _MOST_ROWS
    text = " ".join(sentence for sentence in finding if sentence)
    return Picture(name, title, text, figure, thinned(data, _MOST_ROWS).reset_index(drop=True), whole)


def thinned(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, evenly chosen from the first to the last."""
    return frame if len(frame) <= most else frame.iloc[evenly(len(frame), most)]


def evenly(count: int, most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """At most `most` of the places 0 to count - 1, evenly, first and last among them.

    >>> evenly(9, 3).tolist(), evenly(2, 3).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.unique(np.linspace(0, max(0, count - 1), min(count, most)).round().astype(np.int64))


def require_columns(name: str, frame: pd.DataFrame, *columns: str) -> None:
    """Raises: InvalidInputError: the table lacks a column."""
    lacking = [column for column in columns if column not in frame]
    require(
        not lacking,
        f"{name} must have the columns {', '.join(columns)}",
        "Pass the comparison's own table.",
        lacking=lacking,
    )


def names_of(column: pd.Series) -> list[str]:
    """The names that a column may hold: a category's all, so that a part of a table is drawn as the whole is."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [str(name) for name in column.cat.categories]
    return [str(name) for name in column.dropna().unique()]


def present(column: pd.Series) -> list[str]:
    """The names that a column holds, in the order of its categories."""
    there = {str(name) for name in column.dropna().unique()}
    return [name for name in names_of(column) if name in there]


def name_list(names: Sequence[str]) -> str:
    """The first few, and how many more.

    >>> name_list(["a", "b"]), name_list(["a", "b", "c", "d", "e", "f"])
    ('a, b', 'a, b, c, d and 2 more')
    """
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def legend_below(
    ax: Axes,
    title: str | None = None,
    *,
    handles: Sequence[Artist] | None = None,
    lines: int = 1,
    ncols: int | None = None,
) -> None:
    """A legend under the axes, where no data are.

    Args:
        ax: what is explained.
        title: over it.
        handles: what is named; default: all that has a label.
        lines: that the label of the x axis has.
        ncols: columns; default: as many as there is room for.
    """
    known = list(ax.get_legend_handles_labels()[0] if handles is None else handles)
    if known:
        labels = [str(handle.get_label()) for handle in known]
        ax.legend(
            known, labels, fontsize=LEGEND, title=title, title_fontsize=LEGEND, ncols=ncols or _columns(labels, INCHES),
            loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=3.0 + 1.4 * lines, frameon=False,
        )  # fmt: skip


def shared_legend(figure: Figure, title: str | None = None) -> None:
    """One legend under all axes, for which the figure grows: each label once, in the order in which it comes."""
    handles: dict[str, Artist] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        columns = _columns(list(handles), figure.get_figwidth())
        rows = -(-len(handles) // columns) + bool(title)
        figure.set_figheight(figure.get_figheight() + INCH_A_ROW * rows)
        figure.legend(
            list(handles.values()), list(handles), fontsize=LEGEND, title=title, title_fontsize=LEGEND, frameon=False,
            ncols=columns, loc="outside lower center",
        )  # fmt: skip


def _columns(labels: Sequence[str], inches: float) -> int:
    """How many columns of a legend are so wide at most."""
    widest = INCH_A_LETTER * max(len(label) for label in labels) + INCH_A_HANDLE
    return max(1, min(len(labels), int(inches / widest)))
