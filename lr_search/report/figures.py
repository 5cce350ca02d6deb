"""The figures of a comparison: each a function from records to a matplotlib figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from lr_search.curve import FloatArray
from lr_search.report.curve_figure import plot_curve
from lr_search.report.recommendation import candidates
from lr_search.report.records import StudyRecord
from lr_search.report.style import GREY, MARKERS, PALETTE, fit_y, log_lr, new_figure, plain, strategy_colors
from lr_search.report.tables import anytime_frame

MOST_CURVES = 12  # range tests in one figure
COLUMNS = 3


def panels(records: Sequence[StudyRecord]) -> list[tuple[str, str]]:
    """The (schedule, optimizer) pairs, a panel each, in the order they were planned."""
    return list(dict.fromkeys((s.plan["schedule"], s.plan["optimizer"]) for s in records if s.kind == "search"))


def _grid(count: int, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """Axes for `count` panels, three a row; what is left over is hidden."""
    columns = min(COLUMNS, count)
    figure, axes = new_figure(math.ceil(count / columns), columns, panel=(4.4, height))
    flat = list(axes.flat)
    for ax in flat[count:]:
        ax.set_visible(False)
    return figure, flat[:count]


def _title(records: Sequence[StudyRecord], pair: tuple[str, str]) -> str:
    optimizers = {s.plan["optimizer"] for s in records}
    return f"{plain(pair[0])}, {plain(pair[1])}" if len(optimizers) > 1 else plain(pair[0])


def _objective(records: Sequence[StudyRecord]) -> str:
    return plain(_objective_name(records))


def _objective_name(records: Sequence[StudyRecord]) -> str:
    return next(str(s.plan["objective"]) for s in records if s.kind == "search")


def _search(records: Sequence[StudyRecord], pair: tuple[str, str]) -> list[StudyRecord]:
    return [s for s in records if s.kind == "search" and (s.plan["schedule"], s.plan["optimizer"]) == pair]


def anytime_figure(records: Sequence[StudyRecord]) -> Figure:
    """Best objective so far against steps spent, a line a strategy: mean over seeds, with the range over seeds."""
    frame = anytime_frame(records)
    pairs = panels(records)
    figure, axes = _grid(len(pairs))
    colors = strategy_colors(frame["strategy"])
    lines: dict[str, Any] = {}
    for pair, ax in zip(pairs, axes, strict=True):
        part = frame[(frame["schedule"] == pair[0]) & (frame["optimizer"] == pair[1])]
        starts = [s.worst for s in _search(records, pair)]
        for strategy, rows in part.groupby("strategy", sort=False):
            grid, values = _on_one_grid(rows, [s for s in _search(records, pair) if s.plan["strategy"] == strategy])
            mean = values.mean(axis=0)
            color = colors[str(strategy)]
            lines[str(strategy)] = ax.step(
                grid, mean, where="post", color=color, linewidth=1.9, label=plain(str(strategy))
            )[0]
            if len(values) > 1:
                ax.fill_between(
                    grid, values.min(axis=0), values.max(axis=0), step="post", color=color, alpha=0.15, linewidth=0
                )
        fit_y(ax, np.concatenate([part["best"].to_numpy(dtype=float), starts]), f"best {_objective(records)} so far")
        ax.set_xlabel("steps spent, range tests included")
        ax.set_xlim(left=0)
        ax.set_title(_title(records, pair))
    axes[-1].legend(handles=list(lines.values()), fontsize=8, title="mean, and range over seeds", title_fontsize=8)
    return figure


def _on_one_grid(rows: pd.DataFrame, studies: Sequence[StudyRecord]) -> tuple[FloatArray, FloatArray]:
    """One strategy's best so far on the steps at which any seed improved. Returns: steps (n,), values (seeds, n)."""
    grid = np.unique(np.concatenate([[0], rows["steps_charged"].to_numpy(dtype=int)]))
    values = []
    for _, seed in rows.groupby("seed", sort=True):
        start = next(s.worst for s in studies if s.plan["seed"] == seed["seed"].iloc[0])
        steps, bests = seed["steps_charged"].to_numpy(dtype=int), seed["best"].to_numpy(dtype=float)
        place = np.searchsorted(steps, grid, side="right")
        values.append(np.concatenate([[start], bests])[place])
    return grid, np.array(values)


