"""Plain PyTorch lines for a recommendation, made from what the storage holds of a study's plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lr_search.results.code.attached_code import attached_code
from lr_search.results.code.recipe import recipe
from lr_search.schedules.base import Schedule
from lr_search.schedules.named import by_name

LR_DIGITS = 4  # of the LR: more promises what no search knows
NO_GROUPS = "# an earlier version stored this, without the LRs of the parameter groups: compare with fresh=True (--fresh) for the code\n"


def code_for(plan: Mapping[str, Any], lr: float, shape: Mapping[str, float]) -> str:
    """The lines that train a model of one's own with that LR under the plan's schedule, with its optimizer."""
    rounded = float(f"{lr:.{LR_DIGITS}g}")
    num_steps, call = int(plan["num_steps"]), plan.get("optimizer_call")
    if plan.get("pasted") is not None:
        return attached_code(plan, rounded, shape)
    if plan.get("controller"):
        return _controlled(plan, rounded, shape)
    if call is None:  # no optimizer could be made
        return ""
    if isinstance(call["groups"], int):  # an earlier version stored how many
        if call["groups"] > 1:
            return NO_GROUPS
        call = {**call, "groups": []}
    name, per_epoch = plan.get("by_name"), plan.get("steps_per_epoch")
    schedule = by_name(name, rounded, num_steps, per_epoch, **shape) if name else None
    return recipe(call, schedule if isinstance(schedule, Schedule) else None, rounded, num_steps)


def _controlled(plan: Mapping[str, Any], lr: float, shape: Mapping[str, float]) -> str:
    """A controller looks at the evaluations of the training, which only our own loop gives it."""
    options = "".join(f", {name}={value!r}" for name, value in shape.items())
    named = f"{plan['by_name']!r}, lr={lr:g}, num_steps={plan['num_steps']}, steps_per_epoch={plan.get('steps_per_epoch')}{options}"
    controller = f"lrs.schedules.by_name({named})" if plan.get("by_name") else f"your_controller({lr:g})"
    return "\n".join(
        [
            "import lr_search as lrs",
            "",
            f"# {plan['schedule']} looks at the evaluations and changes its schedule, so lr_search trains:",
            f"training = lrs.train(workload, {controller}, seed=0)",
            "evaluations = list(training)   # then training.model is trained",
        ]
    )
