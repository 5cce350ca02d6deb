"""report.html: one file that holds everything and loads nothing, and the files beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from lr_search.report import facts, page_parts
from lr_search.report.cells import csv_text
from lr_search.report.files import write_files
from lr_search.report.markdown import summary_markdown
from lr_search.report.page_parts import Drawn, draw
from lr_search.results.findings import Findings

_PAGE = "report.html"
SECTIONS = {
    "answer": "Train with",
    "objective": "",  # said by what is drawn
    "next": "To be surer",
    "ways": "Ways compared",
    "range-tests": "Range tests",
    "curves": "Learning curves",
    "trials": "Every trial",
    "environment": "Environment",
}


def save_report(findings: Findings, directory: Path) -> Path:
    """Write report.html and, beside it, the tables as CSV, the summary in Markdown, the recommendation as JSON and the figures.

    Every file is written under another name first and then put in place, so that a page that is being looked at is never torn.

    Returns:
        The page's path.

    Raises:
        OutputError: the folder cannot be written to, or a file or folder is in the way.
    """
    drawn, best = draw(findings), findings.recommendation
    tables = {
        "trials": findings.trials,
        "summary": findings.summary(full=True),
        "pairwise": findings.pairwise(),
        "basins": findings.basins(),
    }
    content = {f"{drawing.picture.name}.png": drawing.png for drawing in drawn}
    content |= {f"{drawing.picture.name}.svg": drawing.svg for drawing in drawn}
    content |= {f"{name}.csv": csv_text(frame).encode() for name, frame in tables.items()}
    content["summary.md"] = summary_markdown(findings).encode()
    answer = None if best is None else best.to_json()
    content["recommendation.json"] = f"{json.dumps(answer, indent=2, ensure_ascii=False)}\n".encode()
    content[_PAGE] = page_html(findings, drawn).encode()
    write_files(directory, content)
    return directory / _PAGE


def page_html(findings: Findings, drawn: Sequence[Drawn] | None = None) -> str:
    """The page; everything that comes from a user is escaped, and no script but the page's own may run.

    Args:
        findings: of the comparison.
        drawn: its figures, where they are drawn already.
    """
    environment = Environment(
        loader=PackageLoader("lr_search.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _part("report.js")
    shown = draw(findings) if drawn is None else drawn
    parts = {
        **page_parts.answer_part(findings),
        **page_parts.ways_part(findings),
        **page_parts.trials_part(findings),
        "figures_of": page_parts.figures_of(findings, shown),
        "failures": facts.failures(findings.records),
        "surroundings": facts.surroundings(findings),
        "done": facts.facts(findings),
        "run_facts": facts.run_facts(findings),
    }
    titles = SECTIONS | {"objective": parts["view"].title if parts.get("view") else ""}
    titles |= {"answer": best.heading} if (best := findings.recommendation) is not None else {}
    titles |= {"ways": "The search"} if parts["ways_count"] < 2 else {}
    return environment.get_template("report.html.jinja").render(
        name=findings.name,
        style=Markup(_part("report.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        sections={place: title for place, title in titles.items() if _there(place, parts)},
        **parts,
    )


def _there(place: str, parts: Mapping[str, Any]) -> bool:
    """Whether a section has something to say."""
    content = {"objective": "charts", "next": "next_step", "ways": "summary"}
    if place in ("range-tests", "curves"):
        return bool(parts["figures_of"][place])
    return place not in content or bool(parts.get(content[place]))


def _part(name: str) -> str:
    return (files("lr_search.report") / "templates" / name).read_text(encoding="utf-8")
