"""report.html: one self-contained file, and the tables and figures beside it."""

from __future__ import annotations

import base64
import math
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape

from lr_search.errors import LRSearchError, OutputError
from lr_search.report.figures import all_figures
from lr_search.report.recommendation import Recommendation, lack, recommend
from lr_search.report.records import StudyRecord
from lr_search.report.style import png
from lr_search.report.tables import shown, summary_frame, trials_frame

MOST_ROWS = 2_000  # of the trials table in the page; all are in trials.csv
PACKAGES = ("lr-search", "torch", "optuna", "numpy", "pandas")
SUMMARY_HEADS = {
    "best": "best objective (mean)",
    "best_std": "± over seeds",
    "best_lr": "at LR",
    "ensemble": "its snapshot ensemble",
    "steps": "steps spent",
    "seconds": "seconds",
    "steps_to_close": "steps to within 5%",
}
TRIAL_COLUMNS = [
    "strategy", "schedule", "optimizer", "seed", "number", "lr", "outcome", "objective", "ensemble_objective", "steps",
    "steps_charged", "seconds", "reason",
]  # fmt: skip


def save_report(name: str, records: Sequence[StudyRecord], directory: Path) -> Path:
    """Write report.html, trials.csv, summary.csv, summary.md and the figures as PNG. Returns: the page's path.

    Raises:
        OutputError: the folder cannot be written to.
    """
    trials, summary = trials_frame(records), summary_frame(records)
    figures = {file: (png(figure), text) for file, (figure, text) in all_figures(records).items()}
    page = page_html(name, records, trials, summary, figures)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, (image, _) in figures.items():
            (directory / f"{file}.png").write_bytes(image)
        trials.to_csv(directory / "trials.csv", index=False)
        summary.to_csv(directory / "summary.csv", index=False)
        (directory / "summary.md").write_text(summary_markdown(name, records, summary), encoding="utf-8")
        (directory / "report.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"The report must go to a folder that can be written, but got {directory}: {error.strerror}. Give another with --out."
        ) from error
    return directory / "report.html"


