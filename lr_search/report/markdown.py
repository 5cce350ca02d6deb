"""The answer and the summary in Markdown."""

from __future__ import annotations

from lr_search.report.cells import cell
from lr_search.results.findings import Findings
from lr_search.results.tables import shown
from lr_search.scaling.told import transfer_lines

SUMMARY_HEADS = {
    "best": "best objective (mean)",
    "best_std": "± over seeds",
    "best_lr": "at LR",
    "ensemble": "its snapshot ensemble",
    "mean_rank": "mean rank",
    "area": "area under the best so far",
    "steps": "steps spent",
    "steps_to_close": "steps to within 5%",
    "faster_than_random": "times faster than random",
    "faster_than_grid": "times faster than grid",
}


def summary_markdown(findings: Findings) -> str:
    """The recommendation and the summary table in Markdown."""
    best = findings.recommendation
    lines = [f"# {markdown_text(findings.name)}", ""]
    if best is None:
        lines += [findings.lack, ""]
        lines += [line for told in transfer_lines(findings.records) for line in (markdown_text(told), "")]
    else:
        if best.against_today is not None:
            lines += [markdown_text(best.against_today.sentence), ""]
        answer = f"**{best.training}**: {best.objective} {best.value:.4g}. {best.reason[:1].upper()}{best.reason[1:]}"
        lines += [markdown_text(answer), ""]
        lines += [findings.not_begun, ""] if findings.not_begun else []
    summary = shown(findings.summary(full=True))
    if summary.empty:  # such as of pilots alone
        return "\n".join(lines).rstrip() + "\n"
    heads = [SUMMARY_HEADS.get(column, column) for column in summary.columns]
    lines += ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += [
        "| " + " | ".join(markdown_text(cell(value)) for value in row) + " |" for row in summary.itertuples(index=False)
    ]
    if remark := findings.apart_remark:
        lines += ["", remark]
    return "\n".join(lines) + "\n"


def markdown_text(text: str) -> str:
    """Text that breaks neither a Markdown table nor a page."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
