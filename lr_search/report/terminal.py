"""What a terminal shows of a comparison: what to train with, the summary in few columns, and what runs."""

from __future__ import annotations

import io
import json
import math
import textwrap
from collections.abc import Callable
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lr_search.report.cells import cell, csv_text
from lr_search.report.markdown import summary_markdown
from lr_search.results.findings import Findings
from lr_search.scaling.told import transfer_lines, transfers_of

_HEADS = {"best_lr": "at LR"}  # of the summary's columns, where they are not their names
_GAP = 2  # columns of the terminal


def as_text(findings: Findings, width: int) -> str:
    """What to train with and why, first what that gains over the LR that is used today; then the summary as a table.

    Args:
        findings: of the comparison.
        width: of the terminal, in characters.
    """
    best = findings.recommendation
    lines = [] if best is None or best.against_today is None else textwrap.wrap(best.against_today.sentence, width)
    if best is None:
        lines += textwrap.wrap(findings.lack, width)
        lines += [line for told in transfer_lines(findings.records) for line in textwrap.wrap(told, width)]
    else:
        lines += textwrap.wrap(f"{best.heading}: {best.training}", width)
        lines += textwrap.wrap(f"Expect {best.objective} {best.value:.4g}: {best.reason}", width)
        lines += textwrap.wrap(findings.not_begun, width)
    lines += _table(findings, width)
    if findings.unfinished:
        done = sum(trial.state != "RUNNING" for study in findings.searches for trial in study.trials)
        lines.append(f"{done} {'trial is' if done == 1 else 'trials are'} done, {findings.unfinished} running.")
    return "\n".join(lines)


def _table(findings: Findings, width: int) -> list[str]:
    """The short summary, folded where it is wider than the terminal, and why the answer is not its first row."""
    frame = findings.summary()
    if frame.empty:
        return []
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for name in frame:
        head = _HEADS.get(str(name), findings.objective if name == "best" else str(name))
        table.add_column(Text(head), justify="right" if is_numeric_dtype(frame[name]) else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(" ".join(cell(value).split())) for value in row))
    console = Console(width=width, file=io.StringIO(), force_terminal=False, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(table)
    lines = ["", *(line.rstrip() for line in captured.get().splitlines())]
    return [*lines, *textwrap.wrap(findings.apart_remark, width)]


def as_json(findings: Findings) -> str:
    """Name, recommendation (null where there is none, and `lack` says why), and the tables as lists of rows."""
    best = findings.recommendation
    answer = {
        "name": findings.name,
        "recommendation": None if best is None else best.to_json(),
        "lack": findings.lack if best is None else None,
        "transfers": [told.to_json() for told in transfers_of(findings.records)],
        "running": findings.unfinished,
        "summary": _rows(findings.summary(full=True)),
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
    "csv": lambda findings: csv_text(findings.summary(full=True)),
    "json": as_json,
    "html": _as_page,
}
"""Name -> what is printed, for other programs."""
