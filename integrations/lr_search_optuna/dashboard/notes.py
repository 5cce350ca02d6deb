"""What the notes in optuna-dashboard say, in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from lr_search.curves.prior import LRPrior
from lr_search.report.markdown import markdown_text, summary_markdown
from lr_search.results.anytime import best_trial
from lr_search.results.findings import Findings
from lr_search.storage.records import StudyRecord
from lr_search_optuna.dashboard.stored import stored_prior
from lr_search_optuna.report_evaluations import DIVERGED
from lr_search_optuna.seed_study import STEPS_ATTRIBUTE

HEADING = "# lr_search: "
SPACE = "\u2003"  # the dashboard's tables have none between their columns
_KINDS = {
    "search": "a search",
    "range_test": "the range tests that searches wait for",
    "probe": "the probe that searches wait for",
    "pilot": "pilots, shorter trainings that a search waits for",
    "confirm": "the best found, or what is used today, trained on fresh seeds",
    "today": "the learning rate that is used today",
}


def comparison_note(findings: Findings, record: StudyRecord) -> str:
    """What one study of a comparison is, after what the whole comparison found."""
    whole = summary_markdown(findings).removeprefix("# ")
    facts = [*_plan_facts(record), *_first_facts(findings, record), *_result_facts(record)]
    return f"{HEADING}{_spaced(whole)}\n## This study: {_KINDS[record.kind]}\n\n{_table(facts)}"


def study_note(study: optuna.Study, name: str) -> str:
    """What `seed_study` and the trials of a user's own study found. Args: name: of the LR's parameter."""
    trials = study.get_trials(deepcopy=False)
    prior = stored_prior(study)
    facts = (
        []
        if prior is None
        else [("range tests", f"{study.user_attrs.get(STEPS_ATTRIBUTE, 0)} steps"), _prior_fact(prior)]
    )
    facts.append(("trials", _counts(trials) or "none yet"))
    best = _best(study, trials)
    if best is not None:
        facts.append(("best", f"trial {best.number}: {best.values[0]:.4g}"))
        facts += [
            (f"its {param}", f"**{value:.4g}**" if param == name else _value(value))
            for param, value in best.params.items()
        ]
    return f"{HEADING}{markdown_text(study.study_name)}\n\n{_table(facts)}"


def _plan_facts(record: StudyRecord) -> list[tuple[str, str]]:
    plan = record.plan
    low, high = plan["lr_range"]
    facts = [(key, str(plan[key])) for key in ("strategy", "schedule", "optimizer", "seed") if plan[key] != ""]
    if plan["schedule_shape"]:
        facts.append(("the schedule's shape", f"{plan['schedule_shape']} (numbers for a peak of 1)"))
    return [*facts, ("LRs", f"{low:g} to {high:g}"), *([("pruner", plan["pruner"])] if plan.get("pruner") else [])]


def _first_facts(findings: Findings, record: StudyRecord) -> list[tuple[str, str]]:
    """What came before the search: range tests or a probe, and the prior."""
    before = findings.lines.before.get(record.name, ()) if record.kind == "search" else ()
    facts = [("charged before", f"{sum(t.steps for t in first.trials)} steps ({first.kind})") for first in before]
    return [*facts, *([] if record.prior is None else [_prior_fact(record.prior)])]


def _result_facts(record: StudyRecord) -> list[tuple[str, str]]:
    facts = []
    for index, curve in enumerate(record.curves):
        suggestion, (base_lr, max_lr) = curve.suggest(), curve.bounds()
        facts.append((f"curve {index}", f"LR **{suggestion.lr:.3g}** ({suggestion.status}): {suggestion.reason}"))
        facts.append(("bounds for cycles", f"{base_lr:.3g} to {max_lr:.3g}"))
    if record.kind == "probe":
        facts += [("probe", trial.outcome.get("reason", "")) for trial in record.trials]
    best = best_trial(record) if record.kind in ("search", "confirm", "today") else None
    if best is not None:
        facts.append(("best", f"{record.clipped(best.value):.4g} at LR {best.lr:.3g}"))
    return facts


def _prior_fact(prior: LRPrior) -> tuple[str, str]:
    low, high = prior.ppf([0.1, 0.9]).tolist()
    return "prior of the LR", f"mode **{prior.mode:.3g}**, 80% between {low:.2g} and {high:.2g}"


def _counts(trials: Sequence[FrozenTrial]) -> str:
    ended = [DIVERGED if DIVERGED in trial.user_attrs else trial.state.name.lower() for trial in trials]
    return ", ".join(f"{count} {name}" for name, count in Counter(ended).items())


def _best(study: optuna.Study, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE and len(trial.values) == 1]
    sign = 1 if study.directions[0] == optuna.study.StudyDirection.MINIMIZE else -1
    return min(done, key=lambda trial: sign * trial.values[0], default=None)


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"| {markdown_text(name)} | {markdown_text(text)} |\n" for name, text in facts)
    return _spaced(f"| | |\n| --- | --- |\n{rows}")


def _spaced(markdown: str) -> str:
    lines = markdown.split("\n")
    return "\n".join(line if line.startswith("| ---") else line.replace(" |", f"{SPACE}|") for line in lines)
