"""A schedule as the source of a plain Python function `factor(step)`: what torch's LambdaLR takes where torch has no such schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from lr_search.schedules.base import Schedule
from lr_search.schedules.compose import Joined
from lr_search.schedules.constant import Constant
from lr_search.schedules.cosine import Cosine
from lr_search.schedules.decay import Exponential, InverseSqrt, Linear, Polynomial, StepDecay
from lr_search.schedules.one_cycle import OneCycle
from lr_search.schedules.sgdr import ROUNDING, SGDR
from lr_search.schedules.triangular import ExpRange, Triangular, Triangular2
from lr_search.schedules.wsd import WSD

Part = tuple[Schedule, int]  # a schedule and how many steps it lasts


def number(value: float) -> str:
    """A float as source code, without the last digits that rounding alone put there.

    >>> number(0.1 / 25), number(1 / 3)
    ('0.004', '0.3333333333333333')
    """
    short = float(f"{value:.12g}")
    return repr(short if math.isclose(short, value, rel_tol=1e-15) else float(value))


def whole(value: float) -> int | None:
    """The whole number that a number of steps is, but for rounding; None where it is none."""
    return round(value) if math.isclose(value, round(value), rel_tol=1e-12) else None


def steps_text(value: float) -> str:
    """A number of steps as source code: 30, or 33.5."""
    return number(value) if whole(value) is None else str(whole(value))


def parts_of(schedule: Schedule, num_steps: int) -> list[Part]:
    """What a schedule is joined of, in turn, up to `num_steps`; a schedule that is not joined is its own one part."""
    if type(schedule) is not Joined:
        return [(schedule, num_steps)]
    edges = [0, *(int(boundary) for boundary in schedule.boundaries if boundary < num_steps), num_steps]
    inner = zip(schedule.schedules, pairwise(edges), strict=False)  # those that begin in time
    found = [part for each, (start, stop) in inner for part in parts_of(each, stop - start)]
    merged = found[:1]
    for part in found[1:]:
        if _goes_on(merged[-1], part[0]):
            merged[-1] = (merged[-1][0], merged[-1][1] + part[1])
        else:
            merged.append(part)
    return merged


def _goes_on(before: Part, then: Schedule) -> bool:
    """Whether a line has come to where a constant goes on: the line stays there by itself."""
    line, length = before
    if type(line) is not Linear or type(then) is not Constant or length < line.num_steps:
        return False
    return math.isclose(line.end_lr, then.lr, rel_tol=1e-12)


def peak_of(schedule: Schedule) -> float:
    """The LR that one of our schedules is laid out from: its upper bound or first LR."""
    if isinstance(schedule, Linear):
        return max(schedule.lr, schedule.end_lr)
    known: Any = schedule
    return float(known.max_lr if hasattr(schedule, "max_lr") else known.lr)


def can_write(parts: list[Part]) -> bool:
    """Whether every part is one of our schedules, and not a user's own."""
    return all(type(schedule) in _BODIES for schedule, _ in parts)


def factor_code(parts: list[Part], first_lr: float) -> str:
    """`def factor(step)`: the LR at each step over `first_lr`, for parts that `can_write` takes."""
    lines = ["def factor(step):  # the LR at each step, over the optimizer's"]
    for i, (schedule, length) in enumerate(parts):
        written = _BODIES[type(schedule)](schedule, first_lr, length)
        if i < len(parts) - 1:
            lines += [f"    if step < {length}:", *(f"        {line}" for line in written), f"    step -= {length}"]
        else:
            lines += [f"    {line}" for line in written]
    return "\n".join(lines)


def share_done(num_steps: float, length: int) -> str:
    """The share of `num_steps` that is done, as source; it stays at 1 where the part lasts longer."""
    share = f"step / {steps_text(num_steps)}"
    return share if length <= num_steps + 1 else f"min(1.0, {share})"


def _line(start: float, rise: float, share: str) -> str:
    """The source of start + rise * share, as short as it can be said."""
    size = "" if abs(rise) == 1 else f"{number(abs(rise))} * "
    if start == 0 and rise > 0:
        return f"{size}{share}"
    return f"{number(start)} {'-' if rise < 0 else '+'} {size}{share}"


def _constant(schedule: Constant, lr: float, length: int) -> list[str]:
    return [f"return {number(schedule.lr / lr)}"]


def _step(schedule: StepDecay, lr: float, length: int) -> list[str]:
    drops = f"int(step / {steps_text(schedule.step_size)} + 1e-9)"
    return [f"return {_line(0, schedule.lr / lr, f'{number(schedule.gamma)} ** {drops}')}"]


def _exponential(schedule: Exponential, lr: float, length: int) -> list[str]:
    return [f"return {_line(0, schedule.lr / lr, f'{number(schedule.gamma)}**step')}"]


def _polynomial(schedule: Polynomial, lr: float, length: int) -> list[str]:
    left = f"(1 - {share_done(schedule.num_steps, length)}) ** {number(schedule.power)}"
    return [f"return {_line(schedule.end_lr / lr, (schedule.lr - schedule.end_lr) / lr, left)}"]


