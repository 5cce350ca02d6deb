"""Best so far against steps spent: who finds what, and how soon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lr_search.kinds.annotations import MaybeNan
from lr_search.kinds.checked import checked
from lr_search.report.figures.panels import NAME, SHORT, Pair, Panels
from lr_search.report.figures.picture import (
    Picture,
    legend_below,
    name_list,
    names_of,
    new_picture,
    require_columns,
    shared_legend,
)
from lr_search.report.plots.style import LINES, LONGEST_NAME, Look, fit_y, own_axes, plain, strategy_looks
from lr_search.results.statistics import MIN_SEEDS, mean_interval

GROUP = ["strategy", "schedule", "optimizer"]
BAND_COLUMNS = ["steps", "mean", "low", "high", "seeds"]
FEW = 3  # lines in a panel; bands of more are fainter


@checked
def plot_anytime(
    anytime: pd.DataFrame,
    ax: Axes | None = None,
    *,
    starts: Mapping[int, MaybeNan] | None = None,
    objective: str = "objective",
    looks: Mapping[str, Look] | None = None,
    legend: bool = True,
) -> Axes:
    """Draw the best objective so far against the steps spent: the mean over seeds, with a band.

    The band is Student's 95% t-interval of the mean where there are at least 3 seeds (`mean_interval`), else the range over seeds.

    Args:
        anytime: of `Findings.anytime()`, whole or in part: a line for each strategy, schedule and optimizer in it.
        ax: where to draw; default: a new figure.
        starts: the objective at step 0 by seed, where lines begin; default: a line begins when each of its seeds has a findings.
        objective: its name.
        looks: of strategies; default: by the names that the table may hold.
        legend: whether to draw one, under the axes.

    Returns:
        The Axes.
    """
    require_columns("anytime", anytime, "strategy", "schedule", "optimizer", "seed", "steps_charged", "best")
    ax = own_axes(ax)
    looks = {**strategy_looks(names_of(anytime["strategy"])), **(looks or {})}
    varied = [name for name in GROUP[1:] if len(anytime[name].unique()) > 1]
    pairs: dict[tuple[str, ...], int] = {}
    seen: list[Any] = [list((starts or {}).values())]
    seeds: list[int] = []
    groups = list(anytime.groupby(GROUP, observed=True, sort=False))
    strength = 0.16 if len(groups) <= FEW else 0.07
    for key, rows in groups:
        names = dict(zip(GROUP, map(str, key), strict=True))
        turn = pairs.setdefault((names["schedule"], names["optimizer"]), len(pairs))
        look = looks[names["strategy"]]
        band = anytime_band(rows, starts)
        label = ", ".join(plain(names[name], SHORT if varied else LONGEST_NAME) for name in ("strategy", *varied))
        _draw(ax, band, look, LINES[turn % len(LINES)] if varied else look.line, label, strength)
        seeds.append(len(rows["seed"].unique()))
        seen += [rows["best"].to_numpy(dtype=float), band["mean"].to_numpy()]
    fit_y(ax, np.concatenate(seen), f"best {plain(objective, NAME)} so far")
    ax.set_xlabel("steps spent, range tests included")
    ax.set_xlim(left=0)
    if legend:
        legend_below(ax, band_text(seeds))
    return ax


def _draw(ax: Axes, band: pd.DataFrame, look: Look, line: Any, label: str, strength: float) -> None:
    steps, mean = band["steps"].to_numpy(), band["mean"].to_numpy()
    ax.step(
        steps, mean, where="post", color=look.color, linestyle=line, linewidth=1.9, label=label, marker=look.marker,
        markersize=4.5, markevery=max(1, len(steps) // 6),
    )  # fmt: skip
    if len(band) and band["seeds"].max() > 1:
        ax.fill_between(steps, band["low"], band["high"], step="post", color=look.color, alpha=strength, linewidth=0)


def band_text(seeds: Sequence[int]) -> str | None:
    """What the bands are, for lines of so many seeds."""
    texts = {"95% interval of the mean over seeds": max(seeds, default=0) >= MIN_SEEDS, "range over seeds": 2 in seeds}
    shown = [text for text, there in texts.items() if there]
    return f"band: {' or, of 2 seeds, '.join(shown)}" if shown else None


def anytime_band(rows: pd.DataFrame, starts: Mapping[int, MaybeNan] | None = None) -> pd.DataFrame:
    """One line of `plot_anytime`: at each step at which any seed improved, and at the last.

    Args:
        rows: of one strategy, schedule and optimizer.
        starts: the objective at step 0 by seed.

    Returns:
        steps; mean, over seeds; low and high: of the band, nan for one seed; seeds: how many.
    """
    seeds = {}
    for seed, seed_rows in rows.groupby("seed", sort=True):
        ordered = seed_rows.sort_values("steps_charged", kind="stable")
        seeds[int(str(seed))] = (ordered["steps_charged"].to_numpy(dtype=float), ordered["best"].to_numpy(dtype=float))
    improved = [steps[np.diff(best, prepend=np.nan) != 0] for steps, best in seeds.values()]
    ends = [steps[-1:] for steps, _ in seeds.values()]
    grid = np.unique(np.concatenate([[0.0] if starts else [], *improved, *ends]))
    values = np.array([_at(grid, *seeds[seed], (starts or {}).get(seed, np.nan)) for seed in seeds])
    known = np.isfinite(values).all(axis=0) if len(values) else np.zeros(0, dtype=bool)
    grid, values = grid[known[: len(grid)]], values[:, known] if len(values) else values
    return pd.DataFrame(
        [(step, *_spread(column)) for step, column in zip(grid, values.T, strict=True)], columns=BAND_COLUMNS
    )


def _at(grid: Any, steps: Any, best: Any, start: float) -> Any:
    return np.concatenate([[start], best])[np.searchsorted(steps, grid, side="right")]


def _spread(values: Any) -> tuple[float, float, float, int]:
    """Mean, the band's ends, and how many seeds."""
    mean = float(np.mean(values))
    if len(values) >= MIN_SEEDS:
        interval = mean_interval(values)
        return mean, interval.low, interval.high, len(values)
    both = (float(values.min()), float(values.max())) if len(values) > 1 else (np.nan, np.nan)
    return mean, *both, len(values)


