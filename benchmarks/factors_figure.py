"""The figure of benchmarks/factors.py: a panel a factor, the best LR against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from factors_tables import TEXTBOOK, Series, best_place, best_places, places_of, shown, slope_of
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from lr_search.report.plots.style import GREY, PALETTE, new_figure, png, short_number

MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
COLORS = {"SGD": PALETTE[0], "Adam": PALETTE[3]}
BASE: dict[str, float] = {
    "share of the data": 1, "width": 64, "depth": 2, "batch size, same steps": 32, "batch size, same epochs": 32
}  # fmt: skip


def draw(series: Series, path: Path) -> None:
    """Write the figure as PNG."""
    factors = list(dict.fromkeys(factor for factor, _ in series))
    figure, axes = new_figure(2, 3, panel=(3.7, 3.1))
    for ax, factor in zip(axes.flat, factors, strict=False):
        panel(ax, factor, series)
        ax.sharey(axes[0, 0])
    axes[0, 0].set_yscale("log")
    axes[0, 0].yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axes[0, 0].yaxis.set_minor_formatter(NullFormatter())
    for ax in axes[:, 0]:
        ax.set_ylabel("best learning rate (log)")
    key(axes[1, 2])
    path.write_bytes(png(figure))


def panel(ax: Any, factor: str, series: Series) -> None:
    """Both optimizers' best LRs with the seeds' spread, the range test's suggestions, and the textbook's slope."""
    slopes = []
    for number, (optimizer, color) in enumerate(COLORS.items()):
        entries = series[factor, optimizer]
        values = np.array(list(entries))
        best = 10 ** np.array([best_place(entry) for entry in entries.values()])
        seeds = np.array([best_places(entry) for entry in entries.values()])  # (values, seeds)
        reach = np.maximum(0, [best - 10 ** seeds.min(1), 10 ** seeds.max(1) - best])
        style: dict[str, Any] = {"color": color, "marker": MARKERS[number]}
        ax.errorbar(values, best, yerr=reach, capsize=2.5, linewidth=1.6, elinewidth=1.0, markersize=5, **style)
        suggested = [10 ** places_of(entry, "suggested").mean() for entry in entries.values()]
        ax.plot(values * 1.09, suggested, linestyle="none", markerfacecolor="none", markersize=6, **style)
        if (factor, optimizer) in TEXTBOOK and TEXTBOOK[factor, optimizer][0] == TEXTBOOK[factor, optimizer][1]:
            through = 10 ** best_place(entries[BASE[factor]])
            rule = through * (values / BASE[factor]) ** TEXTBOOK[factor, optimizer][0]
            ax.plot(values, rule, color=color, linestyle=":", linewidth=1.2)
        slopes.append(f"{optimizer} {slope_of(entries, 'best').mean:+.2f}")
    ax.set_title(f"{factor}\n{', '.join(slopes)}")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(list(series[factor, "SGD"])))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    ax.xaxis.set_minor_locator(NullLocator())


def key(ax: Any) -> None:
    """What is what, where a sixth panel would be."""
    ax.set_axis_off()
    lines = [
        Line2D([], [], color=color, marker=MARKERS[number], label=f"{name}: best LR, and the seeds' range")
        for number, (name, color) in enumerate(COLORS.items())
    ]
    hollow = Line2D(
        [], [], color=GREY, marker="o", linestyle="none", markerfacecolor="none", label="range test's suggestion"
    )
    rule = Line2D([], [], color=GREY, linestyle=":", label="slope of the textbook, through the base")
    ax.legend(
        handles=[*lines, hollow, rule],
        loc="center",
        fontsize=8.5,
        title="Titles: decades of LR\nper decade of the factor",
        frameon=False,
        alignment="left",
    )
