"""Where trials were cut."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lr_search.kinds.checked import checked
from lr_search.report.figures.panels import Panels, lr_label
from lr_search.report.figures.picture import (
    Picture,
    legend_below,
    names_of,
    new_picture,
    present,
    require_columns,
    thinned,
)
from lr_search.report.plots.style import GREY, MANY, Look, log_lr, own_axes, plain, short_number, strategy_looks

_MOST_POINTS = 2_000
CUT_COLUMNS = ["strategy", "schedule", "optimizer", "seed", "number", "lr", "steps", "outcome"]


@checked
def plot_pruning(
    trials: pd.DataFrame,
    ax: Axes | None = None,
    *,
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
) -> Axes:
    """Draw the steps after which each pruned trial was cut, against its (peak) LR; trials that finished are faint.

    Args:
        trials: of `Findings.trials`, whole or in part; of more than 2,000 pruned (or finished) ones as many are drawn, evenly over
            the LR.
        ax: where to draw; default: a new figure.
        looks: of strategies; default: by the names that the table may hold.
        legend: whether to draw one, under the axes.

    Returns:
        The Axes.
    """
    require_columns("trials", trials, "strategy", "lr", "steps", "state", "outcome")
    ax = own_axes(ax)
    looks = {**strategy_looks(names_of(trials["strategy"])), **(looks or {})}
    finished, pruned = (thinned(part, _MOST_POINTS) for part in cut_points(trials))
    ax.scatter(
        finished["lr"], _floats(finished["steps"]), color=GREY, marker="o", s=16, alpha=0.3, linewidth=0, label="finished",
        rasterized=len(finished) > MANY,
    )  # fmt: skip
    for strategy in present(pruned["strategy"]):
        rows, look = pruned[pruned["strategy"] == strategy], looks[strategy]
        ax.scatter(
            rows["lr"], _floats(rows["steps"]), color=look.color, marker=look.marker, s=26, alpha=0.8, linewidth=0,
            label=f"{plain(strategy)}, pruned", rasterized=len(pruned) > MANY, zorder=3,
        )  # fmt: skip
    ax.set_ylabel("steps it was trained for")
    ax.set_ylim(bottom=0)
    name = lr_label([*finished["schedule"], *pruned["schedule"]])
    if len(finished) or len(pruned):
        log_lr(ax, f"{name} (log)")
    else:
        ax.set_xlabel(name)
    if legend:
        legend_below(ax)
    return ax


def cut_points(trials: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The finished and the pruned trials, each by LR."""
    known = trials[np.isfinite(trials["lr"].to_numpy(dtype=float))].sort_values("lr", kind="stable")
    finished = known[(known["outcome"] == "finished").fillna(False).to_numpy(dtype=bool)]
    return finished[CUT_COLUMNS], known[(known["state"] == "PRUNED").to_numpy(dtype=bool)][CUT_COLUMNS]


def _floats(values: pd.Series) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return values.to_numpy(dtype=float)


def pruning_picture(panels: Panels) -> Picture | None:
    """The pruned trials of all searches; None where there is none."""
    trials = panels.findings.trials
    finished, pruned = cut_points(trials)
    if not len(pruned):
        return None
    ax = plot_pruning(trials, looks=panels.looks)
    figure = ax.figure.figure
    ended = int((trials["state"] != "RUNNING").sum())
    full = max(int(study.plan["num_steps"]) for study in panels.findings.searches)
    low, high = short_number(float(pruned["lr"].min())), short_number(float(pruned["lr"].max()))
    saved = full * len(pruned) - int(pruned["steps"].sum())
    finding = [
        f"{len(pruned):,} of {ended:,} trials were pruned, half of them by step {int(pruned['steps'].median()):,} of {full:,}, "
        f"which saved {saved:,} steps; their LRs: {low} to {high}.",
    ]
    thin = max(len(finished), len(pruned)) > _MOST_POINTS
    finding += [f"At most {_MOST_POINTS:,} of each are drawn, evenly over the LR."] if thin else []
    data = pd.concat([thinned(part, _MOST_POINTS) for part in (pruned, finished)], ignore_index=True)
    return new_picture("pruning", "Where trials were cut", finding, figure, data, not thin)
