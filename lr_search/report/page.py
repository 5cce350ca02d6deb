"""report.html: one file that holds everything and loads nothing, and the files beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from lr_search.report import facts, page_parts
from lr_search.report.cells import csv_text
from lr_search.report.files import write_files
from lr_search.report.markdown import summary_markdown
from lr_search.report.page_parts import Drawn, draw
from lr_search.results.findings import Findings

_PAGE = "report.html"
SECTIONS = [
    ("answer", "Train with"),
    ("sure", "How sure is that"),
    ("cost", "What it cost, and what would have been cheaper"),
    ("figures", "What happened"),
    ("trials", "Every trial"),
    ("environment", "Environment"),
]
_SHORT = {"cost": "What it cost"}  # of a title, in the navigation


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
    return environment.get_template("report.html.jinja").render(
        name=findings.name,
        style=Markup(_part("report.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        sections=[(place, title, _SHORT.get(place, title)) for place, title in SECTIONS],
        **page_parts.answer_part(findings),
        **page_parts.sure_part(findings),
        **page_parts.cost_part(findings),
        **page_parts.trials_part(findings),
        figures_of=page_parts.figures_of(shown),
        shapes=facts.shapes(findings),
        failures=facts.failures(findings.records),
        surroundings=facts.surroundings(findings),
        run_facts=facts.run_facts(findings),
    )


def _part(name: str) -> str:
    return (files("lr_search.report") / "templates" / name).read_text(encoding="utf-8")