def _linear(schedule: Linear, lr: float, length: int) -> list[str]:
    done = share_done(schedule.num_steps, length)
    return [f"return {_line(schedule.lr / lr, (schedule.end_lr - schedule.lr) / lr, done)}"]


def _cosine(schedule: Cosine, lr: float, length: int) -> list[str]:
    left = f"(1 + math.cos(math.pi * {share_done(schedule.num_steps, length)})) / 2"
    return [f"return {_line(schedule.end_lr / lr, (schedule.lr - schedule.end_lr) / lr, left)}"]


def _inverse_sqrt(schedule: InverseSqrt, lr: float, length: int) -> list[str]:
    scale = steps_text(schedule.timescale)
    return [f"return {_line(0, schedule.lr / lr, f'({scale} / (step + {scale})) ** 0.5')}"]


def _wsd(schedule: WSD, lr: float, length: int) -> list[str]:
    begin, decay = steps_text(schedule.num_steps - schedule.decay_steps), steps_text(schedule.decay_steps)
    fallen = "done**0.5" if schedule.decay == "1-sqrt" else "done"
    return [
        f"done = min(1.0, max(0.0, (step - {begin}) / {decay}))  # share of the decay",
        f"return {_line(schedule.lr / lr, (schedule.end_lr - schedule.lr) / lr, fallen)}",
    ]


def _cyclical(schedule: Triangular | Triangular2 | ExpRange, lr: float, length: int) -> list[str]:
    base, rise = schedule.base_lr / lr, (schedule.max_lr - schedule.base_lr) / lr
    value = _line(base, rise, "up")
    if type(schedule) is Triangular2:
        value += " / 2**cycle"
    elif type(schedule) is ExpRange:
        value = f"({value})" if schedule.decay == "bounds" else value
        value += f" * {number(schedule.gamma)}**step"
    cycle = steps_text(2 * schedule.step_size)
    return [
        f"cycle, into = divmod(step, {cycle})" if type(schedule) is Triangular2 else f"into = step % {cycle}",
        f"up = 1 - abs(into / {steps_text(schedule.step_size)} - 1)  # 0 at a cycle's ends, 1 in its middle",
        f"return {value}",
    ]


def _sgdr(schedule: SGDR, lr: float, length: int) -> list[str]:
    first, remark = steps_text(schedule.T_0), "# rounding may have put a restart just beyond its step"
    if schedule.T_mult == 1:
        lines = [
            f"length = {first}",
            f"cycle = int((step + {ROUNDING}) / length)  {remark}",
            "share = max(0, step - cycle * length) / length",
        ]
    else:
        lines = [
            f"cycle, start, length = 0, 0, {first}",
            f"while step >= start + length - {ROUNDING}:  {remark}",
            f"    cycle, start, length = cycle + 1, start + length, length * {steps_text(schedule.T_mult)}",
            "share = max(0, step - start) / length",
        ]
    low, high = (
        number(bound / lr) + (f" * {number(decay)}**cycle" if decay < 1 and bound else "")
        for bound, decay in ((schedule.base_lr, schedule.base_decay), (schedule.max_lr, schedule.decay))
    )
    return [
        *lines,
        f"low = {low}",
        f"high = {f'max(low, {high})' if schedule.decay < 1 else high}",
        "return low + (high - low) * (1 + math.cos(math.pi * share)) / 2",
    ]


def _one_cycle(schedule: OneCycle, lr: float, length: int) -> list[str]:
    top, rise = schedule.max_lr / lr, schedule.pct_start * schedule.num_steps - 1
    low = top / schedule.div_factor
    last = low / schedule.final_div_factor
    marks = [
        (0.0, low),
        (rise, top),
        *([(2 * rise, low)] if schedule.three_phase else []),
        (schedule.num_steps - 1, last),
    ]
    phases = [f"({steps_text(a)}, {steps_text(b)}, {number(x)}, {number(y)})" for (a, x), (b, y) in pairwise(marks)]
    share = "share" if schedule.anneal == "linear" else "(1 - math.cos(math.pi * share)) / 2"
    return [
        f"for begin, end, low, high in [{', '.join(phases)}]:  # from step to step, from factor to factor",
        "    if step <= end:",
        "        share = (step - begin) / (end - begin)",
        f"        return low + (high - low) * {share}",
        f"return {number(last)}",
    ]


_BODIES: dict[type, Callable[[Any, float, int], list[str]]] = {
    Constant: _constant,
    StepDecay: _step,
    Exponential: _exponential,
    Polynomial: _polynomial,
    Linear: _linear,
    Cosine: _cosine,
    InverseSqrt: _inverse_sqrt,
    WSD: _wsd,
    Triangular: _cyclical,
    Triangular2: _cyclical,
    ExpRange: _cyclical,
    SGDR: _sgdr,
    OneCycle: _one_cycle,
}
