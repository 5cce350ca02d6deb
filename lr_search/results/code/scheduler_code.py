"""A schedule as code to paste into a plain PyTorch loop: torch's own scheduler where it gives the same LRs, else LambdaLR."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lr_search.errors import require
from lr_search.results.code.factor_code import (
    Part,
    can_write,
    factor_code,
    number,
    parts_of,
    peak_of,
    share_done,
    steps_text,
    whole,
)
from lr_search.schedules.base import Schedule
from lr_search.schedules.constant import Constant
from lr_search.schedules.cosine import Cosine
from lr_search.schedules.decay import Exponential, Linear, Polynomial, StepDecay
from lr_search.schedules.one_cycle import OneCycle
from lr_search.schedules.sgdr import SGDR
from lr_search.schedules.triangular import ExpRange, Triangular, Triangular2

WIDTH = 100  # characters of a line, at most
MOST_MILESTONES = 12  # drops at uneven distances are listed up to this many


@dataclass(frozen=True)
class SchedulerCode:
    """Lines that make `scheduler` for an existing `optimizer`; it is to be stepped after each optimizer step.

    Args:
        lines: the code, which needs torch alone; empty for a constant LR, which needs no scheduler.
        first_lr: the lr that the optimizer must be built with.
        needs: the import lines that it needs.
        one_group_only: whether parameter groups of different LRs would lose their ratio under it.
    """

    lines: str
    first_lr: float
    needs: tuple[str, ...] = ()
    one_group_only: bool = False


@dataclass(frozen=True)
class _Torch:
    """One of torch's own schedulers: its class, its arguments, and the lr of the optimizer under it."""

    kind: str
    arguments: Sequence[str]
    first_lr: float
    one_group_only: bool = False
    before: str = ""

    def written(self, indent: str = "", name: str = "") -> str:
        """The call, on one line where it fits."""
        line = f"{indent}{name}{self.kind}({', '.join(['optimizer', *self.arguments])})"
        if len(line) <= WIDTH:
            return line
        inner = "".join(f"{indent}    {argument},\n" for argument in ["optimizer", *self.arguments])
        return f"{indent}{name}{self.kind}(\n{inner}{indent})"


def scheduler_code(
    schedule: Schedule, num_steps: int, *, groups: int = 1, momentum: bool = True
) -> SchedulerCode | None:
    """The schedule in plain torch, the same LR (and momentum) at each of the training's steps, to rounding.

    Args:
        schedule: one of `lr_search.schedules`, or a `Joined` of them.
        num_steps: steps in the training, >= 1.
        groups: parameter groups of the optimizer, >= 1; where there are several, each keeps its LR's ratio to the first.
        momentum: whether the optimizer has a momentum or betas; else a schedule's momentum is left out.

    Returns:
        None for a schedule of a user's own, and where the momentum moves in a way that no scheduler of torch's moves it.

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
    parts = parts_of(schedule, int(num_steps))
    if len(parts) == 1 and type(parts[0][0]) is Constant:
        return SchedulerCode("", float(parts[0][0].lr))
    moves = momentum and not np.isnan(schedule.momentum(np.arange(num_steps))).all()
    code = _torch_code(parts, groups, moves)
    if code is not None and (not moves or "OneCycleLR" in code.lines):
        return code
    return None if moves else _lambda_code(parts)


def _torch_code(parts: list[Part], groups: int, moves: bool) -> SchedulerCode | None:
    """By torch's own schedulers, one or in sequence; None where they would not give the same LRs."""
    each = [_NATIVE[type(s)](s, n, moves, groups) if type(s) in _NATIVE else None for s, n in parts]
    found = [call for call in each if call is not None]
    if len(found) < len(each) or not _fit_together(parts, found):
        return None
    one_group_only = any(call.one_group_only for call in found)
    if groups > 1 and one_group_only:
        return None
    before = "".join(dict.fromkeys(call.before for call in found))
    if len(found) == 1:
        return _finished(before + found[0].written(name="scheduler = "), found[0].first_lr, one_group_only)
    ends = np.cumsum([length for _, length in parts])[:-1].tolist()
    inner = "".join(f"{call.written('        ')},\n" for call in found)
    lines = f"scheduler = SequentialLR(\n    optimizer,\n    [\n{inner}    ],\n    milestones={ends},\n)"
    return _finished(before + lines, found[0].first_lr, one_group_only)


def _fit_together(parts: list[Part], found: list[_Torch]) -> bool:
    """Whether they can follow each other: torch starts all from one lr, and OneCycleLR keeps its bounds in the groups."""
    first_lr = found[0].first_lr
    cycles = [i for i, (schedule, _) in enumerate(parts) if type(schedule) is OneCycle]
    return (
        all(math.isclose(call.first_lr, first_lr, rel_tol=1e-12) for call in found)
        and all(later == before + 1 for before, later in pairwise(cycles))
        and all(parts[i][0] == parts[cycles[0]][0] for i in cycles)
    )


def _lambda_code(parts: list[Part]) -> SchedulerCode | None:
    if not can_write(parts):
        return None
    first_lr = max(peak_of(schedule) for schedule, _ in parts)
    return _finished(f"{factor_code(parts, first_lr)}\n\n\nscheduler = LambdaLR(optimizer, factor)", first_lr)


def _finished(lines: str, first_lr: float, one_group_only: bool = False) -> SchedulerCode:
    kinds = sorted(set(re.findall(r"\b[A-Z]\w+(?=\()", lines)))
    needs = (*(["import math"] if "math." in lines else []), f"from torch.optim.lr_scheduler import {', '.join(kinds)}")
    return SchedulerCode(lines, float(number(first_lr)), needs, one_group_only)


