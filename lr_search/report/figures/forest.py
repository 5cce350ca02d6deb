"""A forest: the paired difference of each way of searching to a reference, with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lr_search.kinds.checked import checked
from lr_search.report.figures.panels import NAME, SHORT, Panels
from lr_search.report.figures.picture import Picture, legend_below, names_of, new_picture, require_columns
from lr_search.report.figures.ways import WAY, row_labels, varying, way_name
from lr_search.report.plots.style import GREY, Look, new_figure, own_axes, plain, strategy_looks
from lr_search.results.pairwise import PAIRWISE_COLUMNS
from lr_search.results.statistics import MIN_SEEDS

_MOST_ROWS = 30
THAN = [f"than_{name}" for name in WAY]
TOO_FEW = f"hollow: fewer than {MIN_SEEDS} seeds, too few for an interval"
_WIDTH, _ROW = 7.2, 0.34  # inches


@checked
def plot_forest(
    pairwise: pd.DataFrame,
    ax: Axes | None = None,
    *,
    objective: str = "objective",
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
) -> Axes:
    """Draw how much worse each way of searching is than its reference: a row each, with the 95% interval, and a line at 0.

    Args:
        pairwise: of `Findings.pairwise()`, whole or in part; of more than 30 rows the 30 nearest to the best are drawn.
        ax: where to draw; default: a new figure.
        objective: its name.
        looks: of strategies; default: by the names that the table may hold.
        legend: whether to say, under the axes, what hollow markers are.

    Returns:
        The Axes.
    """
    require_columns("pairwise", pairwise, *PAIRWISE_COLUMNS)
    rows = forest_rows(pairwise)
    if ax is None:
        ax = new_figure(1, 1, panel=(_WIDTH, 1.5 + _ROW * max(3, len(rows))))[1][0, 0]
    ax = own_axes(ax)
    names = [*names_of(pairwise["strategy"]), *names_of(pairwise["than_strategy"])]
    looks = {**strategy_looks(names), **(looks or {})}
    ax.axvline(0, color=GREY, linewidth=1.2, zorder=1)
    values = rows[["worse_by", "low", "high"]].to_numpy(dtype=float)
    for place, (strategy, (mean, low, high)) in enumerate(zip(rows["strategy"].astype(str), values, strict=True)):
        look, known = looks[strategy], np.isfinite(low) and np.isfinite(high)
        if known:
            ax.plot([low, high], [place, place], "|-", color=look.color, linewidth=2.0, markersize=8, zorder=2)
        ax.plot(
            [mean], [place], look.marker, color=look.color, markersize=7, zorder=3,
            markerfacecolor=look.color if known else "white", markeredgewidth=1.4,
        )  # fmt: skip
    names = varying(rows) if len(rows) else WAY
    labels = row_labels(rows, names)
    several = len(rows[THAN].drop_duplicates()) > 1
    if several:
        references = row_labels(rows, varying(rows, THAN))
        labels = [
            f"{label}\nvs {than}".replace(",\nvs", "\nvs") for label, than in zip(labels, references, strict=True)
        ]
    ax.set_yticks(range(len(rows)), labels, fontsize=9)
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    ax.set_xlabel(_label(rows, several, objective))
    if legend and len(rows) and rows["low"].isna().any():
        hollow = Line2D([], [], marker="o", color=GREY, markerfacecolor="white", linestyle="", label=TOO_FEW)
        legend_below(ax, handles=[hollow], lines=ax.get_xlabel().count("\n") + 1)
    return ax


def forest_rows(pairwise: pd.DataFrame) -> pd.DataFrame:
    """The rows of `plot_forest`, nearest to the best first."""
    known = pairwise[np.isfinite(pairwise["worse_by"].to_numpy(dtype=float))]
    rows: pd.DataFrame = known.sort_values("worse_by", kind="stable").head(_MOST_ROWS)
    return rows


def _label(rows: pd.DataFrame, several: bool, objective: str) -> str:
    name = plain(objective, NAME)
    if several or not len(rows):
        return f"worse than the reference by ({name}; left of 0: better)"
    than = ", ".join(plain(str(rows[column].iloc[0]), SHORT) for column in THAN)
    return f"worse than {than}\nby ({name}; left of 0: better)"


def forest_picture(panels: Panels) -> Picture | None:
    """Every way of searching against the best; None where no difference has an interval: what is left is in the summary."""
    findings = panels.findings
    pairwise = findings.pairwise()
    rows = forest_rows(pairwise)
    if not np.isfinite(rows["low"].to_numpy(dtype=float)).any():
        return None
    ax = plot_forest(pairwise, objective=panels.objective, looks=panels.looks)
    figure = ax.figure.figure
    names = varying(pd.concat([rows[WAY], rows[THAN].set_axis(WAY, axis=1)]))
    best = way_name(rows.iloc[0][THAN].set_axis(WAY), names)
    counts = pairwise["verdict"].value_counts()
    verdicts = ", ".join(f"{verdict}: {count}" for verdict, count in counts.items() if count)
    nearest = rows.iloc[0]
    interval = f" (95% interval {nearest['low']:.3g} to {nearest['high']:.3g})" if np.isfinite(nearest["low"]) else ""
    few = len(pairwise) - len(rows)
    finding = [
        f"{len(pairwise)} others against the best, {best}: {verdicts}.",
        f"The nearest, {way_name(nearest, names)}, is worse by {nearest['worse_by']:.3g}{interval}.",
        f"The {len(rows)} nearest are drawn, {few} others are not." if few else "",
    ]
    return new_picture("differences", "Paired differences to the best", finding, figure, pairwise, not few)