def lr_figure(records: Sequence[StudyRecord]) -> Figure:
    """The objective at the end of every trial against its (peak) LR; diverged trials on the upper edge."""
    pairs = panels(records)
    figure, axes = _grid(len(pairs))
    strategies = list(dict.fromkeys(s.plan["strategy"] for s in records if s.kind == "search"))
    colors = strategy_colors(strategies)
    best = candidates(records)
    for pair, ax in zip(pairs, axes, strict=True):
        studies = _search(records, pair)
        shown: list[float] = []
        for strategy, marker in zip(strategies, MARKERS * len(strategies), strict=False):
            trials = [
                (t, s) for s in studies if s.plan["strategy"] == strategy for t in s.trials if t.state == "COMPLETE"
            ]
            ended = [(t.lr, s.clipped(t.value)) for t, s in trials if math.isfinite(t.value)]
            lost = [(t.lr, s.worst) for t, s in trials if not math.isfinite(t.value)]
            shown += [value for _, value in (*ended, *lost)]
            style: dict[str, Any] = {"color": colors[strategy], "s": 22, "alpha": 0.8}
            ax.scatter(*_columns(ended), marker=marker, label=plain(strategy), linewidth=0, **style)
            ax.scatter(*_columns(lost), marker="x", linewidth=1.2, **style)
        if not np.isfinite(shown).any():  # no trial is complete here yet
            ax.set_xlim(*studies[0].plan["lr_range"])
        log_lr(ax, "peak learning rate (log)")
        fit_y(ax, shown, f"{_objective(records)} at the end")
        for candidate in best[:1]:
            if (candidate.schedule, candidate.optimizer) == pair:
                ax.axvline(
                    candidate.lr, color=PALETTE[3], linestyle="--", linewidth=1.4, label=f"best {candidate.lr:.2g}"
                )
        ax.set_title(_title(records, pair))
        ax.legend(fontsize=7.5)
    figure.supxlabel(
        "x: diverged, drawn at the objective of step 0; no trial is drawn worse than that", fontsize=8, color=GREY
    )
    return figure


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def learning_figure(records: Sequence[StudyRecord]) -> Figure:
    """Training loss and objective against steps, a line a trial, coloured by its (peak) LR."""
    pairs = panels(records)
    figure, axes = new_figure(2, len(pairs), panel=(4.2, 3.0))
    lrs = [t.lr for s in records if s.kind == "search" for t in s.trials]
    norm = LogNorm(min(lrs, default=1e-5), max(lrs, default=10.0))
    scale = ScalarMappable(norm, "viridis")
    objective = _objective_name(records)
    for column, pair in enumerate(pairs):
        ranges: tuple[list[float], list[float]] = ([], [])
        studies = _search(records, pair)
        for study in studies:
            for trial in study.trials:
                evaluations = trial.evaluations()
                lines = evaluations["train_loss"], evaluations["metrics"].get(objective, [])
                for ax, line, seen in zip(axes[:, column], lines, ranges, strict=True):
                    ax.plot(
                        evaluations["step"][: len(line)],
                        line,
                        color=scale.cmap(norm(trial.lr)),
                        alpha=0.7,
                        linewidth=1.0,
                    )
                    seen.extend(line)
        for ax, seen, label in zip(
            axes[:, column], ranges, ("training loss", f"validation {plain(objective)}"), strict=True
        ):
            fit_y(
                ax, _worth_seeing(seen, studies[0].plan["direction"] if label != "training loss" else "minimize"), label
            )
            ax.set_xlim(0, studies[0].plan["num_steps"])
        axes[0, column].set_title(_title(records, pair))
        axes[1, column].set_xlabel("steps")
    figure.colorbar(scale, ax=axes, label="peak learning rate (log)", shrink=0.8)
    return figure


