"""Training loss and metrics against steps, coloured by LR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lr_search.kinds.checked import checked
from lr_search.kinds.direction import Direction
from lr_search.report.cells import measured
from lr_search.report.figures.panels import NAME, PANEL_COLUMNS, WIDTHS, Panels, lr_label
from lr_search.report.figures.picture import Picture, evenly, new_picture, require_columns
from lr_search.report.plots.style import WIDE, decade, fit_y, new_figure, own_axes, plain, short_number
from lr_search.results.tables import KEYS, TRAIN_LOSS

MOST_LINES = 200  # in one panel
_TRIAL = [*KEYS, "number"]
LINE_COLUMNS = [*_TRIAL, "peak_lr", "metric", "step", "value"]
_HEIGHT = 2.6  # inches of a panel


def _colors() -> LinearSegmentedColormap:
    """From blue to orange: as light in the middle as at the ends, so that white paper swallows none, nor dark paper."""
    return LinearSegmentedColormap.from_list("lr", ["#3a6fd0", "#1f9e89", "#dd8500"])


@checked
def plot_learning_curves(
    evaluations: pd.DataFrame,
    ax: Axes | None = None,
    *,
    metric: str = TRAIN_LOSS,
    label: str = "",
    direction: Direction = "minimize",
    lr_range: tuple[float, float] | None = None,
    colorbar: bool = True,
) -> Axes:
    """Draw a metric, or the training loss, against steps: a line a trial, coloured by its (peak) LR.

    Args:
        evaluations: of `Findings.evaluations`, whole or in part; of more than 200 trials as many are drawn, evenly over the LR.
        ax: where to draw; default: a new figure.
        metric: its name; default: the training loss, a mean since the evaluation before.
        label: what the axis calls it; default: its name, of validation data.
        direction: what is better: trainings far worse than most are cut off.
        lr_range: of the colours; default: of the trials in the table.
        colorbar: whether to draw the colours' scale.

    Returns:
        The Axes.
    """
    require_columns("evaluations", evaluations, *LINE_COLUMNS)
    ax = own_axes(ax)
    rows = learning_lines(evaluations, metric)
    low, high = lr_range or _lr_range(evaluations)
    scale = ScalarMappable(LogNorm(low, high), _colors())
    groups = rows.groupby(_TRIAL, observed=True, sort=False)
    trial = groups.ngroup().to_numpy()
    by_trial = np.argsort(trial, kind="stable")
    points = rows[["step", "value"]].to_numpy(dtype=float)[by_trial]
    segments = np.split(points, np.flatnonzero(np.diff(trial[by_trial])) + 1) if len(points) else []
    lines = LineCollection(segments, norm=scale.norm, cmap=scale.cmap, linewidths=1.0, alpha=0.75, label="_lines")
    lines.set_array(groups["peak_lr"].first().to_numpy(dtype=float))
    ax.add_collection(lines, autolim=False)
    name = "training loss" if metric == TRAIN_LOSS else plain(label or measured(metric), NAME)
    fit_y(ax, worth_seeing(rows["value"].to_numpy(dtype=float), direction), name)
    ax.set_xlim(0, max(1.0, float(rows["step"].max())) if len(rows) else 1.0)
    ax.set_xlabel("steps")
    if colorbar:
        ax.figure.colorbar(scale, ax=ax, label=f"{lr_label(evaluations['schedule'].unique())} (log)")
    return ax


def learning_lines(evaluations: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The lines of `plot_learning_curves`: finite values of at most 200 trials, evenly chosen over the LR."""
    values = evaluations["value"].to_numpy(dtype=float)
    rows = evaluations[(evaluations["metric"] == metric).to_numpy(dtype=bool) & np.isfinite(values)]
    rows = rows[np.isfinite(rows["peak_lr"].to_numpy(dtype=float))]
    trial = rows.groupby(_TRIAL, observed=True, sort=False).ngroup().to_numpy()
    first = np.unique(trial, return_index=True)[1]
    by_lr = np.argsort(rows["peak_lr"].to_numpy(dtype=float)[first], kind="stable")
    kept = by_lr[evenly(len(by_lr), MOST_LINES)]
    lines: pd.DataFrame = rows[np.isin(trial, kept)][LINE_COLUMNS]
    return lines


def _lr_range(evaluations: pd.DataFrame) -> tuple[float, float]:
    """Of the trials' LRs, as wide as a scale needs."""
    lrs = evaluations["peak_lr"].to_numpy(dtype=float)
    lrs = lrs[np.isfinite(lrs) & (lrs > 0)]
    low, high = (float(lrs.min()), float(lrs.max())) if len(lrs) else (1e-5, 10.0)
    return (low, high) if low < high else (low / 2, high * 2)


