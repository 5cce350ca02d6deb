"""The cyclic schedules laid out for a training, with `lr` as their peak. Every rule is an option."""

from __future__ import annotations

import math
from typing import Literal

from lr_search.errors import require
from lr_search.schedules.cycles import restarts, triangles
from lr_search.schedules.one_cycle import OneCycle
from lr_search.schedules.search_shape import Range, searchable
from lr_search.schedules.sgdr import SGDR
from lr_search.schedules.triangular import ExpRange, Triangular, Triangular2

BASE_RATIO = 1 / 4  # base_lr = max_lr / 3 or / 4 (Smith 2017, section 3.3)
FINAL_RATIO = 1 / 10  # exp_range: what its decay leaves at the end of the training
T_MULT = 2  # SGDR's own choice for its anytime results (section 4.1)

CYCLES = Range(3, 8, whole=True)
CLR_BASE = Range(1 / 20, 1 / 2, log=True)


@searchable(cycles=CYCLES, base_ratio=CLR_BASE)
def triangular(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    base_ratio: float = BASE_RATIO,
    cycles: int | None = None,
    step_size: float | None = None,
) -> Triangular:
    """Smith's triangular policy from lr/4 to lr (arXiv:1506.01186).

    Args:
        lr: the peak.
        num_steps: steps in the training.
        steps_per_epoch: steps in one pass over the data.
        base_ratio: base_lr / lr, in (0, 1).
        cycles: how many; default: at least 3, 4 where half a cycle is then 2 epochs, more where it would be above 10.
        step_size: steps in half a cycle, in place of `cycles`.
    """
    size, note = triangles(num_steps, steps_per_epoch, cycles, step_size)
    return Triangular(lr * _ratio(base_ratio), lr, size, note=_base(base_ratio) + note)


@searchable(cycles=CYCLES, base_ratio=CLR_BASE)
def triangular2(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    base_ratio: float = BASE_RATIO,
    cycles: int | None = None,
    step_size: float | None = None,
) -> Triangular2:
    """Smith's triangular2 policy: the triangle's height halves each cycle (arXiv:1506.01186).

    Options as of `triangular`.
    """
    size, note = triangles(num_steps, steps_per_epoch, cycles, step_size)
    return Triangular2(lr * _ratio(base_ratio), lr, size, note=_base(base_ratio) + note)


@searchable(cycles=CYCLES, base_ratio=CLR_BASE, final_ratio=Range(0.01, 1.0, log=True))
def exp_range(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    base_ratio: float = BASE_RATIO,
    cycles: int | None = None,
    step_size: float | None = None,
    final_ratio: float | None = None,
    gamma: float | None = None,
    decay: Literal["amplitude", "bounds"] = "amplitude",
) -> ExpRange:
    """Smith's exp_range policy: the triangle's height decays to a tenth by the end (arXiv:1506.01186).

    Args:
        lr: the peak.
        num_steps: steps in the training.
        steps_per_epoch: steps in one pass over the data.
        base_ratio: base_lr / lr, in (0, 1).
        cycles: how many; default: as of `triangular`.
        step_size: steps in half a cycle, in place of `cycles`.
        final_ratio: what the decay leaves at the end of the training, in (0, 1]: gamma^num_steps; default: a tenth.
        gamma: the decay a step, in place of `final_ratio`.
        decay: what decays: "amplitude" (torch's CyclicLR) or "bounds" (the paper).
    """
    size, note = triangles(num_steps, steps_per_epoch, cycles, step_size)
    gamma = _gamma(num_steps, final_ratio, gamma)
    base_lr = lr * _ratio(base_ratio)
    max_lr = (_upper_bound if decay == "bounds" else _first_height)(lr, base_lr, -size * math.log(gamma))
    what = "both bounds" if decay == "bounds" else "its height"
    note = f"{_base(base_ratio)}{gamma**num_steps:.3g} of {what} is left at the end. {note}"
    return ExpRange(base_lr, max_lr, size, gamma=gamma, decay=decay, note=note)


