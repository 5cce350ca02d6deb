"""Which worker did what when."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from lr_search.kinds.checked import checked
from lr_search.report.figures.panels import Panels
from lr_search.report.figures.picture import Picture, legend_below, new_picture, require_columns
from lr_search.report.plots.style import MANY, PALETTE, new_figure, plain

MOST_WORKERS = 24
MOST_BARS = 2_000  # of more, those that follow on one worker with the same end are merged
_WIDTH, _ROW = 7.2, 0.32  # inches
_LETTERS = 14  # of a machine's name
_UNITS = ((86_400.0, "days", 3.0), (3_600.0, "hours", 2.0), (60.0, "minutes", 2.0), (1.0, "seconds", 0.0))
TASK_COLORS = {
    "range test": PALETTE[4], "finished": PALETTE[0], "diverged": PALETTE[3], "pruned": PALETTE[1], "failed": PALETTE[6],
    "confirmed": PALETTE[2], "pilot": PALETTE[5],
}  # fmt: skip
TASKS = {
    "range_test": "range test",
    "probe": "range test",
    "pilot": "pilot",
    "confirm": "confirmed",
}  # of a kind; a search's by its outcome
BAR_COLUMNS = ["worker", "machine", "task", "start", "end", "trials"]


@checked
def plot_timeline(all_trials: pd.DataFrame, ax: Axes | None = None, *, legend: bool = True) -> Axes:
    """Draw a row for each worker, with a bar from when each trial started to when it ended, coloured by how it ended.

    Args:
        all_trials: of `Findings.all_trials`, whole or in part; of more than 2,000 trials those of one kind that follow one another
            on a worker are one bar; of more than 24 workers the first 24 are drawn.
        ax: where to draw; default: a new figure.
        legend: whether to draw one, under the axes.

    Returns:
        The Axes.
    """
    require_columns("all_trials", all_trials, "kind", "outcome", "worker", "started", "ended")
    bars = timeline_bars(all_trials)
    count = int(bars["worker"].max()) if len(bars) else 0
    rows = min(count, MOST_WORKERS)
    bars = bars[bars["worker"] <= MOST_WORKERS]
    height = 1.5 + _ROW * max(3, rows)
    if ax is None:
        ax = new_figure(1, 1, panel=(_WIDTH, height))[1][0, 0]
    seconds, unit = _unit(float(bars["end"].max()) if len(bars) else 0.0)
    thick = 0.7 * 72 * (height - 1.5) / max(3, rows)
    for task, color in TASK_COLORS.items():
        part = bars[bars["task"] == task]
        if len(part):
            x = part[["start", "end"]].to_numpy(dtype=float) / seconds
            y = part["worker"].to_numpy(dtype=float) - 1
            segments = np.stack([x, np.stack([y, y], axis=1)], axis=2)
            ax.add_collection(
                LineCollection(
                    list(segments),
                    colors=color,
                    linewidths=thick,
                    capstyle="butt",
                    label=task,
                    rasterized=len(bars) > MANY,
                ),
                autolim=False,
            )
    _axes(ax, bars, rows, count, unit, seconds)
    if legend and len(bars):
        handles = [
            Line2D([], [], color=TASK_COLORS[t], linewidth=7, label=t) for t in TASK_COLORS if (bars["task"] == t).any()
        ]
        legend_below(ax, handles=handles, ncols=3)
    return ax


def _axes(ax: Axes, bars: pd.DataFrame, rows: int, count: int, unit: str, seconds: float) -> None:
    machines = bars.drop_duplicates("worker").sort_values("worker")["machine"].astype(str).tolist()
    labels = [f"worker {n} ({plain(name, _LETTERS)})" if name else f"worker {n}" for n, name in enumerate(machines, 1)]
    ax.set_yticks(range(rows), labels, fontsize=9)
    ax.set_ylim(max(rows, 1) - 0.5, -0.5)
    longest = float(bars["end"].max()) / seconds if len(bars) else 0.0
    ax.set_xlim(0, longest or 1.0)
    left_out = f"; {count - rows} more workers are not drawn" if count > rows else ""
    ax.set_xlabel(f"{unit} since the first start{left_out}")


def _unit(span: float) -> tuple[float, str]:
    return next((seconds, name) for seconds, name, least in _UNITS if span >= least * seconds)


def timeline_bars(all_trials: pd.DataFrame) -> pd.DataFrame:
    """The bars of `plot_timeline`.

    Returns:
        worker: from 1, in the order of their first starts; machine: its name; task: what the colour says; start, end: seconds since
        the first start of all; trials: how many the bar holds.
    """
    tasks = all_trials["kind"].astype("object").map(TASKS)
    tasks = tasks.where(tasks.notna(), all_trials["outcome"].astype("object"))
    known = (all_trials["started"].notna() & all_trials["ended"].notna() & tasks.notna()).to_numpy(dtype=bool)
    rows = all_trials[known]
    if not len(rows):
        return pd.DataFrame({name: [] for name in BAR_COLUMNS})
    names = rows["worker"].astype("object").where(rows["worker"].notna(), "")
    first = rows["started"].min()
    bars = pd.DataFrame({
        "name": names, "task": tasks[known], "start": (rows["started"] - first).dt.total_seconds(),
        "end": (rows["ended"] - first).dt.total_seconds(), "trials": 1,
    }).sort_values("start", kind="stable")  # fmt: skip
    bars["worker"] = pd.factorize(bars["name"])[0] + 1
    bars["machine"] = bars["name"].map(
        {name: str(name).rpartition(" ")[0] or str(name) for name in bars["name"].unique()}
    )
    return (_merged(bars) if len(bars) > MOST_BARS else bars)[BAR_COLUMNS].reset_index(drop=True)


def _merged(bars: pd.DataFrame) -> pd.DataFrame:
    """One bar for what follows on the same worker with the same end."""
    ordered = bars.sort_values(["worker", "start"], kind="stable")
    same = ordered[["worker", "task"]].eq(ordered[["worker", "task"]].shift()).all(axis=1)
    groups = ordered.groupby((~same).cumsum().to_numpy(), sort=False)
    return groups.agg(
        {"worker": "first", "machine": "first", "task": "first", "start": "min", "end": "max", "trials": "sum"}
    )


def timeline_picture(panels: Panels) -> Picture | None:
    """All trials of the comparison; None where one process ran them all (in lanes that begin and end together), or no start is known."""
    trials = panels.findings.all_trials
    bars = timeline_bars(trials)
    processes = {str(worker).partition("/")[0] for worker in trials["worker"].dropna().unique()}
    if not len(bars) or len(processes) < 2:
        return None
    ax = plot_timeline(trials)
    figure = ax.figure.figure
    count, span = int(bars["worker"].max()), float(bars["end"].max())
    seconds, unit = _unit(span)
    busy = float(trials["seconds"].sum()) / (count * span) if span else 1.0
    finding = [
        f"{count} workers ran {int(bars['trials'].sum()):,} trials within {span / seconds:.3g} {unit}, "
        f"busy for {min(1.0, busy):.0%} of that.",
        f"The first {MOST_WORKERS} are drawn." if count > MOST_WORKERS else "",
        "What follows on the same worker with the same end is one bar." if len(trials) > MOST_BARS else "",
    ]
    return new_picture("timeline", "Which worker did what when", finding, figure, bars, count <= MOST_WORKERS)
