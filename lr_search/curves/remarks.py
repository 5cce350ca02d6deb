"""What is said of a curve; and of a suggestion beside its reason: what it is for, how it lies to bounds(), what other groups train with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lr_search.curves.phases import bounds, has_descent

if TYPE_CHECKING:
    from lr_search.curves.curve import LRCurve
    from lr_search.curves.training_plan import Plan


ANOTHER_PLAN = "suggest(schedule=..., num_steps=...)"
_WIDTH = 80  # columns
_ENDS = {"finished": "ran to its end", "diverged": "blew up", "non_finite": "became non-finite"}


def curve_text(curve: LRCurve) -> str:
    """What was measured and what it suggests, a line each of at most 80 columns."""
    suggestion, lowest = curve.suggest(), float(curve.smoothed.min())
    who = f"Range tests of {len(curve.members)} seeds" if curve.members else f"Range test of {len(curve.lr):,} steps"
    measured = f"{_measured(curve, who)}: loss {curve.start:.3g} to {lowest:.3g}, {_ENDS[curve.stopped]}"
    suggested = f"suggests {suggestion.lr:.3g} ({suggestion.status}), give or take x{10**suggestion.log10_std:.2g}"
    planned = f"{suggested}, for {suggestion.plan}"
    return f"{measured}\n{planned if len(planned) <= _WIDTH else suggested}"


def curve_repr(curve: LRCurve) -> str:
    """What was measured, as one object among others."""
    return f"LRCurve({_measured(curve, f'{len(curve.lr):,} steps')}, {curve.stopped!r})"


def _measured(curve: LRCurve, who: str) -> str:
    return f"{who}, LR {curve.lr[0]:.3g} to {curve.lr[-1]:.3g}"


def plan_remark(plan: Plan, rule_knows: bool) -> str:
    """Which training an LR is for, and how to ask for another where that was not known; empty where the rule knows of none."""
    if not rule_knows:
        return ""
    if plan.schedule is None:
        return f" It is the peak for {plan}; {ANOTHER_PLAN} tells another."
    return f" It is for {plan}."


def bounds_remark(curve: LRCurve, lr: float) -> str:
    """How an LR lies to the bounds that the same curve gives for cycles, where outside or where these say nothing; empty where inside."""
    base_lr, max_lr = bounds(curve)
    if not has_descent(curve):
        return f" bounds() ({base_lr:.2g} to {max_lr:.2g}) are read off the loss alone, which does not descend: no ends for cycles."
    if base_lr <= lr <= max_lr:
        return ""
    side = "above" if lr > max_lr else "below"
    return (
        f" The LR lies {side} bounds() ({base_lr:.2g} to {max_lr:.2g}), which are read off the loss alone, for the ends of cycles; "
        "for one LR go by the suggestion."
    )


def groups_remark(group_lrs: Sequence[float]) -> str:
    """Whose LR it is where the parameter groups differ, and what the others train with; empty where they do not."""
    first, *others = group_lrs
    different = [lr for lr in others if abs(lr - first) > 1e-9 * first]
    if not different:
        return ""
    low, high = min(different), max(different)
    span = f"{low:.3g}" if high - low <= 1e-9 * high else f"{low:.3g} to {high:.3g}"
    return f" The LR is the first parameter group's; {_some(len(different))} at {span}."


def _some(count: int) -> str:
    return "another trains" if count == 1 else f"{count} others train"
