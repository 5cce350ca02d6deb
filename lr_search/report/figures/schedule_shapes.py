"""The schedules' shapes, each at its best LR, and what the best training under them did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lr_search.kinds.checked import checked
from lr_search.report.figures.panels import SHORT, Pair, Panels
from lr_search.report.figures.picture import Picture, legend_below, new_picture, require_columns
from lr_search.report.plots.style import LINES, PALETTE, own_axes, plain, short_number
from lr_search.results.anytime import best_trial
from lr_search.storage.records import StudyRecord, TrialRecord

PLANNED, TRAINED = "planned", "trained"
SHAPE_COLUMNS = ["schedule", "optimizer", "kind", "peak_lr", "step", "lr", "end_of_cycle"]
FAR_APART = 20.0  # highest over lowest peak from which on the axis is logarithmic
BELOW_LOWEST = 30.0  # how far under the lowest peak such an axis begins
_LETTERS = 30  # of a name in the legend
COLORS = [PALETTE[0], PALETTE[3], PALETTE[2], PALETTE[1], PALETTE[4], PALETTE[5], PALETTE[6]]


@checked
def plot_schedules(shapes: pd.DataFrame, ax: Axes | None = None, *, legend: bool = True) -> Axes:
    """Draw the LR against the step: as planned in full lines, as the best training had it in dashes; dots where cycles end.

    Args:
        shapes: a row a step, as of `shapes_frame`: schedule, optimizer, kind ("planned" or "trained"), peak_lr, step, lr,
            end_of_cycle (bool).
        ax: where to draw; default: a new figure.
        legend: whether to draw one, under the axes.

    Returns:
        The Axes.
    """
    require_columns("shapes", shapes, *SHAPE_COLUMNS)
    ax = own_axes(ax)
    keys = ["schedule", "optimizer", "kind"]
    several = len(shapes["optimizer"].unique()) > 1
    for place, (key, rows) in enumerate(shapes.groupby(keys, observed=True, sort=False)):
        schedule, optimizer, kind = map(str, key)
        name = f"{plain(schedule, _LETTERS)}, {plain(optimizer, SHORT)}" if several else plain(schedule, _LETTERS)
        peak = short_number(float(rows["peak_lr"].iloc[0]))
        did = ", as its best training went" if kind == TRAINED else ""
        color, turn = COLORS[place % len(COLORS)], place // len(COLORS)
        line = LINES[turn % len(LINES)] if kind == PLANNED else (0, (5, 2 + turn))
        steps, lr = rows["step"].to_numpy(dtype=float), rows["lr"].to_numpy(dtype=float)
        ax.plot(
            steps,
            lr,
            color=color,
            linestyle=line,
            linewidth=1.8,
            label=f"{name}: {'peak ' * (len(set(lr)) > 1)}{peak}{did}",
        )
        ends = rows["end_of_cycle"].to_numpy(dtype=bool)
        ax.plot(
            steps[ends],
            lr[ends],
            "o",
            color=color,
            markersize=5.5,
            markeredgecolor="white",
            markeredgewidth=0.7,
            clip_on=False,
            zorder=3,
        )
    ax.set_xlabel("steps (dots: a cycle ends, where it is judged and a snapshot can be taken)")
    _lr_axis(ax, shapes)
    if legend:
        legend_below(ax)
    return ax


def _lr_axis(ax: Axes, shapes: pd.DataFrame) -> None:
    peaks = shapes["peak_lr"].to_numpy(dtype=float)
    if len(peaks) and peaks.min() > 0 and peaks.max() > FAR_APART * peaks.min():
        ax.set_yscale("log")
        ax.set_ylim(bottom=peaks.min() / BELOW_LOWEST)
        ax.set_ylabel("learning rate (log)")
    else:
        ax.set_ylim(bottom=0)
        ax.set_ylabel("learning rate")


@checked
def shapes_frame(panels: Panels) -> pd.DataFrame:
    """What is drawn: each schedule's shape at its best LR, or what its best trial did where a controller or a search changed it.

    A schedule without a best LR is left out; if none has one, all stand at a peak of 1.
    """
    frames = []
    for pair in panels.pairs:
        studies = [s for s in panels.findings.searches if (s.plan["schedule"], s.plan["optimizer"]) == pair]
        plan = studies[0].plan
        if panels.candidates and pair not in panels.candidates:
            continue
        peak = panels.candidates[pair].lr if panels.candidates else 1.0
        best = _best(studies, 1 if panels.direction == "minimize" else -1)
        trained = bool(plan.get("controller") or plan.get("search_shape")) and best is not None
        rows = _trained(best) if trained and best is not None else _planned(plan["shape"], peak)
        frames.append(pd.DataFrame(rows).assign(schedule=pair[0], optimizer=pair[1]))
    return pd.concat(frames, ignore_index=True)[SHAPE_COLUMNS] if frames else pd.DataFrame(columns=SHAPE_COLUMNS)


def _planned(shape: Mapping[str, Any], peak: float) -> dict[str, Any]:
    """The shape at that peak; a cycle ends at the last step before its end, for at the end the next has begun."""
    steps, lr = np.array(shape["step"], dtype=float), peak * np.array(shape["lr"], dtype=float)
    places = np.searchsorted(steps, np.array(shape["cycle_ends"], dtype=float)) - 1
    ends = np.isin(np.arange(len(steps)), places)
    return {"kind": PLANNED, "peak_lr": peak, "step": steps, "lr": lr, "end_of_cycle": ends}


def _trained(trial: TrialRecord) -> dict[str, Any]:
    """The LR at the trial's evaluations."""
    seen = trial.evaluations()
    return {
        "kind": TRAINED, "peak_lr": trial.lr, "step": seen["step"], "lr": seen["lr"],
        "end_of_cycle": [bool(end) for end in seen["end_of_cycle"]],
    }  # fmt: skip


