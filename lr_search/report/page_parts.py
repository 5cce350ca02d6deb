"""What stands in each section of the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from lr_search.report import facts, page_tables
from lr_search.report import sentences as words
from lr_search.report.cells import csv_text
from lr_search.report.charts.answer_chart import SIZES, AnswerChart
from lr_search.report.charts.answer_view import answer_view
from lr_search.report.charts.page_svg import axes_json, page_svg
from lr_search.report.figures import Picture, pictures
from lr_search.report.next_step import next_step
from lr_search.report.plots.style import png, svg
from lr_search.results.findings import Findings
from lr_search.scaling.told import transfer_lines

_MOST_ROWS = 10_000  # of the trials in the page; all are in trials.csv
FIRST_ROWS = 200  # of them that are there without a script
FILTERS = ("strategy", "schedule", "optimizer", "seed", "outcome")
# section -> the figures in it, in order
FIGURES = {
    "ways": ("objective_by_lr", "best_so_far", "differences", "costs", "pruning", "schedules"),
    "range-tests": ("transfers", "range_tests"),
    "curves": ("learning_curves",),
    "environment": ("timeline",),
}


@dataclass(frozen=True)
class Drawn:
    """A picture as the bytes of its files."""

    picture: Picture

    @cached_property
    def png(self) -> bytes:
        """As a PNG."""
        return png(self.picture.figure)

    @cached_property
    def svg(self) -> bytes:
        """As an SVG."""
        return svg(self.picture.figure)

    @property
    def description(self) -> str:
        """What the picture shows, in words."""
        return self.picture.finding or self.picture.title

    @property
    def links(self) -> dict[str, str]:
        """Data URIs of the picture's table; the script makes the one of the picture."""
        table = csv_text(self.picture.data, float_format="%.7g")
        return {"csv": f"data:text/csv;charset=utf-8,{quote(table, safe=',;:.-+/ ')}"}

    @property
    def in_page(self) -> Markup:
        """The picture as an element of the page."""
        drawn = self.svg  # which settles where the axes lie
        return page_svg(drawn, self.picture.name, self.description, axes_json(self.picture.figure))


def draw(findings: Findings) -> list[Drawn]:
    """The report's figures."""
    return [Drawn(picture) for picture in pictures(findings)]


def figures_of(findings: Findings, drawn: Sequence[Drawn]) -> dict[str, list[Drawn]]:
    """The figures of each section; the objective against the LR only where the answer's picture is not the same."""
    by_name = {drawing.picture.name: drawing for drawing in drawn}
    if len(findings.candidates) == 1:
        by_name.pop("objective_by_lr", None)
    return {place: [by_name[name] for name in names if name in by_name] for place, names in FIGURES.items()}


def answer_part(findings: Findings) -> dict[str, Any]:
    """What to train with, its picture, and what would make it surer."""
    best = findings.recommendation
    part: dict[str, Any] = {"recommendation": best, "lack": findings.lack, "unfinished": findings.unfinished}
    part["transfers"] = transfer_lines(findings.records)
    if best is None:
        return part
    elsewhere = {
        "JSON": best.to_json(),
        "Optuna parameters": best.optuna_params(),
        "Ray Tune config": best.ray_config(),
    }
    today = words.today_mark(best)
    view = answer_view(findings, best, today)
    return {
        **part,
        "against": today.sentence,
        "not_begun": findings.not_begun,
        "title": words.answer_title(findings, best),
        "badge": words.badge(best),
        "answer": words.answer_facts(findings, best),
        "reason": f"{best.reason[:1].upper()}{best.reason[1:]}",
        "elsewhere": [(name, json.dumps(value, indent=2, ensure_ascii=False)) for name, value in elsewhere.items()],
        "view": view,
        "charts": {} if view is None else {kind: AnswerChart(view, *size) for kind, size in SIZES.items()},
        "next_step": next_step(findings, best, with_today=bool(today.sentence)),
    }


def ways_part(findings: Findings) -> dict[str, Any]:
    """How the ways of searching compare, and what is known of how sure that is."""
    return {
        "seeds_sentence": words.seeds_sentence(findings),
        "confirm_sentence": words.confirm_sentence(findings),
        "cheapest": words.cheapest_sentence(findings),
        "pairwise": page_tables.pairwise_table(findings),
        "basins": page_tables.basins_table(findings) if len(findings.basins()) else None,
        "confirmations": page_tables.confirmations_table(findings) if len(findings.confirmations) else None,
        "summary": page_tables.summary_table(findings, short=False).telling if len(findings.candidates) else None,
        "shapes": facts.shapes(findings),
        "ways_count": len(findings.summary(full=True)),
    }


def trials_part(findings: Findings) -> dict[str, Any]:
    """Every trial."""
    frame = page_tables.trials_columns(findings.trials)
    data = [column for column in page_tables.trials_data(frame.head(_MOST_ROWS)) if column["words"] or not len(frame)]
    filters = [
        (place, column) for place, column in enumerate(data) if column["name"] in FILTERS and len(column["words"]) > 1
    ]
    return {
        "trials": page_tables.trials_table(data, FIRST_ROWS),
        "trials_note": facts.trials_text(findings),
        "trials_count": min(len(frame), _MOST_ROWS),
        "trials_left_out": max(0, len(frame) - _MOST_ROWS),
        "first_rows": FIRST_ROWS,
        "filters": filters,
        "trials_json": Markup(safe_json({"step": FIRST_ROWS, "columns": data})),
    }


def safe_json(value: Any) -> str:
    r"""JSON that no text in it can end a script element with.

    >>> safe_json("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
