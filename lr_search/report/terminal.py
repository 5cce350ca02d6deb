"""What a terminal shows of a comparison: what to train with, the summary as wide as fits, and what runs."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from lr_search.report.cells import csv_text
from lr_search.report.markdown import summary_markdown
from lr_search.report.page_tables import Column, summary_table
from lr_search.results.findings import Findings

# what is left out first where not all fits
LAST = ("area", "seconds", "mean rank", "trials", "× grid", "seeds", "steps", "pruned", "diverged", "× random")
_GAP = "  "


def as_text(findings: Findings, width: int) -> str:
    """The summary as a table, then what to train with and why.

    Args:
        findings: of the comparison.
        width: of the terminal, in characters.
    """
    best = findings.recommendation
    lines = [*_table(findings, width), ""]
    if best is None:
        lines += textwrap.wrap(findings.lack, width)
    else:
        lines.append(f"Train with: {best.schedule_text}, peak learning rate {best.lr:.3g}, {best.optimizer}")
        lines += textwrap.wrap(f"Expect {best.objective} {best.value:.4g}: {best.reason}", width)
    if findings.unfinished:
        done = sum(trial.state != "RUNNING" for study in findings.searches for trial in study.trials)
        lines.append(f"{done} trials are done, {findings.unfinished} running.")
    return "\n".join(lines)


def _table(findings: Findings, width: int) -> list[str]:
    columns = list(summary_table(findings).columns)
    if not columns[0].cells:
        return []
    left_out = []
    while _width(columns) > width and (name := next((n for n in LAST if n in {c.head for c in columns}), None)):
        columns = [column for column in columns if column.head != name]
        left_out.append(name)
    rows = [[column.head for column in columns], *zip(*(column.cells for column in columns), strict=True)]
    sizes = [max(len(str(row[place])) for row in rows) for place in range(len(columns))]
    lines = [
        _GAP.join(_aligned(cell, size, c) for cell, size, c in zip(row, sizes, columns, strict=True)).rstrip()
        for row in rows
    ]
    return [*lines, f"({', '.join(left_out)}: in a wider terminal, or with --format csv)"] if left_out else lines


def _aligned(cell: str, size: int, column: Column) -> str:
    text = " ".join(str(cell).split())
    return text.rjust(size) if column.number else text.ljust(size)


def _width(columns: Sequence[Column]) -> int:
    return sum(max(len(cell) for cell in (c.head, *c.cells)) + len(_GAP) for c in columns) - len(_GAP)


def as_json(findings: Findings) -> str:
    """Name, recommendation (null where there is none, and `lack` says why), and the tables as lists of rows."""
    best = findings.recommendation
    answer = {
        "name": findings.name,
        "recommendation": None if best is None else best.to_json(),
        "lack": findings.lack if best is None else None,
        "running": findings.unfinished,
        "summary": _rows(findings.summary()),
        "pairwise": _rows(findings.pairwise()),
        "basins": _rows(findings.basins()),
        "costs": _rows(findings.costs()),
    }
    return json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False)


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Row by row; what is missing or not finite is null."""
    columns = {name: [_plain(value) for value in frame[name].tolist()] for name in frame.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    return None if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) else value


def _as_page(findings: Findings) -> str:
    from lr_search.report.page import page_html  # which draws

    return page_html(findings)


FORMATS: dict[str, Callable[[Findings], str]] = {
    "md": summary_markdown,
    "csv": lambda findings: csv_text(findings.summary()),
    "json": as_json,
    "html": _as_page,
}
"""Name -> what is printed, for other programs."""
