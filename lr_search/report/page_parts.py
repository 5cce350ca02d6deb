"""What stands in each section of the page."""

from __future__ import annotations

import base64
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
from lr_search.report.figures import Picture, pictures
from lr_search.report.plots.style import png, svg
from lr_search.results.findings import Findings

_MOST_ROWS = 10_000  # of the trials in the page; all are in trials.csv
FIRST_ROWS = 200  # of them that are there without a script
FILTERS = ("strategy", "schedule", "optimizer", "seed", "outcome")
SURE = ("differences", "objective_by_lr")  # the figures of each section; the others show what happened
COST = ("best_so_far", "costs")


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
        """Data URIs of the picture and its table."""
        table = csv_text(self.picture.data, float_format="%.7g")
        return {
            "svg": f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}",
            "png": f"data:image/png;base64,{base64.b64encode(self.png).decode()}",
            "csv": f"data:text/csv;charset=utf-8,{quote(table, safe=',;:.-+/ ')}",
        }


def draw(findings: Findings) -> list[Drawn]:
    """The report's figures."""
    return [Drawn(picture) for picture in pictures(findings)]


def figures_of(drawn: Sequence[Drawn]) -> dict[str, list[Drawn]]:
    """The figures of each section."""
    return {
        "sure": [drawing for drawing in drawn if drawing.picture.name in SURE],
        "cost": [drawing for drawing in drawn if drawing.picture.name in COST],
        "figures": [drawing for drawing in drawn if drawing.picture.name not in SURE + COST],
    }


def answer_part(findings: Findings) -> dict[str, Any]:
    """What to train with."""
    best = findings.recommendation
    part: dict[str, Any] = {"recommendation": best, "lack": findings.lack, "unfinished": findings.unfinished}
    if best is None:
        return part
    elsewhere = {
        "JSON": best.to_json(),
        "Optuna parameters": best.optuna_params(),
        "Ray Tune config": best.ray_config(),
    }
    return {
        **part,
        "answer": words.answer_facts(best),
        "reason": f"{best.reason[:1].upper()}{best.reason[1:]}",
        "elsewhere": [(name, json.dumps(value, indent=2, ensure_ascii=False)) for name, value in elsewhere.items()],
    }


def sure_part(findings: Findings) -> dict[str, Any]:
    """How sure that is."""
    return {
        "seeds_sentence": words.seeds_sentence(findings),
        "confirm_sentence": words.confirm_sentence(findings),
        "pairwise": page_tables.pairwise_table(findings),
        "basins": page_tables.basins_table(findings) if len(findings.basins()) else None,
        "confirmations": page_tables.confirmations_table(findings) if len(findings.confirmations) else None,
    }


def cost_part(findings: Findings) -> dict[str, Any]:
    """What it cost."""
    return {
        "cheapest": words.cheapest_sentence(findings),
        "summary": page_tables.summary_table(findings) if len(findings.summary(full=True)) else None,
        "done": facts.facts(findings),
    }


def trials_part(findings: Findings) -> dict[str, Any]:
    """Every trial."""
    frame = page_tables.trials_columns(findings.trials)
    data = page_tables.trials_data(frame.head(_MOST_ROWS))
    filters = [
        (place, column) for place, column in enumerate(data) if column["name"] in FILTERS and len(column["words"]) > 1
    ]
    return {
        "trials": page_tables.trials_table(data, FIRST_ROWS),
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