def page_html(
    name: str,
    records: Sequence[StudyRecord],
    trials: pd.DataFrame,
    summary: pd.DataFrame,
    figures: dict[str, tuple[bytes, str]],
) -> str:
    """The page; everything that comes from a user is escaped."""
    environment = Environment(
        loader=PackageLoader("lr_search.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    summary = shown(summary)
    heads = [SUMMARY_HEADS.get(column, column) for column in summary.columns]
    return environment.get_template("report.html.jinja").render(
        name=name,
        recommendation=recommendation_or_none(records),
        lack=lack(records),
        objective=next((s.plan["objective"] for s in records if s.kind == "search"), ""),
        unfinished=sum(t.state == "RUNNING" for s in records for t in s.trials),
        facts=_facts(records, trials),
        failures=_failures(records),
        code=_code(records),
        summary={"heads": heads, "rows": [[_cell(value) for value in row] for row in summary.itertuples(index=False)]},
        trials=_table(shown(trials[[c for c in TRIAL_COLUMNS if c in trials]]).head(MOST_ROWS)),
        trials_left_out=max(0, len(trials) - MOST_ROWS),
        figures=[(file, base64.b64encode(image).decode(), text) for file, (image, text) in figures.items()],
        shapes=_shapes(records),
        environment=[("Python", platform.python_version()), *((p, version(p)) for p in PACKAGES)],
    )


def recommendation_or_none(records: Sequence[StudyRecord]) -> Recommendation | None:
    """The recommendation, or None where no trial ended well."""
    try:
        return recommend(records)
    except LRSearchError:
        return None


def _facts(records: Sequence[StudyRecord], trials: pd.DataFrame) -> list[tuple[str, str]]:
    """What was done and what it cost."""
    search = [s for s in records if s.kind == "search"]
    tests = [t for s in records if s.kind == "range_test" for t in s.trials]
    probes = [(s, t) for s in records if s.kind == "probe" for t in s.trials]
    confirmed = [t for s in records if s.kind == "confirm" for t in s.trials]
    others = [*tests, *(t for _, t in probes), *confirmed]
    seconds = float(trials["seconds"].sum()) + sum(t.outcome.get("seconds", 0.0) for t in others)
    steps = int(trials["steps"].sum()) + sum(t.steps for t in others)
    counts = trials["outcome"].replace("", "running").value_counts()
    ended = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    devices = ", ".join(sorted(set(trials["device"]) - {""}))
    objective = f"{search[0].plan['objective']} ({search[0].plan['direction']})" if search else ""
    return [
        ("objective", objective),
        ("studies", str(len(search))),
        ("trials", f"{len(trials)} ({ended})" if len(trials) else "0"),
        ("range tests", f"{len(tests)}"),
        *((f"probe, {s.plan['optimizer']}, seed {s.plan['seed']}", t.outcome.get("reason", "")) for s, t in probes),
        *([("trainings to confirm", str(len(confirmed)))] if confirmed else []),
        *_lost_ensembles(search),
        ("steps taken", f"{steps:,}"),
        ("time in trials", f"{seconds:,.0f} s"),
        ("device", devices or "-"),
    ]


def _lost_ensembles(search: Sequence[StudyRecord]) -> list[tuple[str, str]]:
    """How many ensembles could not be judged, and why the last could not."""
    errors = [e["error"] for s in search for t in s.trials if "error" in (e := t.outcome.get("ensemble", {}))]
    return [("ensembles that could not be judged", f"{len(errors)}: {errors[-1]}")] if errors else []


def _failures(records: Sequence[StudyRecord]) -> list[tuple[str, str]]:
    """The last traceback of each study with failed trials."""
    found = {}
    for study in records:
        for trial in study.trials:
            if trial.outcome.get("error"):
                found[study.name] = (f"{study.name}, trial {trial.number}", str(trial.outcome["error"]))
    return list(found.values())


def _code(records: Sequence[StudyRecord]) -> str | None:
    best = recommendation_or_none(records)
    if best is None:
        return None
    plan = next(s.plan for s in records if s.kind == "search" and s.plan["schedule"] == best.schedule)
    shape = "".join(
        f", {name}={value if isinstance(value, int) else f'{value:.4g}'}" for name, value in best.shape.items()
    )
    named = f"lrs.schedules.by_name({best.schedule!r}, lr={best.lr:.4g}, num_steps={plan['num_steps']}, "
    named += f"steps_per_epoch=len(train_loader){shape})"
    lines = ["import lr_search as lrs", "", f"# optimizer: {best.optimizer}, any positive lr: the schedule sets it"]
    if plan.get("controller"):
        return "\n".join(
            [*lines, f"training = lrs.train(workload, {named})   # it looks at the evaluations: list(training)"]
        )
    attached = "scheduler = schedule.attach(optimizer)   # then scheduler.step() after each optimizer.step()"
    return "\n".join([*lines, f"schedule = {named}", attached])


def _shapes(records: Sequence[StudyRecord]) -> list[tuple[str, str]]:
    plans = {s.plan["schedule"]: s.plan for s in records if s.kind == "search"}
    searched = {name: ", ".join(plan.get("search_shape") or ()) for name, plan in plans.items()}
    return [
        (
            name,
            f"{plan['schedule_shape']} (numbers for a peak of 1{f'; searched: {searched[name]}' * bool(searched[name])})",
        )
        for name, plan in plans.items()
    ]


def _table(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        "heads": list(frame.columns),
        "rows": [[_cell(value) for value in row] for row in frame.itertuples(index=False)],
    }


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return "–"
    if isinstance(value, float | np.floating):
        number = float(value)
        if math.isnan(number):
            return "–"
        return f"{number:,.0f}" if 1000 <= abs(number) < math.inf else f"{number:.4g}"
    return str(value)


def summary_markdown(name: str, records: Sequence[StudyRecord], summary: pd.DataFrame) -> str:
    """The recommendation and the summary table in Markdown."""
    best = recommendation_or_none(records)
    lines = [f"# {markdown_text(name)}", ""]
    if best is None:
        lines += [lack(records), ""]
    else:
        answer = f"**{best.schedule_text}, peak LR {best.lr:.4g}, {best.optimizer}**: {best.value:.4g}. {best.reason}"
        lines += [markdown_text(answer), ""]
    summary = shown(summary)
    heads = [SUMMARY_HEADS.get(column, column) for column in summary.columns]
    lines += ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += [
        "| " + " | ".join(markdown_text(_cell(value)) for value in row) + " |"
        for row in summary.itertuples(index=False)
    ]
    return "\n".join(lines) + "\n"


def markdown_text(text: str) -> str:
    """Text that breaks neither a Markdown table nor a page."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
