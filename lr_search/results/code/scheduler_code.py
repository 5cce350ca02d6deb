"""A schedule as code to paste into a plain PyTorch loop: torch's own scheduler where it gives the same LRs, else LambdaLR.

What each schedule is in plain code is written beside its class: here it is asked for, joined and given its imports.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lr_search.errors import require
from lr_search.results.code.pieces import Piece, pieces_of
from lr_search.schedules.base import Schedule
from lr_search.schedules.decay import Constant
from lr_search.schedules.one_cycle import OneCycle
from lr_search.schedules.source import TorchCall, number

LINE_WIDTH = 100  # characters of a line, at most


@dataclass(frozen=True)
class SchedulerCode:
    """Lines that make `scheduler` for an existing `optimizer`; it is to be stepped after each optimizer step.

    Args:
        lines: the code, which needs torch alone; empty for a constant LR, which needs no scheduler.
        first_lr: the lr that the optimizer must be built with.
        needs: the import lines that it needs.
        one_group_only: whether parameter groups of different LRs would lose their ratio under it.
        peak: source of the highest LR that a parameter group, `group`, will be trained at.
        peak_lr: what that comes to for the first group.
    """

    lines: str
    first_lr: float
    needs: tuple[str, ...] = ()
    one_group_only: bool = False
    peak: str = 'group["initial_lr"]'
    peak_lr: float = math.nan


def scheduler_code(
    schedule: Schedule, num_steps: int, *, groups: int = 1, momentum: bool = True
) -> SchedulerCode | None:
    """The schedule in plain torch, the same LR (and momentum) at each of the training's steps, to rounding.

    Args:
        schedule: one that writes itself as plain code, as those of `lr_search.schedules` do, or a `Joined` of such.
        num_steps: steps in the training, >= 1.
        groups: parameter groups of the optimizer, >= 1; where there are several, each keeps its LR's ratio to the first.
        momentum: whether the optimizer has a momentum or betas; else a schedule's momentum is left out.

    Returns:
        None for a schedule that does not write itself, and where the momentum moves in a way that no scheduler of torch's
        moves it.

    Raises:
        InvalidInputError: `num_steps` or `groups` is not a whole number of at least 1.

    >>> from lr_search.schedules import by_name
    >>> code = scheduler_code(by_name("cosine", lr=0.1, num_steps=300), 300)
    >>> print(code.lines, code.needs, code.first_lr)
    scheduler = CosineAnnealingLR(optimizer, T_max=300) ('from torch.optim.lr_scheduler import CosineAnnealingLR',) 0.1
    """
    for name, value in (("num_steps", num_steps), ("groups", groups)):
        counted = isinstance(value, int | np.integer) and value >= 1
        require(counted, f"{name} must be a whole number, at least 1", **{name: value})
    pieces = pieces_of(schedule, int(num_steps))
    moves = momentum and not np.isnan(schedule.momentum(np.arange(num_steps))).all()
    if len(pieces) == 1 and type(pieces[0].schedule) is Constant and not moves:
        lr = float(pieces[0].schedule.lr)
        return SchedulerCode("", lr, peak='group["lr"]', peak_lr=lr)
    calls = _torch_calls(pieces, groups, moves)
    if calls is not None and (not moves or any(call.moves_momentum for call in calls)):
        return _torch_code(pieces, calls)
    return None if moves else _lambda_code(pieces, float(np.max(schedule(np.arange(num_steps)))))


def _writes(schedule: Schedule, writer: str) -> bool:
    """Whether the schedule's own class defines that writer: one that it inherits may be of other LRs."""
    return writer in vars(type(schedule))


def _torch_calls(pieces: list[Piece], groups: int, moves: bool) -> list[TorchCall] | None:
    """Each piece as one of torch's own schedulers; None where they would not give the same LRs."""
    calls = [
        piece.schedule.torch_call(piece.num_steps, momentum=moves, groups=groups)
        for piece in pieces
        if _writes(piece.schedule, "torch_call")
    ]
    complete = [call for call in calls if call is not None]
    if len(complete) < len(pieces) or not _fit_together(pieces, complete):
        return None
    return None if groups > 1 and any(call.one_group_only for call in complete) else complete