def _constant(schedule: Constant, length: int, moves: bool, groups: int) -> _Torch:
    return _Torch("ConstantLR", ["factor=1.0"], schedule.lr)


def _step(schedule: StepDecay, length: int, moves: bool, groups: int) -> _Torch | None:
    size, gamma = whole(schedule.step_size), f"gamma={number(schedule.gamma)}"
    if size is not None:
        return _Torch("StepLR", [f"step_size={size}", gamma], schedule.lr)
    if length / schedule.step_size > MOST_MILESTONES:
        return None
    drops = range(1, MOST_MILESTONES + 1)
    at = [math.ceil((drop - 1e-9) * schedule.step_size) for drop in drops]  # 1e-9: as in StepDecay
    return _Torch("MultiStepLR", [f"milestones={[step for step in at if step < length]}", gamma], schedule.lr)


def _exponential(schedule: Exponential, length: int, moves: bool, groups: int) -> _Torch:
    return _Torch("ExponentialLR", [f"gamma={number(schedule.gamma)}"], schedule.lr)


def _polynomial(schedule: Polynomial, length: int, moves: bool, groups: int) -> _Torch | None:
    steps = whole(schedule.num_steps)
    if steps is None or schedule.end_lr > 0:
        return None
    return _Torch("PolynomialLR", [f"total_iters={steps}", f"power={number(schedule.power)}"], schedule.lr)


def _linear(schedule: Linear, length: int, moves: bool, groups: int) -> _Torch | None:
    first_lr, steps = peak_of(schedule), whole(schedule.num_steps)
    if schedule.lr == 0:  # which LinearLR refuses
        return _Torch("LambdaLR", [f"lambda step: {share_done(schedule.num_steps, length)}"], first_lr)
    if steps is None:
        return None
    ends = [f"start_factor={number(schedule.lr / first_lr)}", f"end_factor={number(schedule.end_lr / first_lr)}"]
    return _Torch("LinearLR", [*ends, f"total_iters={steps}"], first_lr)


def _cosine(schedule: Cosine, length: int, moves: bool, groups: int) -> _Torch | None:
    steps = whole(schedule.num_steps)
    if steps is None or length > steps + 1:  # torch's goes up again
        return None
    floor = [f"eta_min={number(schedule.end_lr)}"] if schedule.end_lr > 0 else []
    return _Torch("CosineAnnealingLR", [f"T_max={steps}", *floor], schedule.lr, schedule.end_lr > 0)


def _sgdr(schedule: SGDR, length: int, moves: bool, groups: int) -> _Torch | None:
    first, growth = whole(schedule.T_0), whole(schedule.T_mult)
    if first is None or growth is None or min(schedule.decay, schedule.base_decay) < 1:
        return None
    arguments = [f"T_0={first}", f"T_mult={growth}"]
    arguments += [f"eta_min={number(schedule.base_lr)}"] if schedule.base_lr > 0 else []
    return _Torch("CosineAnnealingWarmRestarts", arguments, schedule.max_lr, schedule.base_lr > 0)


def _cyclical(schedule: Triangular | Triangular2 | ExpRange, length: int, moves: bool, groups: int) -> _Torch | None:
    modes: dict[type, str] = {Triangular: "triangular", Triangular2: "triangular2", ExpRange: "exp_range"}
    decay = []
    if isinstance(schedule, ExpRange):
        if schedule.decay == "bounds":
            return None
        decay = [f"gamma={number(schedule.gamma)}"]
    bounds = [f"base_lr={number(schedule.base_lr)}", f"max_lr={number(schedule.max_lr)}"]
    shape = [f"step_size_up={steps_text(schedule.step_size)}", f'mode="{modes[type(schedule)]}"', *decay]
    return _Torch("CyclicLR", [*bounds, *shape, "cycle_momentum=False"], schedule.base_lr, one_group_only=True)


def _one_cycle(schedule: OneCycle, length: int, moves: bool, groups: int) -> _Torch | None:
    steps = whole(schedule.num_steps)
    if steps is None or length > steps:  # torch's refuses to go on
        return None
    peak = "peaks" if groups > 1 else number(schedule.max_lr)
    arguments = [f"max_lr={peak}", f"total_steps={steps}", f"pct_start={number(schedule.pct_start)}"]
    arguments += ['anneal_strategy="linear"'] if schedule.anneal == "linear" else []
    still = schedule.base_momentum is None or not moves
    arguments += ["cycle_momentum=False"] if still else []
    for name in (*(() if still else ("base_momentum", "max_momentum")), "div_factor", "final_div_factor"):
        arguments.append(f"{name}={number(getattr(schedule, name))}")
    arguments += ["three_phase=True"] if schedule.three_phase else []
    first_lr = schedule.max_lr / schedule.div_factor
    if groups == 1:
        return _Torch("OneCycleLR", arguments, first_lr, one_group_only=True)
    # written before the schedulers, for a warm-up sets the groups' LRs to 0
    peaks = f'peaks = [{number(schedule.div_factor)} * group["lr"] for group in optimizer.param_groups]\n'
    return _Torch("OneCycleLR", arguments, first_lr, before=peaks)


_NATIVE: dict[type, Callable[[Any, int, bool, int], _Torch | None]] = {
    Constant: _constant,
    StepDecay: _step,
    Exponential: _exponential,
    Polynomial: _polynomial,
    Linear: _linear,
    Cosine: _cosine,
    SGDR: _sgdr,
    Triangular: _cyclical,
    Triangular2: _cyclical,
    ExpRange: _cyclical,
    OneCycle: _one_cycle,
}