def anytime_picture(panels: Panels) -> Picture:
    """Best so far, a panel for each schedule and optimizer."""
    findings = panels.findings
    parts = panels.parts(findings.anytime())

    def one(ax: Axes, pair: Pair) -> None:
        plot_anytime(
            parts[pair], ax, starts=panels.starts[pair], objective=panels.objective, looks=panels.looks, legend=False
        )

    figure = panels.draw(one)
    seeds = [rows["seed"].nunique() for part in parts.values() for _, rows in part.groupby(GROUP, observed=True)]
    shared_legend(figure, band_text(seeds))
    data = [
        anytime_band(rows, panels.starts[pair]).assign(**dict(zip(GROUP, map(str, key), strict=True)))
        for pair, part in parts.items()
        for key, rows in part.groupby(GROUP, observed=True, sort=False)
    ]
    frame = pd.concat(data, ignore_index=True) if data else pd.DataFrame(columns=[*BAND_COLUMNS, *GROUP])
    finding = [_reached(panels), _close(panels), panels.left_out]
    whole = not panels.left_out
    return new_picture(
        "best_so_far",
        "Best objective so far against steps spent",
        finding,
        figure,
        frame[[*GROUP, *BAND_COLUMNS]],
        whole,
    )


def _reached(panels: Panels) -> str:
    """What the best way of searching came to."""
    summary = panels.findings.summary(full=True)
    if not len(summary) or not np.isfinite(summary["best"].iloc[0]):
        return ""
    best = summary.iloc[0]
    where = panels.name((str(best["schedule"]), str(best["optimizer"])))
    mean = f", the mean of {best['seeds']} seeds," if best["seeds"] > 1 else ""
    return (
        f"{best['strategy']} under {where} found the best {panels.objective}: "
        f"{best['best']:.4g}{mean} in {best['steps']:,.0f} steps."
    )


def _close(panels: Panels) -> str:
    """How soon each strategy came close to the best, under the best schedule."""
    summary = panels.findings.summary(full=True)
    if not len(summary) or not summary["steps_to_close"].notna().any():
        return ""
    best = summary.iloc[0]
    rows = summary[(summary["schedule"] == best["schedule"]) & (summary["optimizer"] == best["optimizer"])]
    rows = rows.sort_values("steps_to_close", kind="stable")
    close = rows["steps_to_close"].notna()
    needed = [f"{strategy} {steps:,.0f}" for strategy, steps in zip(*_two(rows[close]), strict=True)]
    never = [str(strategy) for strategy in rows["strategy"][~close]]
    if not needed:
        return ""
    text = f"Steps until it was within 5% of the best known: {name_list(needed)}"
    return f"{text}; not on every seed: {name_list(never)}." if never else f"{text}."


def _two(rows: pd.DataFrame) -> tuple[list[str], list[float]]:
    return rows["strategy"].tolist(), rows["steps_to_close"].tolist()