def _worth_seeing(values: Sequence[float], direction: str) -> FloatArray:
    """The finite values, without those far worse than most: a training that blew up would hide all others."""
    finite = np.array([value for value in values if math.isfinite(value)])
    if not len(finite):
        return finite
    sign = 1 if direction == "minimize" else -1
    best, middle = sign * (sign * finite).min(), float(np.median(finite))
    worst = max(np.quantile(sign * finite, 0.75), sign * middle) + abs(middle - best)
    return np.asarray(finite[sign * finite <= worst])


def range_test_figure(records: Sequence[StudyRecord]) -> Figure | None:
    """Each range test with its suggestion, bounds and prior; None where there is none."""
    curves = [(s, curve) for s in records if s.kind == "range_test" for curve in s.curves][:MOST_CURVES]
    if not curves:
        return None
    figure, axes = _grid(len(curves), 3.6)
    for (study, curve), ax in zip(curves, axes, strict=True):
        plot_curve(curve, ax)
        ended = {"finished": "reached its end", "diverged": "diverged", "non_finite": "loss non-finite"}[curve.stopped]
        ax.set_title(f"{plain(study.plan['optimizer'])}, seed {study.plan['seed']}: {curve.num_steps} steps, {ended}")
    return figure


def schedule_figure(records: Sequence[StudyRecord]) -> Figure:
    """The schedules' shapes, each at its best LR; dots where cycles end and are judged."""
    figure, axes = new_figure(1, 1, panel=(7.2, 3.6))
    ax = axes[0, 0]
    found = {(c.schedule, c.optimizer): c for c in candidates(records)}
    for pair, color in zip(panels(records), PALETTE * len(panels(records)), strict=False):
        plan = _search(records, pair)[0].plan
        shape = plan["shape"]
        peak = found[pair].lr if pair in found else 1.0
        steps, lr = np.array(shape["step"]), peak * np.array(shape["lr"])
        ax.plot(
            steps, lr, color=color, linewidth=1.7, label=f"{_title(records, pair)}, peak {peak:.2g}{_drawn_as(plan)}"
        )
        ends = np.array(shape["cycle_ends"], dtype=float)
        ax.plot(ends, np.interp(ends, steps, lr), "o", color=color, markersize=4.5)
    ax.set_xlabel("steps (dots: a cycle ends, and is judged)")
    ax.set_ylabel("learning rate")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _drawn_as(plan: Mapping[str, Any]) -> str:
    """In which way trainings differ from the shape that is drawn; empty where they do not."""
    if plan.get("controller"):
        return " at first, then as the training goes"
    return " (as laid out by name; searched)" if plan.get("search_shape") else ""


def all_figures(records: Sequence[StudyRecord]) -> dict[str, tuple[Figure, str]]:
    """Every figure that the records allow: file name -> (figure, what it shows)."""
    if not any(t.state == "COMPLETE" for s in records if s.kind == "search" for t in s.trials):
        figures: dict[str, tuple[Figure | None, str]] = {}
    else:
        figures = {
            "best_so_far": (anytime_figure(records), "Best objective so far against steps spent, by strategy."),
            "objective_by_lr": (
                lr_figure(records),
                "Objective at the end of every trial against its peak learning rate.",
            ),
            "learning_curves": (
                learning_figure(records),
                "Training loss and objective against steps, coloured by learning rate.",
            ),
            "schedules": (schedule_figure(records), "The schedules' shapes, each at its best peak learning rate."),
        }
    figures["range_tests"] = (
        range_test_figure(records),
        "Range tests: loss against learning rate, its phases, suggestion, bounds, prior.",
    )
    order = ("best_so_far", "objective_by_lr", "range_tests", "learning_curves", "schedules")
    return {
        name: (figure, text)
        for name in order
        if name in figures
        for figure, text in [figures[name]]
        if figure is not None
    }


__all__ = ["all_figures", "anytime_figure", "learning_figure", "lr_figure", "range_test_figure", "schedule_figure"]
