"""What a notebook shows of a comparison, a curve, a suggestion and a recommendation. All names are escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from lr_search.report.page_tables import Table, summary_table
from lr_search.scaling.told import transfer_lines

if TYPE_CHECKING:
    from lr_search.curves.curve import LRCurve
    from lr_search.curves.suggest import Suggestion
    from lr_search.results.findings import Findings
    from lr_search.results.recommendation import Recommendation

BOX = "border-left:4px solid #0b57a4;padding:.4em 1em;margin:.4em 0"
_CELL = "padding:.2em .6em;text-align:"


def comparison_html(findings: Findings) -> str:
    """What to train with, and the summary."""
    best = findings.recommendation
    head = f"<h3>{escape(findings.name)}</h3>"
    told = transfer_lines(findings.records)
    title = "What the pilots tell" if told else "There is no answer yet"
    answer = _box(title, " ".join([findings.lack, *told])) if best is None else recommendation_html(best)
    running = f"<p>{findings.unfinished} trials still running.</p>" if findings.unfinished else ""
    running += f"<p>{findings.not_begun}</p>" if best is not None and findings.not_begun else ""
    remark = f"<p>{escape(findings.apart_remark)}</p>" if findings.apart_remark else ""
    return f"<div>{head}{answer}{running}{_table(summary_table(findings))}{remark}</div>"


def recommendation_html(best: Recommendation) -> str:
    """What to train with, how sure that is, and the code."""
    title = f"{best.heading}: {best.training}"
    first = "" if best.against_today is None else f"{best.against_today.sentence} "
    text = f"{first}Expect {best.objective} {best.value:.4g}: {best.reason}"
    code = f"<details><summary>PyTorch code</summary><pre>{escape(best.code)}</pre></details>" if best.code else ""
    return _box(title, text) + code


def suggestion_html(suggestion: Suggestion) -> str:
    """The LR, how far it may be off, and why."""
    return _box(
        f"learning rate {suggestion.lr:.3g} (×/÷ {10**suggestion.log10_std:.2g}, {suggestion.status})",
        f"{suggestion.reason} Rule: {suggestion.rule}.",
    )


def curve_html(curve: LRCurve) -> str:
    """The suggestion, and the picture."""
    from lr_search.report.plots.curve_plot import plot_curve
    from lr_search.report.plots.style import png

    suggestion = curve.suggest()
    figure = plot_curve(curve).figure.figure
    image = base64.b64encode(png(figure)).decode()
    alt = f"Loss against learning rate; suggestion {suggestion.lr:.3g}"
    return f'{suggestion_html(suggestion)}<img style="max-width:100%" alt="{escape(alt)}" src="data:image/png;base64,{image}">'


def _box(title: str, text: str) -> str:
    return f'<div style="{BOX}"><strong>{escape(title)}</strong><br>{escape(text)}</div>'


def _table(table: Table) -> str:
    sides = ["right" if column.number else "left" for column in table.columns]

    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="{_CELL}{side}">{escape(c)}</{tag.split()[0]}>' for c, side in zip(cells, sides, strict=True)
        )

    head = row('th scope="col"', [column.head for column in table.columns])
    body = "".join(f"<tr>{row('td', cells)}</tr>" for cells in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>"
    return f'<div style="overflow-x:auto"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
