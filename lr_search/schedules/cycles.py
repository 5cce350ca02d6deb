"""How a training is cut into cycles: the papers' rules, or the user's numbers, and a note that says which.

Cycles are laid out so that the last ends with the training, because a cyclic schedule is judged at its cycles' ends.
There are at least 3 cycles, and 4 or more where they fit: 3 train most of the way, 4 or more are better
(Smith, 2017, arXiv:1506.01186, section 3.2). The count wins over the length of a cycle.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lr_search.errors import require

LENGTHEN = "Train for more steps, or in fewer cycles."
SHORTEN = "Train for more steps, or make the cycle shorter."
HALF_CYCLE_EPOCHS = (2, 10)  # Smith 2017, section 3.2
FIRST_CYCLE_EPOCHS = (1, 10)  # Loshchilov and Hutter 2017, table 1


def triangles(
    num_steps: int, steps_per_epoch: float | None, cycles: int | None, step_size: float | None
) -> tuple[float, str]:
    """Half a cycle's length in steps for the CLR policies, and why: 2 to 10 epochs of steps, if at least 3 cycles fit."""
    _require_one(cycles=cycles, step_size=step_size)
    if step_size is not None:
        require(step_size >= 1, "step_size must be at least 1 step (it is half a cycle)", step_size=step_size)
        fits = 2 * step_size <= num_steps
        require(fits, "one cycle, 2 * step_size, must fit", SHORTEN, step_size=step_size, num_steps=num_steps)
        epochs = _epochs("half a", step_size, HALF_CYCLE_EPOCHS, steps_per_epoch, asked=True)
        return step_size, f"step_size as asked for{_cut(num_steps, 2 * step_size)}{epochs}."
    count = cycles if cycles is not None else _count_of_triangles(num_steps, steps_per_epoch)
    require(
        num_steps >= 2 * count,
        f"a cyclic schedule needs at least {2 * count} steps (after the warm-up) for {_counted(count)}",
        LENGTHEN,
        num_steps=num_steps,
    )
    size = num_steps / (2 * count)
    epochs = _epochs("half a", size, HALF_CYCLE_EPOCHS, steps_per_epoch, asked=cycles is not None)
    return size, _count_note(count, cycles is not None) + epochs + "."


def _count_of_triangles(num_steps: int, steps_per_epoch: float | None) -> int:
    count = 4
    if steps_per_epoch is not None:
        if num_steps < 4 * 2 * 2 * steps_per_epoch:
            count = 3
        count = max(count, math.ceil(num_steps / (2 * 10 * steps_per_epoch)))
    return max(3, min(count, num_steps // 2))  # an epoch of less than a step asks for more cycles than fit


def restarts(
    num_steps: int, steps_per_epoch: float | None, T_mult: float, cycles: int | None, T_0: float | None
) -> tuple[float, str]:
    """T_0, the length of the first cycle, and why: 1 to 10 epochs, if at least 3 cycles fit."""
    require(1 <= T_mult < math.inf, "T_mult must be at least 1, and finite", T_mult=T_mult)
    _require_one(cycles=cycles, T_0=T_0)
    if T_0 is not None:
        require(T_0 >= 1, "T_0 must be at least 1 step", T_0=T_0)
        require(num_steps >= T_0, "the first cycle must fit", SHORTEN, T_0=T_0, num_steps=num_steps)
        epochs = _epochs("the first", T_0, FIRST_CYCLE_EPOCHS, steps_per_epoch, asked=True)
        return T_0, f"T_0 as asked for{_cut(num_steps, T_0, T_mult)}{epochs}."

    def needed(count: int) -> float:  # steps that so many cycles take, the first of them 1
        try:
            return float(count) if T_mult == 1 else (T_mult**count - 1) / (T_mult - 1)
        except OverflowError:
            return math.inf

    if cycles is not None:
        require(cycles <= num_steps, "cycles must be at most num_steps", LENGTHEN, cycles=cycles, num_steps=num_steps)
    count = cycles if cycles is not None else _count_of_restarts(num_steps, steps_per_epoch, needed)
    require(
        num_steps >= needed(count),
        f"sgdr needs at least {needed(count):.0f} steps (after the warm-up) for {_counted(count)}",
        LENGTHEN,
        num_steps=num_steps,
    )
    first = num_steps / needed(count)
    epochs = _epochs("the first", first, FIRST_CYCLE_EPOCHS, steps_per_epoch, asked=cycles is not None)
    return first, _count_note(count, cycles is not None) + epochs + "."


def _count_of_restarts(num_steps: int, steps_per_epoch: float | None, needed: Callable[[int], float]) -> int:
    fits = num_steps if steps_per_epoch is None else num_steps / steps_per_epoch
    count = 4 if fits >= needed(4) else 3
    while steps_per_epoch is not None and count < num_steps and num_steps / needed(count) > 10 * steps_per_epoch:
        count += 1
    while count > 3 and num_steps < needed(count):  # an epoch of less than a step asks for more cycles than fit
        count -= 1
    return count


def _require_one(**given: float | None) -> None:
    (first, first_value), (second, second_value) = given.items()
    rule = f"{first} and {second} must not both be given, for each gives the other"
    require(
        first_value is None or second_value is None,
        rule,
        **{name: value for name, value in given.items() if value is not None},
    )
    cycles = given["cycles"]
    require(cycles is None or cycles >= 1, "cycles must be at least 1, or None", cycles=cycles)


def _counted(cycles: int) -> str:
    return f"{cycles} cycle{'' if cycles == 1 else 's'}"


def _count_note(cycles: int, asked: bool) -> str:
    remark = "as asked for" if asked else "(at least 3, 4 where they fit)"
    return f"{_counted(cycles)} {remark}, the last ends with the training"


def _cut(num_steps: int, cycle: float, growth: float = 1.0) -> str:
    """What is to be said where a cycle is cut short by the training's end."""
    left = float(num_steps)
    while left > cycle - 1e-6:
        left, cycle = left - cycle, cycle * growth
    return f"; the training ends {left:.4g} steps into a cycle" if left > 1e-6 else ""


def _epochs(which: str, steps: float, usual: tuple[int, int], steps_per_epoch: float | None, asked: bool) -> str:
    if steps_per_epoch is None:
        return ""
    epochs, (least, most) = steps / steps_per_epoch, usual
    if asked or least <= epochs <= most:
        remark = f" (the papers: {least} to {most})"
    elif epochs < least:
        remark = f": below the papers' {least}, since at least 3 cycles come first"
    else:
        remark = f": above the papers' {most}, since no more cycles fit"
    return f"; {which} cycle is {epochs:.2g} epochs{remark}"