def _best(studies: list[StudyRecord], sign: int) -> TrialRecord | None:
    """The best complete trial of these studies that has evaluations to draw."""
    best_trials = [(study, best) for study in studies if (best := best_trial(study)) is not None]
    done = [(sign * study.clipped(best.value), place) for place, (study, best) in enumerate(best_trials)]
    known = [
        (value, place)
        for value, place in done
        if np.isfinite(value) and len(best_trials[place][1].evaluations()["step"]) > 1
    ]
    return best_trials[min(known)[1]][1] if known else None


def schedules_picture(panels: Panels) -> Picture | None:
    """Every schedule's shape in one panel; None where none moves."""
    shapes = shapes_frame(panels)
    if not shapes.groupby(["schedule", "optimizer"], observed=True)["lr"].nunique().gt(1).any():
        return None
    ax = plot_schedules(shapes)
    figure = ax.figure.figure
    peaks = shapes.groupby(["schedule", "optimizer"], observed=True, sort=False)["peak_lr"].first()
    named = [f"{panels.name(_pair(key))} {short_number(float(lr))}" for key, lr in peaks.items()]
    searched = shapes[shapes["kind"] == TRAINED]["schedule"].unique().tolist()
    lost = [panels.name(pair) for pair in panels.pairs if pair not in panels.candidates] if panels.candidates else []
    best = f"Best LRs, their peaks where they move: {', '.join(named)}."
    finding = [
        best if panels.candidates else "No schedule has a best LR: shapes stand at a peak of 1.",
        f"As the best training went: {', '.join(map(str, searched))}." if searched else "",
        f"No best LR, so not drawn: {', '.join(lost)}." if lost else "",
        panels.left_out,
    ]
    return new_picture(
        "schedules", "Schedules at their best learning rates", finding, figure, shapes, not panels.left_out
    )


def _pair(key: Any) -> Pair:
    return str(key[0]), str(key[1])
