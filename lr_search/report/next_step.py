"""What to run next to be surer of an answer, ready to be pasted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lr_search.results.findings import Findings
from lr_search.results.recommendation import Recommendation
from lr_search.results.statistics import MIN_SEEDS

CONFIRM = 3  # fresh seeds that are proposed
_OURS = ("lr-search", "lr-search.exe", "__main__.py")
_NOT_AGAIN = ("--fresh", "--dry-run")
# what the demo is, as a comparison of one's own
_DEMO = ("compare", "lr_search.demo:workload", "--name", "digits", "--executor", "fused")
_DEMO_SEEDS = "2"


@dataclass(frozen=True)
class NextStep:
    """What would make an answer surer.

    Args:
        sentence: what it does and what it costs.
        code: what is pasted.
        place: where: "shell", or "call" for arguments of `compare`.
    """

    sentence: str
    code: str
    place: str


def next_step(findings: Findings, best: Recommendation, *, with_today: bool = False) -> NextStep | None:
    """Confirm it; where that is done on too few fresh seeds, or did not tell the best two apart, on more; else None.

    Args:
        findings: of a comparison.
        best: its answer.
        with_today: whether the LR used today is trained again too.
    """
    count = min(2, len(findings.candidates))
    whom = "the best two" if count == 2 else "it"
    seeds = CONFIRM
    if best.confirmed:
        done = best.interval.n if best.interval is not None else CONFIRM
        if done < MIN_SEEDS:
            lead = f"{done} fresh seed{'s give' if done > 1 else ' gives'} no interval, {seeds} do"
        elif best.is_real or best.runner_up is None:
            return None
        else:
            seeds = 2 * done
            lead = f"{done} fresh seeds do not tell the best two apart; {seeds} may"
    else:
        both = f"{whom}{' and what is used today' if with_today else ''}"
        lead = f"This trains {both} again on {seeds} fresh seeds, so that the numbers are not of the trials it was chosen by"
        if len(findings.confirmations):
            lead = f"There are trainings on fresh seeds, but of others than the present best. {lead}"
    trained = count + with_today
    steps = trained * seeds * best.num_steps - (int(findings.confirmations["steps"].sum()) if best.confirmed else 0)
    cost = f"{max(steps, 0):,} more steps{', and first what is left of the search' if findings.not_begun else ''}"
    command = _command(findings, seeds)
    if command:
        return NextStep(f"{lead}: {cost}. What is finished is not trained again.", command, "shell")
    how = "Add it to the call of compare: what its storage holds is not trained again."
    return NextStep(f"{lead}: {cost}. {how}", f"confirm={seeds}", "call")


def _command(findings: Findings, seeds: int) -> str:
    """The command that ran it, with `--confirm`; empty where a program of the user's did."""
    recorded = [study.plan.get("environment") or {} for study in findings.searches]
    commands = [str(each["command"]) for each in recorded if each.get("command")]
    try:
        words = shlex.split(commands[-1]) if commands else []
    except ValueError:  # it was cut
        return ""
    if len(words) < 2 or PurePath(words[0].replace("\\", "/")).name not in _OURS:
        return ""
    kind, *options = words[1:]
    if kind == "demo":
        kind, *rest = _DEMO
        options = [*rest, *options]
        if not _has(options, "--seeds"):
            options += ["--seeds", _DEMO_SEEDS]
    if kind != "compare":
        return ""
    return shlex.join(["lr-search", kind, *_with(options, "--confirm", str(seeds))])


def _has(words: Sequence[str], option: str) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in words)


def _with(words: Sequence[str], option: str, value: str) -> list[str]:
    """The words with that option at that value, without what would begin anew or run nothing.

    >>> _with(["a.py:w", "--confirm=1", "--fresh", "--seeds", "4"], "--confirm", "3")
    ['a.py:w', '--seeds', '4', '--confirm', '3']
    """
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or word in _NOT_AGAIN or word.startswith(f"{option}="):
            skip = False
        elif word == option:
            skip = True
        else:
            kept.append(word)
    return [*kept, option, value]
