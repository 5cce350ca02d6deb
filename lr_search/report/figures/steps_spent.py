"""Where the steps of each way of searching went."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lr_search.kinds.checked import checked
from lr_search.report.figures.panels import Panels
from lr_search.report.figures.picture import Picture, legend_below, new_picture, require_columns
from lr_search.report.figures.ways import WAY, row_labels, varying, way_name
from lr_search.report.plots.style import GREY, PALETTE, new_figure
from lr_search.results.costs import PARTS

_MOST_ROWS = 30
_WIDTH, _ROW = 7.2, 0.36  # inches
PART_COLORS = {
    "range tests": PALETTE[4], "pilots": PALETTE[5], "finished": PALETTE[0], "diverged": PALETTE[3], "pruned": PALETTE[1], "failed": GREY,
}  # fmt: skip
HATCHES = {"range tests": "//", "pilots": "||", "finished": "", "diverged": "xx", "pruned": "..", "failed": "\\\\"}


@checked
def plot_costs(costs: pd.DataFrame, ax: Axes | None = None, *, legend: bool = True) -> Axes:
    """Draw the steps that a study of each way of searching spent, by what they went into: a bar each, stacked.

    Args:
        costs: of `Findings.costs()`, whole or in part; of more than 30 ways the first 30 are drawn.
        ax: where to draw; default: a new figure.
        legend: whether to draw one, under the axes.

    Returns:
        The Axes.
    """
    require_columns("costs", costs, "strategy", "schedule", "optimizer", "part", "steps")
    ways = cost_rows(costs).head(_MOST_ROWS)
    height = 1.5 + _ROW * max(3, len(ways))
    if ax is None:
        ax = new_figure(1, 1, panel=(_WIDTH, height))[1][0, 0]
    left = np.zeros(len(ways))
    for part in PARTS:
        steps = ways[part].to_numpy(dtype=float)
        if steps.any():
            ax.barh(
                range(len(ways)), steps, left=left, height=0.72, color=PART_COLORS[part], hatch=HATCHES[part],
                edgecolor="white", linewidth=0.6, label=part,
            )  # fmt: skip
        left = left + steps
    ax.set_yticks(range(len(ways)), row_labels(ways, varying(ways) if len(ways) else WAY), fontsize=9)
    ax.set_ylim(max(len(ways), 1) - 0.5, -0.5)
    ax.set_xlabel("steps a study spent (mean)")
    if legend:
        legend_below(ax, ncols=3)
    return ax


def cost_rows(costs: pd.DataFrame) -> pd.DataFrame:
    """A row for each way of searching, in the order of the table, and a column for each part's steps."""
    wide = costs.assign(part=costs["part"].astype("object"), **{name: costs[name].astype("object") for name in WAY})
    order = wide[WAY].drop_duplicates()
    table = wide.pivot_table(index=WAY, columns="part", values="steps", aggfunc="sum", observed=True, sort=False)
    table = table.reindex(columns=PARTS).fillna(0.0)
    return order.merge(table.reset_index(), on=WAY, how="left").astype(dict.fromkeys(PARTS, "float64"))


def costs_picture(panels: Panels) -> Picture | None:
    """Every way of searching, best first; None where all spent alike."""
    findings = panels.findings
    costs = findings.costs()
    if not cost_rows(costs)[PARTS].round().nunique().gt(1).any():
        return None
    rank = {
        tuple(map(str, key)): place
        for place, key in enumerate(findings.summary(full=True)[WAY].itertuples(index=False))
    }
    places = [rank.get(tuple(map(str, key)), len(rank)) for key in costs[WAY].itertuples(index=False)]
    costs = costs.iloc[np.argsort(places, kind="stable")]
    ax = plot_costs(costs)
    figure = ax.figure.figure
    rows = cost_rows(costs)
    total = rows[PARTS].sum(axis=1)
    names = varying(rows)
    most = int(total.argmax())
    shares = rows[PARTS].sum() / total.sum()
    parts = ", ".join(f"{part} {_percent(share)}" for part, share in shares.items() if share > 0)
    many = len(rows) > _MOST_ROWS
    finding = [
        f"Of all steps charged: {parts}.",
        f"A study of {way_name(rows.iloc[most], names)} spent the most, {total.iloc[most]:,.0f} steps.",
        f"Of {len(rows)} ways of searching the {_MOST_ROWS} best are drawn." if many else "",
    ]
    return new_picture("costs", "Where the steps went", finding, figure, costs, not many)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else "under 1%"
