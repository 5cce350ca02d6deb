"""The tables of benchmarks/factors.py, in Markdown, with the slopes that the literature has.

Textbook slopes and where they come from:
    width: G. Yang and E. J. Hu, "Feature Learning in Infinite-Width Neural Networks", 2021, arXiv:2011.14522 (SGD: the standard
        parametrisation is stable for LRs up to a constant over the width); G. Yang et al., "Tensor Programs V", 2022,
        arXiv:2203.03466 (Adam: the LR of hidden layers falls as the width grows).
    depth: S. Jelassi et al., "Depth Dependence of muP Learning Rates in ReLU MLPs", 2023, arXiv:2305.07810 (gradient descent,
        squared error).
    batch size at the same number of steps: S. McCandlish et al., "An Empirical Model of Large-Batch Training", 2018,
        arXiv:1812.06162 (from a power of it while small, to none once large).
    batch size at the same number of epochs: P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677; S. Malladi
        et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", 2022, arXiv:2205.10287 (whose rule for Adam also
        moves the betas and epsilon, which stay here).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from factors_fit import FloatArray, Slope, parabola_minimum, slope

from lr_search.report.plots.style import short_number

Entry = dict[str, Any]
Series = dict[tuple[str, str], dict[float, Entry]]  # (factor, optimizer) -> value -> what was measured

# (factor, optimizer) -> the least and the greatest slope to expect, and who says so
TEXTBOOK: dict[tuple[str, str], tuple[float, float, str]] = {
    ("width", "SGD"): (-1.0, -1.0, "Yang and Hu 2021"),
    ("width", "Adam"): (-1.0, -1.0, "Yang et al. 2022"),
    ("depth", "SGD"): (-1.5, -1.5, "Jelassi et al. 2023"),
    ("batch size, same steps", "SGD"): (0.0, 1.0, "McCandlish et al. 2018"),
    ("batch size, same steps", "Adam"): (0.0, 1.0, "McCandlish et al. 2018"),
    ("batch size, same epochs", "SGD"): (1.0, 1.0, "Goyal et al. 2017"),
    ("batch size, same epochs", "Adam"): (0.5, 0.5, "Malladi et al. 2022"),
}


def best_places(entry: Entry) -> FloatArray:
    """(seeds,) log10 of each seed's best LR."""
    places, losses = np.log10(entry["lrs"]), np.array(entry["final"])
    return np.array([parabola_minimum(places, seed) for seed in losses.T])


def best_place(entry: Entry) -> float:
    """log10 of the best LR by the seeds' mean loss."""
    return parabola_minimum(np.log10(entry["lrs"]), np.mean(entry["final"], axis=1))


def places_of(entry: Entry, name: str) -> FloatArray:
    """(seeds,) log10 of LRs, nan where there is none."""
    return np.log10(np.array(entry[name], dtype=float))


def regret(entry: Entry) -> float:
    """Of the suggestions, the mean over seeds: 0 as good as the best LR of the grid, 1 no better than not training."""
    drops = np.mean(entry["initial"]) - np.mean(entry["final"], axis=1)
    return float(np.mean(1 - np.interp(places_of(entry, "suggested"), np.log10(entry["lrs"]), drops) / drops.max()))


def settings_table(series: Series) -> str:
    """A line a value of a factor."""
    optimizers = list(dict.fromkeys(optimizer for _, optimizer in series))
    columns = ("best LR", "spread", "loss", "suggested", "half gain", "edge", "regret")
    heads = [
        f"{optimizer} {column}" if column == "best LR" else column for optimizer in optimizers for column in columns
    ]
    lines = [f"| factor | value | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for factor in dict.fromkeys(factor for factor, _ in series):
        for value in series[factor, optimizers[0]]:
            cells = [cell for optimizer in optimizers for cell in row(series[factor, optimizer][value])]
            lines.append(f"| {factor} | {shown(value)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def row(entry: Entry) -> list[str]:
    """Best LR, its spread by seed in decades, the loss there, and what the range test says, with its regret."""
    return [
        short_number(10 ** best_place(entry)),
        f"{best_places(entry).std(ddof=1):.2f}",
        f"{np.mean(entry['final'], axis=1).min():.3f}",
        *[middle(places_of(entry, name)) for name in ("suggested", "half_gain", "edge")],
        f"{regret(entry):.3f}",
    ]


def middle(places: FloatArray) -> str:
    """The geometric mean over the seeds that have one."""
    known = places[np.isfinite(places)]
    return short_number(float(10 ** known.mean())) if len(known) else "-"


def shown(value: float) -> str:
    """A factor's value; shares as fractions."""
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"


def slopes_table(series: Series) -> str:
    """A line a factor and optimizer."""
    lines = [
        "| factor | optimizer | best LR's slope | off the line | textbook | holds | suggestion's slope | half gain's | "
        "suggestion - best, decades | regret |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (factor, optimizer), entries in series.items():
        found = slope_of(entries, "best")
        behind = np.array([places_of(entry, "suggested").mean() - best_place(entry) for entry in entries.values()])
        lines.append(
            f"| {factor} | {optimizer} | {written(found)} | {found.off:.2f} | {expected(factor, optimizer, found)} | "
            f"{written(slope_of(entries, 'suggested'))} | {written(slope_of(entries, 'half_gain'))} | "
            f"{behind.mean():+.2f} ({behind.min():+.2f} to {behind.max():+.2f}) | "
            f"{np.mean([regret(entry) for entry in entries.values()]):.3f} |"
        )
    return "\n".join(lines)


def slope_of(entries: dict[float, Entry], name: str) -> Slope:
    """How the best LR, or another, moves with the factor."""
    rows = [best_places(entry) if name == "best" else places_of(entry, name) for entry in entries.values()]
    return slope(np.array(list(entries)), np.array(rows))


def written(found: Slope) -> str:
    """The slope and its standard error."""
    return f"{found.mean:+.2f} ± {found.error:.2f}"


def expected(factor: str, optimizer: str, found: Slope) -> str:
    """Two cells: the textbook's slope, and whether the 95% interval of what was found reaches it."""
    if (factor, optimizer) not in TEXTBOOK:
        return "- | -"
    low, high, source = TEXTBOOK[factor, optimizer]
    least, greatest = found.interval()
    numbers = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return f"{numbers} ({source}) | {'yes' if least <= high and greatest >= low else 'no'}"
