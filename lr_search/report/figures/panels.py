"""The panels of a report's figures: one for each schedule and optimizer, the best first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cached_property

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lr_search.kinds.direction import Direction
from lr_search.report.cells import measured
from lr_search.report.plots.style import Look, new_figure, plain, strategy_looks
from lr_search.results.candidates import Candidate
from lr_search.results.findings import Findings

Pair = tuple[str, str]  # schedule, optimizer
MOST_PANELS = 12
PANEL_COLUMNS = 3
WIDTHS = {1: 6.4, 2: 4.3, 3: 3.5}  # inches of a panel, by the columns there are
_HEIGHT = 3.1
TITLE = 32  # letters in a line of a panel's title
UNMOVED = "constant"  # the schedule whose LR is no peak
SHORT = 16  # letters of a name where there is little room
NAME = 26  # letters of an objective's name with the data it is judged on


class Panels:
    """What a report's figures are laid out by.

    Args:
        findings: of a comparison.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    @cached_property
    def all_pairs(self) -> list[Pair]:
        """Those with a best LR, best first; then the others as planned."""
        best = [(each.schedule, each.optimizer) for each in self.findings.candidates]
        planned = [(str(s.plan["schedule"]), str(s.plan["optimizer"])) for s in self.findings.searches]
        return list(dict.fromkeys([*best, *planned]))

    @property
    def pairs(self) -> list[Pair]:
        """The schedules and optimizers that are drawn."""
        return self.all_pairs[:MOST_PANELS]

    @property
    def left_out(self) -> str:
        """A sentence that says how many of all pairs are drawn; empty where all are."""
        count = len(self.all_pairs)
        return f"Of {count} schedules and optimizers the {MOST_PANELS} best are drawn." if count > MOST_PANELS else ""

    @property
    def objective(self) -> str:
        """The objective's name in words."""
        return measured(self.findings.objective, on_test_data=self.findings.on_test_data)

    @cached_property
    def looks(self) -> dict[str, Look]:
        """The look of each strategy, the same in all figures."""
        return strategy_looks(str(study.plan["strategy"]) for study in self.findings.searches)

    @property
    def direction(self) -> Direction:
        """What is better."""
        return self.findings.lines.direction

    @cached_property
    def candidates(self) -> dict[Pair, Candidate]:
        """The best LR of each."""
        return {(each.schedule, each.optimizer): each for each in self.findings.candidates}

    @cached_property
    def starts(self) -> dict[Pair, dict[int, float]]:
        """The objective at step 0 by seed."""
        starts: dict[Pair, dict[int, float]] = {}
        for study in self.findings.searches:
            seeds = starts.setdefault((str(study.plan["schedule"]), str(study.plan["optimizer"])), {})
            if not math.isfinite(seeds.get(study.plan["seed"], math.nan)):
                seeds[study.plan["seed"]] = study.worst
        return starts

    @cached_property
    def several_optimizers(self) -> bool:
        """Whether a pair's name needs its optimizer."""
        return len({optimizer for _, optimizer in self.all_pairs}) > 1

    def name(self, pair: Pair) -> str:
        """What a pair is called in a sentence."""
        return f"{pair[0]}, {pair[1]}" if self.several_optimizers else pair[0]

    def title(self, pair: Pair) -> str:
        """What a panel is called: in two lines where one is too short."""
        if not self.several_optimizers:
            return plain(pair[0], TITLE)
        schedule, optimizer = plain(pair[0], TITLE), plain(pair[1], TITLE)
        return f"{schedule}, {optimizer}" if len(schedule) + len(optimizer) < TITLE else f"{schedule},\n{optimizer}"

    def parts(self, frame: pd.DataFrame) -> dict[Pair, pd.DataFrame]:
        """The rows of each pair that is drawn."""
        groups = frame.groupby(["schedule", "optimizer"], observed=True, sort=False)
        parts = {(str(key[0]), str(key[1])): rows for key, rows in groups}
        return {pair: parts.get(pair, frame.iloc[:0]) for pair in self.pairs}

    def draw(self, one: Callable[[Axes, Pair], object]) -> Figure:
        """A figure with a panel for each pair. one: draws a panel."""
        figure, axes = panel_grid(len(self.pairs))
        for ax, pair in zip(axes, self.pairs, strict=True):
            one(ax, pair)
            ax.set_title(self.title(pair))
        return figure


def lr_label(schedules: Iterable[object]) -> str:
    """What the LR of trials under those schedules is called: a peak only where it moves."""
    return "learning rate" if set(map(str, schedules)) == {UNMOVED} else "peak learning rate"


def panel_grid(
    count: int, *, columns: int = PANEL_COLUMNS, width: float | None = None, height: float = _HEIGHT
) -> tuple[Figure, list[Axes]]:
    """Axes for so many panels; what is left over in the last row is hidden."""
    columns = max(1, min(columns, count))
    figure, axes = new_figure(math.ceil(max(1, count) / columns), columns, panel=(width or WIDTHS[columns], height))
    flat = list(axes.flat)
    for ax in flat[count:]:
        ax.set_visible(False)
    return figure, flat[:count]
