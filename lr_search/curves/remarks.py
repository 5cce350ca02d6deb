"""What is said of a suggestion beside its reason: what it is for, how it lies to the bounds for cycles, and what other groups train with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lr_search.curves.phases import bounds

if TYPE_CHECKING:
    from lr_search.curves.curve import LRCurve
    from lr_search.curves.training_plan import Plan


def plan_remark(plan: Plan, rule_knows: bool) -> str:
    """Which training an LR is for, and how to ask for another where that was not known; empty where the rule knows of none."""
    if not rule_knows:
        return ""
    if plan.schedule is None:
        return f" It is the peak for {plan}; suggest(schedule=..., num_steps=...) tells another."
    return f" It is for {plan}."


def bounds_remark(curve: LRCurve, lr: float) -> str:
    """That an LR lies outside the bounds that the same curve gives for cycles, and why both may hold; empty where it lies inside."""
    base_lr, max_lr = bounds(curve)
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
