"""Source text: what a schedule needs to write itself as plain Python, or as a call of one of torch's schedulers. Text only, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lr_search.kinds.checked import checked


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
    """A number of steps as source code.

    >>> steps_text(30.0), steps_text(33.5)
    ('30', '33.5')
    """
    return number(value) if whole(value) is None else str(whole(value))


def share_done(total_steps: float, num_steps: int) -> str:
    """The share of `total_steps` that is done at `step`; it stays at 1 where the schedule is followed for more `num_steps`.

    >>> share_done(100, num_steps=100), share_done(100, num_steps=300)
    ('step / 100', 'min(1.0, step / 100)')
    """
    share = f"step / {steps_text(total_steps)}"
    return share if num_steps <= total_steps + 1 else f"min(1.0, {share})"


def line(start: float, rise: float, share: str) -> str:
    """The source of start + rise * share, as short as it can be said.

    >>> line(0, 1, "share"), line(1, -0.9, "share")
    ('share', '1.0 - 0.9 * share')
    """
    size = "" if abs(rise) == 1 else f"{number(abs(rise))} * "
    if start == 0 and rise > 0:
        return f"{size}{share}"
    return f"{number(start)} {'-' if rise < 0 else '+'} {size}{share}"


@checked
@dataclass(frozen=True)
class TorchCall:
    """A schedule as a call of one of torch's own schedulers.

    Args:
        kind: the class's name in torch.optim.lr_scheduler.
        arguments: those after the optimizer, as source code; `math` may be used in them.
        first_lr: the lr of the optimizer that it is called with.
        one_group_only: whether parameter groups of different LRs would lose their ratio under it.
        moves_momentum: whether it moves the momentum too, as the schedule does.
        before: lines that must come before any scheduler is made, each with its line end.
    """

    kind: str
    arguments: Sequence[str]
    first_lr: float
    one_group_only: bool = False
    moves_momentum: bool = False
    before: str = ""
