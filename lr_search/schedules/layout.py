"""Schedules by name: given the peak LR and the length of the training, laid out by the papers' rules.

Cycles are laid out so that the last ends with the training, because a cyclic schedule is judged at its cycles' ends.
There are at least 3 cycles, and 4 or more where they fit: 3 train most of the way, 4 or more are better
(Smith, 2017, arXiv:1506.01186, section 3.2). The count wins over the length of a cycle.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lr_search.errors import require
from lr_search.schedules.base import Schedule
from lr_search.schedules.constant import Constant
from lr_search.schedules.triangular import ExpRange, Triangular, Triangular2
from lr_search.schedules.warm_restarts import SGDR

BASE_SHARE = 1 / 4  # base_lr = max_lr / 3 or / 4 (Smith 2017, section 3.3)
FINAL_SHARE = 1 / 10  # exp_range: what its decay leaves at the end of the training
T_MULT = 2  # SGDR's own choice for its anytime results (section 4.1)

Layout = Callable[[float, int, "float | None"], Schedule]


def by_name(name: str, lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Schedule:
    """The schedule of that name for a training of `num_steps` steps, with `lr` as its peak.

    Args:
        name: constant, triangular, triangular2, exp_range, sgdr, or one that a plug-in registered.
        lr: the peak LR, > 0.
        num_steps: steps in the training, >= 1.
        steps_per_epoch: steps in one pass over the data, > 0; None where the data has no end.

    Raises:
        UnknownNameError: no schedule has that name; the message has the nearest.
        InvalidInputError: the training is too short for the schedule's cycles.

    >>> by_name("triangular2", lr=0.1, num_steps=3000, steps_per_epoch=100).cycle_ends(3000)
    [750, 1500, 2250, 3000]
    """
    from lr_search import plugins

    _require_training(lr, num_steps, steps_per_epoch)
    layout: Layout = plugins.load(plugins.SCHEDULES, name)
    return layout(lr, num_steps, steps_per_epoch)


def constant(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Constant:
    """The LR held constant: the control."""
    return Constant(lr)


def triangular(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Triangular:
    """Smith's triangular policy from lr/4 to lr (arXiv:1506.01186)."""
    step_size, note = _triangles(num_steps, steps_per_epoch)
    return Triangular(lr * BASE_SHARE, lr, step_size, note=note)


def triangular2(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Triangular2:
    """Smith's triangular2 policy: the triangle's height halves each cycle (arXiv:1506.01186)."""
    step_size, note = _triangles(num_steps, steps_per_epoch)
    return Triangular2(lr * BASE_SHARE, lr, step_size, note=note)


def exp_range(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> ExpRange:
    """Smith's exp_range policy: the triangle's height decays to a tenth by the end (arXiv:1506.01186)."""
    step_size, note = _triangles(num_steps, steps_per_epoch)
    gamma, base_lr = FINAL_SHARE ** (1 / num_steps), lr * BASE_SHARE
    # the decay has begun when the first cycle is at its middle: the bound is raised so that the LR peaks at lr there
    max_lr = base_lr + (lr - base_lr) / gamma**step_size
    return ExpRange(base_lr, max_lr, step_size, gamma=gamma, note=note)


def sgdr(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> SGDR:
    """Cosine annealing to 0 with warm restarts, each cycle twice the last (arXiv:1608.03983)."""
    # n doubling cycles take T_0 * (2^n - 1) steps; T_0 between 1 and 10 epochs, as in the paper's table 1
    fits = num_steps if steps_per_epoch is None else num_steps / steps_per_epoch
    cycles = 4 if fits >= 2**4 - 1 else 3
    while steps_per_epoch is not None and num_steps / (2**cycles - 1) > 10 * steps_per_epoch:
        cycles += 1
    while cycles > 3 and num_steps < 2**cycles - 1:  # an epoch of less than a step asks for more cycles than fit
        cycles -= 1
    require(
        num_steps >= 2**cycles - 1,
        f"sgdr needs at least {2**cycles - 1} steps for {cycles} cycles",
        "Train for more steps, or build the schedule yourself.",
        num_steps=num_steps,
    )
    first = num_steps / (2**cycles - 1)
    return SGDR(0.0, lr, T_0=first, T_mult=T_MULT, note=_note(cycles, "the first", first, 1, steps_per_epoch))


def _triangles(num_steps: int, steps_per_epoch: float | None) -> tuple[float, str]:
    """Half a cycle's length in steps for the CLR policies, and why: 2 to 10 epochs of steps, if at least 3 cycles fit."""
    cycles = 4
    if steps_per_epoch is not None:
        if num_steps < 4 * 2 * 2 * steps_per_epoch:
            cycles = 3
        cycles = max(cycles, math.ceil(num_steps / (2 * 10 * steps_per_epoch)))
    cycles = max(3, min(cycles, num_steps // 2))  # an epoch of less than a step asks for more cycles than fit
    require(
        num_steps >= 2 * cycles,
        f"a cyclic schedule needs at least {2 * cycles} steps for {cycles} cycles",
        "Train for more steps, or build the schedule yourself.",
        num_steps=num_steps,
    )
    step_size = num_steps / (2 * cycles)
    return step_size, _note(cycles, "half a", step_size, 2, steps_per_epoch)


def _note(cycles: int, which: str, steps: float, least_epochs: int, steps_per_epoch: float | None) -> str:
    note = f"{cycles} cycles, the last ends with the training"
    if steps_per_epoch is None:
        return f"{note}."
    epochs = steps / steps_per_epoch
    short = f": below the papers' {least_epochs}, since at least 3 cycles come first" if epochs < least_epochs else ""
    return f"{note}; {which} cycle is {epochs:.2g} epochs{short}."


def _require_training(lr: float, num_steps: int, steps_per_epoch: float | None) -> None:
    require(lr > 0 and math.isfinite(lr), "lr must be positive and finite", lr=lr)
    require(num_steps >= 1, "num_steps must be at least 1", num_steps=num_steps)
    require(
        steps_per_epoch is None or steps_per_epoch > 0,
        "steps_per_epoch must be positive, or None",
        steps_per_epoch=steps_per_epoch,
    )
