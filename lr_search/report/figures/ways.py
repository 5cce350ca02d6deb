"""What a way of searching (strategy, schedule, optimizer) is called where there is one a row."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lr_search.report.plots.style import plain

WAY = ["strategy", "schedule", "optimizer"]
IN_A_LINE = 34  # letters
_LETTERS = 22  # of each name in a label


def varying(frame: pd.DataFrame, names: Sequence[str] = WAY) -> list[str]:
    """The columns that distinguish the rows; the strategy always."""
    return [name for name in names if name.endswith("strategy") or len(frame[name].unique()) > 1]


def row_labels(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """A label for each row: on two lines where one is too long."""
    labels = []
    for values in frame[list(names)].itertuples(index=False):
        first, *others = (plain(str(value), _LETTERS) for value in values)
        line = ", ".join([first, *others])
        labels.append(line if len(line) <= IN_A_LINE or not others else f"{first},\n{', '.join(others)}")
    return labels


def way_name(row: pd.Series, names: Sequence[str]) -> str:
    """What a way of searching is called in a sentence."""
    return " / ".join(str(row[name]) for name in names)
