"""The objective at the end of every trial against its LR, with the basin of the best LR."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lr_search.kinds.annotations import MaybeNan
from lr_search.kinds.checked import checked
from lr_search.kinds.direction import Direction
from lr_search.report.figures.panels import NAME, Pair, Panels, lr_label
from lr_search.report.figures.picture import (
    Picture,
    legend_below,
    names_of,
    new_picture,
    present,
    require_columns,
    shared_legend,
    thinned,
)
from lr_search.report.plots.style import (
    GREY,
    MANY,
    PALETTE,
    Look,
    fit_y,
    log_lr,
    own_axes,
    plain,
    short_number,
    strategy_looks,
)
from lr_search.results.candidates import Candidate

_MOST_POINTS = 2_000  # in one panel
BASIN, FIT, BEST = "#d9ead9", PALETTE[6], PALETTE[3]
POINT_COLUMNS = ["strategy", "schedule", "optimizer", "seed", "number", "lr", "objective", "diverged"]
_EDGE = "×: diverged, drawn at the objective of step 0; no trial is drawn worse than that"


@checked
def plot_objective_by_lr(
    trials: pd.DataFrame,
    ax: Axes | None = None,
    *,
    basin: Candidate | None = None,
    starts: Mapping[int, MaybeNan] | None = None,
    direction: Direction = "minimize",
    objective: str = "objective",
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
) -> Axes:
    """Draw the objective at the end of every complete trial against its (peak) LR.

    Args:
        trials: of `Findings.trials`, whole or in part; of more than 2,000 complete ones as many are drawn, evenly over the LR.
        ax: where to draw; default: a new figure.
        basin: the fit over the LR, the best LR and its basin; None: the trials alone.
        starts: the objective at step 0 by seed: no trial is drawn worse, and diverged ones at it; default: diverged ones are drawn
            at the worst that another trial reached.
        direction: what is better.
        objective: its name.
        looks: of strategies; default: by the names that the table may hold.
        legend: whether to draw one, under the axes.

    Returns:
        The Axes.
    """
    require_columns("trials", trials, "strategy", "seed", "lr", "objective", "state", "outcome")
    ax = own_axes(ax)
    looks = {**strategy_looks(names_of(trials["strategy"])), **(looks or {})}
    points = lr_points(trials, starts, direction)
    if basin is not None:
        _draw_basin(ax, basin)
    drawn = thinned(points, _MOST_POINTS)
    for strategy in present(drawn["strategy"]):
        rows, look = drawn[drawn["strategy"] == strategy], looks[strategy]
        ended, lost = rows[~rows["diverged"]], rows[rows["diverged"]]
        ax.scatter(
            ended["lr"], ended["objective"], color=look.color, marker=look.marker, s=22, alpha=0.8, linewidth=0,
            label=plain(strategy), rasterized=len(drawn) > MANY, zorder=3,
        )  # fmt: skip
        ax.scatter(
            lost["lr"], lost["objective"], color=look.color, marker="x", s=24, linewidth=1.2, alpha=0.8, zorder=3,
            rasterized=len(drawn) > MANY,
        )  # fmt: skip
    fit = np.zeros(0) if basin is None else basin.mean
    fit_y(ax, np.concatenate([drawn["objective"].to_numpy(dtype=float), fit]), f"{plain(objective, NAME)} at the end")
    name = lr_label(points["schedule"])
    if len(points):
        if not np.isfinite(drawn["objective"].to_numpy(dtype=float)).any():
            ax.set_xlim(points["lr"].min() / 2, points["lr"].max() * 2)
        log_lr(ax, f"{name} (log)")
    else:
        ax.set_xlabel(name)
    if legend:
        legend_below(ax)
    return ax


def lr_points(trials: pd.DataFrame, starts: Mapping[int, MaybeNan] | None, direction: Direction) -> pd.DataFrame:
    """The points of `plot_objective_by_lr`, by LR: no worse than at step 0, and whether they diverged."""
    done = trials[(trials["state"] == "COMPLETE") & np.isfinite(trials["lr"].to_numpy(dtype=float))]
    values = done["objective"].to_numpy(dtype=float)
    finite = np.isfinite(values)
    worst = np.max if direction == "minimize" else np.min
    edge = float(worst(values[finite])) if finite.any() else np.nan
    limit = done["seed"].map(dict(starts or {})).to_numpy(dtype=float, na_value=np.nan)
    better = np.fmin if direction == "minimize" else np.fmax
    shown = better(values, limit)  # a start that is unknown limits nothing
    shown = np.where(np.isfinite(shown), shown, edge)
    points = done.assign(objective=shown, diverged=~finite)
    by_lr: pd.DataFrame = points.sort_values("lr", kind="stable")[POINT_COLUMNS]
    return by_lr


def _draw_basin(ax: Axes, basin: Candidate) -> None:
    low, high = basin.bounds
    if np.isfinite(low) and low < high:
        ax.axvspan(low, high, color=BASIN, linewidth=0, zorder=0, label="within 5% of the best")
    ax.plot(basin.lrs, basin.mean, color=FIT, linewidth=1.2, alpha=0.8, label="fit, mean over seeds", zorder=2)
    ax.axvline(basin.lr, color=BEST, linestyle="--", linewidth=1.5, label="best LR", zorder=2)
    ax.annotate(
        short_number(basin.lr), (basin.lr, 1), (3, -3), xycoords=("data", "axes fraction"), textcoords="offset points",
        fontsize=9, color=BEST, va="top", bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}, zorder=4,
    )  # fmt: skip


def objective_by_lr_picture(panels: Panels) -> Picture:
    """Objective against LR, a panel for each schedule and optimizer."""
    findings = panels.findings
    parts = panels.parts(findings.trials)

    def one(ax: Axes, pair: Pair) -> None:
        plot_objective_by_lr(
            parts[pair], ax, basin=panels.candidates.get(pair), starts=panels.starts[pair], direction=panels.direction,
            objective=panels.objective, looks=panels.looks, legend=False,
        )  # fmt: skip
        if not len(parts[pair]) or not (parts[pair]["state"] == "COMPLETE").any():
            ax.text(0.5, 0.5, "no trial is complete", transform=ax.transAxes, ha="center", color=GREY)

    figure = panels.draw(one)
    shared_legend(figure, _EDGE)
    points = {pair: lr_points(part, panels.starts[pair], panels.direction) for pair, part in parts.items()}
    data = pd.concat([thinned(rows, _MOST_POINTS) for rows in points.values()], ignore_index=True)
    thin = any(len(rows) > _MOST_POINTS for rows in points.values())
    finding = [
        _basins(panels), _diverged(findings.trials),
        f"At most {_MOST_POINTS:,} trials a panel are drawn, evenly over the LR." if thin else "", panels.left_out,
    ]  # fmt: skip
    whole, schedules = not thin and not panels.left_out, {schedule for schedule, _ in panels.pairs}
    return new_picture(
        "objective_by_lr",
        f"{panels.objective[:1].upper()}{panels.objective[1:]} at the end against the {lr_label(schedules)}",
        finding,
        figure,
        data,
        whole,
    )


def _basins(panels: Panels) -> str:
    if not panels.candidates:
        return "No schedule has a best LR: every complete trial diverged."
    pair, best = next(iter(panels.candidates.items()))
    low, high = best.bounds
    text = (
        f"The best LR of all is {short_number(best.lr)}, under {panels.name(pair)}: {panels.objective} {best.value:.4g}"
    )
    if not np.isfinite(low):
        return f"{text}."
    return f"{text}; from {short_number(low)} to {short_number(high)} it stays within 5% of that."


def _diverged(trials: pd.DataFrame) -> str:
    done = int((trials["state"] == "COMPLETE").sum())
    lost = trials[(trials["outcome"] == "diverged").fillna(False)]
    if not len(lost):
        return f"None of {done} trials diverged."
    return f"{len(lost)} of {done} trials diverged, the lowest at {short_number(float(lost['lr'].min()))}."
