"""The whole of the plain PyTorch lines to train with: optimizer, scheduler and where each is stepped."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from lr_search.results.code.optimizer_code import optimizer_imports, optimizer_lines, promise_lines
from lr_search.results.code.scheduler_code import SchedulerCode, scheduler_code
from lr_search.schedules.base import Schedule

OWN = "# the schedule is your own function: `schedule` is what it makes for this LR and number of steps"
LAMBDA = "from torch.optim.lr_scheduler import LambdaLR"
UNKNOWN = "# torch has no scheduler for it: `schedule` is the lr_search Schedule, made for this LR and number of steps"


def recipe(call: Mapping[str, Any], schedule: Schedule | None, lr: float, num_steps: int) -> str:
    """Lines to paste into a plain PyTorch training that has a `model`: imports, optimizer, scheduler, and the loop as a comment.

    Args:
        call: the optimizer, as of `optimizer_call`.
        schedule: laid out for `lr` and `num_steps`; None where it is a user's own function or a controller.
        lr: the peak LR, > 0, rounded as it is to be shown; the optimizer's where the schedule does not say another.
        num_steps: steps in the training, >= 1.

    Returns:
        Python source that runs without lr_search, unless the schedule is none that can be written in plain torch. Where the
        optimizer has parameter groups of its own, it gives each its LR and settings, and raises an AssertionError if one would be
        trained at another LR.

    Raises:
        InvalidInputError: `num_steps` is not a whole number of at least 1.

    >>> from lr_search.schedules import by_name
    >>> call = {"class": "torch.optim.SGD", "settings": {"momentum": 0.9}, "groups": []}
    >>> print(recipe(call, by_name("cosine", lr=0.1, num_steps=300), 0.1, 300))
    import torch
    from torch.optim.lr_scheduler import CosineAnnealingLR
    <BLANKLINE>
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = CosineAnnealingLR(optimizer, T_max=300)
    <BLANKLINE>
    # for batch in batches:  # 300 steps
    #     loss_of(model, batch).backward()
    #     optimizer.step()
    #     scheduler.step()  # after each optimizer step, not after each epoch
    #     optimizer.zero_grad()
    <BLANKLINE>
    """
    several = call.get("several", 1) > 1
    groups, momentum = call["groups"], bool(call.get("momentum", True))
    code = None
    if schedule is not None:  # groups of one's own keep their LRs, even where there is but one
        code = scheduler_code(schedule, num_steps, groups=2 if groups else 1, momentum=momentum)
    if code is None:
        why = OWN if schedule is None else UNKNOWN
        attached = (
            f"LambdaLR(optimizer, lambda step: schedule(step) / {lr})" if several else "schedule.attach(optimizer)"
        )
        code = SchedulerCode(f"{why}\nscheduler = {attached}", lr, (LAMBDA,) if several else (), peak_lr=lr)
    needs = {*code.needs, *(["import math"] if groups else [])}
    imports = sorted([*optimizer_imports(call), *sorted(needs)], key=_order)
    scheduler = [code.lines] if code.lines else ["# the learning rate stays constant: no scheduler"]
    if several and code.lines:
        function, apart, made = code.lines.rpartition("\n\n\n")
        inner = textwrap.indent(f"{made}\nschedulers.append(scheduler)", "    ")
        scheduler = [f"{function}{apart}schedulers = []\nfor optimizer in optimizers:\n{inner}"]
    lines = [
        *([*imports, ""] if imports else []),
        *optimizer_lines(call, code.first_lr),
        *_spaced(scheduler),
        *promise_lines(groups, code.peak, code.peak_lr, several=several),
        *(_loop_in_turn if several else _loop)(num_steps, bool(code.lines)),
    ]
    return "\n".join(lines) + "\n"


def _order(line: str) -> tuple[bool, bool]:
    """Python's own modules first, comments last."""
    return line.startswith("#"), line != "import math"


def _spaced(lines: list[str]) -> list[str]:
    """Two empty lines before a function, as Python's style has it."""
    return ["", "", *lines] if lines[0].startswith("def ") else lines


def _loop(num_steps: int, scheduled: bool) -> list[str]:
    step = ["#     scheduler.step()  # after each optimizer step, not after each epoch"] if scheduled else []
    return [
        "",
        f"# for batch in batches:  # {num_steps} steps",
        "#     loss_of(model, batch).backward()",
        "#     optimizer.step()",
        *step,
        "#     optimizer.zero_grad()",
    ]


def _loop_in_turn(num_steps: int, scheduled: bool) -> list[str]:
    step = ["#     for scheduler in schedulers:", "#         scheduler.step()"] if scheduled else []
    return [
        "",
        f"# for batch in batches:  # {num_steps} steps",
        "#     for optimizer, loss_of in zip(optimizers, losses):  # in turn; one loss for all: backward once, then step each",
        "#         optimizer.zero_grad()",
        "#         loss_of(model, batch).backward()",
        "#         optimizer.step()",
        *step,
    ]