def _fit_together(pieces: list[Piece], calls: list[TorchCall]) -> bool:
    """Whether they can follow each other: torch starts all from one lr, and OneCycleLR keeps its bounds in the groups."""
    first_lr = calls[0].first_lr
    cycles = [i for i, call in enumerate(calls) if call.kind == "OneCycleLR"]
    return (
        all(math.isclose(call.first_lr, first_lr, rel_tol=1e-12) for call in calls)
        and all(later == before + 1 for before, later in pairwise(cycles))
        and all(pieces[i].schedule == pieces[cycles[0]].schedule for i in cycles)
    )


def _torch_code(pieces: list[Piece], calls: list[TorchCall]) -> SchedulerCode:
    """One of torch's schedulers, or several in sequence."""
    before = "".join(dict.fromkeys(call.before for call in calls))
    common: dict[str, Any] = {"one_group_only": any(call.one_group_only for call in calls)}
    cycle = next((piece.schedule for piece in pieces if isinstance(piece.schedule, OneCycle)), None)
    if cycle is not None:
        common |= {"peak": 'group["max_lr"]', "peak_lr": cycle.max_lr}
    kinds = {call.kind for call in calls}
    if len(calls) == 1:
        return _finished(before + _written(calls[0], name="scheduler = "), calls[0].first_lr, kinds, **common)
    ends = np.cumsum([piece.num_steps for piece in pieces])[:-1].tolist()
    inner = "".join(f"{_written(call, '        ')},\n" for call in calls)
    lines = f"scheduler = SequentialLR(\n    optimizer,\n    [\n{inner}    ],\n    milestones={ends},\n)"
    return _finished(before + lines, calls[0].first_lr, {*kinds, "SequentialLR"}, **common)


def _written(call: TorchCall, indent: str = "", name: str = "") -> str:
    """The call, on one line where it fits."""
    arguments = ["optimizer", *call.arguments]
    line = f"{indent}{name}{call.kind}({', '.join(arguments)})"
    if len(line) <= LINE_WIDTH:
        return line
    inner = "".join(f"{indent}    {argument},\n" for argument in arguments)
    return f"{indent}{name}{call.kind}(\n{inner}{indent})"


def _lambda_code(pieces: list[Piece], peak_lr: float) -> SchedulerCode | None:
    """By a plain function; None where a piece does not write itself as one."""
    if not all(_writes(piece.schedule, "factor_lines") for piece in pieces):
        return None
    first_lr = max(piece.schedule.highest_lr(piece.num_steps) for piece in pieces)
    bodies = [piece.schedule.factor_lines(first_lr, piece.num_steps) for piece in pieces]
    complete = [body for body in bodies if body is not None]
    if len(complete) < len(bodies):
        return None
    function = _function([piece.num_steps for piece in pieces], complete)
    lines = f"{function}\n\n\nscheduler = LambdaLR(optimizer, factor)"
    steps = sum(piece.num_steps for piece in pieces)
    peak = f'max(map(factor, range({steps}))) * group["initial_lr"]'
    return _finished(lines, first_lr, {"LambdaLR"}, peak=peak, peak_lr=peak_lr)


def _function(num_steps: Sequence[int], bodies: Sequence[list[str]]) -> str:
    """`def factor(step)`: the LR at each step over the optimizer's, of bodies that each count their own steps from 0."""
    lines = ["def factor(step):  # the LR at each step, over the optimizer's"]
    for length, body in zip(num_steps, bodies[:-1], strict=False):
        lines += [f"    if step < {length}:", *(f"        {line}" for line in body), f"    step -= {length}"]
    lines += [f"    {line}" for line in bodies[-1]]
    return "\n".join(lines)


def _finished(lines: str, first_lr: float, kinds: set[str], **fields: Any) -> SchedulerCode:
    """With the imports that the lines need."""
    imported = f"from torch.optim.lr_scheduler import {', '.join(sorted(kinds))}"
    needs = (*(["import math"] if "math." in lines else []), imported)
    return SchedulerCode(lines, float(number(first_lr)), needs, **{"peak_lr": first_lr, **fields})