def worth_seeing(values: Sequence[float] | npt.NDArray[np.float64], direction: Direction) -> npt.NDArray[np.float64]:
    """The finite values, without those far worse than most: a training that blew up would hide all others."""
    given = np.asarray(values, dtype=float)
    finite: npt.NDArray[np.float64] = np.extract(np.isfinite(given), given)
    if not len(finite):
        return finite
    sign = 1 if direction == "minimize" else -1
    best, middle = sign * (sign * finite).min(), float(np.median(finite))
    worst = max(np.quantile(sign * finite, 0.75), sign * middle) + abs(middle - best)
    worth: npt.NDArray[np.float64] = np.extract(sign * finite <= worst, finite)
    return worth


def learning_curves_picture(panels: Panels) -> Picture | None:
    """Training loss over the objective, for each schedule and optimizer, under one scale of colours; None where no trial has a line."""
    findings = panels.findings
    whole = findings.evaluations
    rows = whole[whole["metric"].isin([TRAIN_LOSS, findings.objective])]
    judged = rows[(rows["metric"] == findings.objective) & np.isfinite(rows["value"])]
    if not judged.groupby(_TRIAL, observed=True).size().gt(1).any():
        return None
    parts = panels.parts(rows)
    lr_range = _lr_range(rows)
    figure, axes = _grid(len(panels.pairs))
    data, drawn = [], 0
    for pair, (upper, lower) in zip(panels.pairs, axes, strict=True):
        part = parts[pair]
        for ax, metric, better in ((upper, TRAIN_LOSS, "minimize"), (lower, findings.objective, panels.direction)):
            plot_learning_curves(
                part, ax, metric=metric, label=panels.objective, direction=better, lr_range=lr_range, colorbar=False,  # type: ignore[arg-type]
            )  # fmt: skip
            data.append(learning_lines(part, metric))
        drawn += data[-1].groupby(_TRIAL, observed=True).ngroups
        upper.set_title(panels.title(pair))
        upper.set_xlabel("")
    scale = ScalarMappable(LogNorm(*lr_range), _colors())
    figure.colorbar(
        scale,
        ax=figure.axes,
        label=f"{lr_label(rows['schedule'].unique())} (log)",
        location="bottom",
        shrink=0.6,
        aspect=45,
        fraction=0.05,
        pad=0.02,
        format=FuncFormatter(decade) if lr_range[1] >= WIDE * lr_range[0] else None,
    )
    count = rows[rows["metric"] == findings.objective].groupby(_TRIAL, observed=True).ngroups
    finding = [
        _ends(panels),
        f"{drawn:,} of {count:,} trials are drawn, evenly over the LR."
        if drawn < count
        else f"All {count:,} trials are drawn.",
        panels.left_out,
    ]
    complete = drawn >= count and not panels.left_out
    title = f"Training loss and {panels.objective} against steps"
    return new_picture("learning_curves", title, finding, figure, pd.concat(data, ignore_index=True), complete)


def _grid(count: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Two axes, one over the other, for each of so many panels, three pairs a row."""
    columns = max(1, min(PANEL_COLUMNS, count))
    blocks = -(-max(1, count) // columns)
    figure, axes = new_figure(2 * blocks, columns, panel=(WIDTHS[columns], _HEIGHT))
    pairs = [(axes[2 * row, column], axes[2 * row + 1, column]) for row in range(blocks) for column in range(columns)]
    for upper, lower in pairs[count:]:
        upper.set_visible(False)
        lower.set_visible(False)
    return figure, pairs[:count]


def _ends(panels: Panels) -> str:
    """Where trainings ended, at the lowest and the highest LR and at the best."""
    trials = panels.findings.trials
    done = trials[(trials["state"] == "COMPLETE") & np.isfinite(trials["objective"].to_numpy(dtype=float))]
    if not len(done):
        return "No training ended well."
    sign = 1 if panels.direction == "minimize" else -1
    best = done.loc[(sign * done["objective"]).idxmin()]
    ends = [done.loc[done["lr"].idxmin()], done.loc[done["lr"].idxmax()]]
    low, high = (f"{short_number(float(trial['lr']))}, {trial['objective']:.4g}" for trial in ends)
    return (
        f"The best training ended with {panels.objective} {best['objective']:.4g} at LR {short_number(float(best['lr']))}; "
        f"at the lowest LR that ended well, {low}; at the highest, {high}."
    )
