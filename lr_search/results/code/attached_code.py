"""The answer's code for a training function: the schedule, attached to its optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lr_search.schedules.named import by_name

PLACE_OF_SCHEDULE = "{schedule}"  # in a template: what makes the schedule


def attached_code(plan: Mapping[str, Any], lr: float, shape: Mapping[str, float]) -> str:
    """The lines to put into a training function.

    Args:
        plan: of the study, as stored.
        lr: the peak LR, rounded as it is to be shown.
        shape: the schedule's options that were searched.

    >>> plan = {"pasted": {"template": "", "times": [1.0]}, "by_name": "cosine", "schedule": "cosine", "num_steps": 300}
    >>> print(attached_code(plan, 0.05, {}))
    import lr_search as lrs
    <BLANKLINE>
    scheduler = lrs.schedules.by_name('cosine', lr=0.05, num_steps=300).attach(optimizer)
    # the optimizer's groups keep the ratios of their LRs; call scheduler.step() after each of the 300 optimizer steps
    <BLANKLINE>
    """
    if plan.get("controller"):
        return _on_plateau(plan, lr, shape)
    template, times = plan["pasted"]["template"], plan["pasted"]["times"]
    made = [_schedule(plan, lr * factor, shape) for factor in times or [1.0]]
    if template:
        return f"import lr_search as lrs\n\n{template.replace(PLACE_OF_SCHEDULE, made[0]).strip()}\n"
    return "\n".join(["import lr_search as lrs", "", *_lines(made, plan["num_steps"], bool(times))]) + "\n"


def _lines(made: Sequence[str], num_steps: int, attached: bool) -> list[str]:
    if not attached:
        return [f"schedule = {made[0]}", f"# lr = schedule(step), for step 0 to {num_steps - 1}"]
    last = f"call scheduler.step() after each of the {num_steps} optimizer steps"
    ratios = "# the optimizer's groups keep the ratios of their LRs"
    if len(made) == 1:
        return [f"scheduler = {made[0]}.attach(optimizer)", f"{ratios}; {last}"]
    lines = [f"    {each}.attach(optimizers[{place}])," for place, each in enumerate(made)]
    return ["schedulers = [", *lines, "]", f"{ratios}; {last.replace('scheduler.', 'each scheduler.')}"]


def _on_plateau(plan: Mapping[str, Any], lr: float, shape: Mapping[str, float]) -> str:
    """A controller looks at what is reported; of ours only `plateau` does so in a training function, as torch's own does."""
    if plan.get("by_name") != "plateau":
        return f"# {plan['schedule']} looks at what is reported, which a comparison's trainings alone follow\n"
    made: Any = by_name("plateau", lr, int(plan["num_steps"]), plan.get("steps_per_epoch"), **shape)
    mode = "min" if plan["direction"] == "minimize" else "max"
    names = ("factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps")
    settings = "".join(f", {name}={getattr(made, name)!r}" for name in names)
    return "\n".join(
        [
            "from torch.optim.lr_scheduler import ReduceLROnPlateau",
            "",
            f"# the optimizer's first group begins with lr={lr:.6g}",
            f"scheduler = ReduceLROnPlateau(optimizer, {mode!r}{settings})",
            f"# call scheduler.step({plan['objective']}) after each evaluation, {plan['fingerprint']['eval_every']} steps apart",
            "",
        ]
    )


def _schedule(plan: Mapping[str, Any], lr: float, shape: Mapping[str, float]) -> str:
    name, per_epoch = plan.get("by_name"), plan.get("steps_per_epoch")
    if not name:
        return f"your_schedule({lr:.6g})"
    options = {"steps_per_epoch": per_epoch} if per_epoch is not None else {}
    settings = "".join(f", {key}={value!r}" for key, value in {**options, **shape}.items())
    return f"lrs.schedules.by_name({name!r}, lr={lr:.6g}, num_steps={plan['num_steps']}{settings})"