def _gamma(num_steps: int, final_ratio: float | None, gamma: float | None) -> float:
    one = final_ratio is None or gamma is None
    require(
        one,
        "final_ratio and gamma must not both be given, for each gives the other",
        final_ratio=final_ratio,
        gamma=gamma,
    )
    if gamma is None:
        final_ratio = FINAL_RATIO if final_ratio is None else final_ratio
        require(0 < final_ratio <= 1, "final_ratio must be above 0 and at most 1", final_ratio=final_ratio)
        gamma = final_ratio ** (1 / num_steps)
    require(0 < gamma <= 1, "gamma must be above 0 and at most 1", gamma=gamma)
    return gamma


# The decay has begun when the first cycle is at its middle, so the upper bound is raised until the LR peaks at lr. The peak is
# in the middle, or before it where the decay outruns the rise; `fall` is the decay up to the middle, -log(gamma^step_size).


def _first_height(lr: float, base_lr: float, fall: float) -> float:
    """max_lr where the height decays. The rise x * exp(-fall * x), 0 <= x <= 1, is highest at x = 1 / fall."""
    x = 1.0 if fall <= 1 else 1 / fall
    return base_lr + (lr - base_lr) / (x * math.exp(-fall * x))


def _upper_bound(lr: float, base_lr: float, fall: float) -> float:
    """max_lr where both bounds decay: (base_lr + (max_lr - base_lr) * x) * exp(-fall * x) is highest at x = (1 - u) / fall.

    There u = fall * base_lr / (max_lr - base_lr), and the height is lr where exp(u - 1) / u = lr / base_lr.
    """
    if fall <= 1 - base_lr / lr * math.exp(-fall):
        return lr * math.exp(fall)
    u = base_lr / lr / math.e
    for _ in range(50):  # Newton's method; the function is convex and u starts below its root
        u += (u - math.log(u) - 1 - math.log(lr / base_lr)) * u / (1 - u)
    return base_lr * (1 + fall / u)


@searchable(cycles=Range(3, 6, whole=True), T_mult=Range(1.0, 2.0), base_ratio=Range(0.001, 0.3, log=True))
def sgdr(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    T_mult: float = T_MULT,
    cycles: int | None = None,
    T_0: float | None = None,
    base_ratio: float = 0.0,
    decay: float = 1.0,
    base_decay: float = 1.0,
) -> SGDR:
    """Cosine annealing to 0 with warm restarts, each cycle twice the last (arXiv:1608.03983).

    Args:
        lr: the peak.
        num_steps: steps in the training.
        steps_per_epoch: steps in one pass over the data.
        T_mult: how much longer each cycle is than the one before, >= 1.
        cycles: how many; default: at least 3, 4 where the first is then an epoch, more where it would be above 10 epochs.
        T_0: steps in the first cycle, in place of `cycles`.
        base_ratio: the floor / lr, in [0, 1).
        decay: the peak's factor at each restart.
        base_decay: the floor's.
    """
    first, note = restarts(num_steps, steps_per_epoch, T_mult, cycles, T_0)
    require(0 <= base_ratio < 1, "base_ratio must be at least 0 and below 1", base_ratio=base_ratio)
    return SGDR(lr * base_ratio, lr, T_0=first, T_mult=T_mult, decay=decay, base_decay=base_decay, note=note)


@searchable(pct_start=Range(0.1, 0.5), div_factor=Range(5.0, 50.0, log=True))
def one_cycle(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    anneal: Literal["cos", "linear"] = "cos",
    three_phase: bool = False,
    base_momentum: float | None = 0.85,
    max_momentum: float = 0.95,
) -> OneCycle:
    """Up to lr and far down again, once, the momentum the other way (arXiv:1708.07120).

    Options as of torch's OneCycleLR.
    """
    return OneCycle(
        lr, num_steps, pct_start, div_factor, final_div_factor, anneal, three_phase, base_momentum, max_momentum,
        note="One cycle, as long as the training.",
    )  # fmt: skip


def _ratio(base_ratio: float) -> float:
    require(0 < base_ratio < 1, "base_ratio must lie between 0 and 1", base_ratio=base_ratio)
    return base_ratio


def _base(base_ratio: float) -> str:
    why = " (Smith: 1/3 or 1/4)" if base_ratio == BASE_RATIO else " as asked for"
    return f"base_lr is {base_ratio:.3g} of the peak{why}. "
