"""Rules that read one learning rate off a curve. Each is a small function `LRCurve -> float`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lr_search.curve import LRCurve
from lr_search.errors import unknown_name

Status = Literal["ok", "flat", "at_edge", "diverged_at_start"]
# How far the best LR lies from a suggestion, in decades (root mean square). Over 26 small tasks it was 0.7 for what one
# ramp tells; where the ramp tells less, the prior is made wider.
FLAT = 4.5  # deviations of the smoothed loss that a descent must stand out by
LOG10_STD: dict[Status, float] = {"ok": 0.7, "at_edge": 0.9, "flat": 1.0, "diverged_at_start": 1.2}


@dataclass(frozen=True)
class Suggestion:
    """One learning rate, and how far to trust it.

    Args:
        lr: the LR.
        rule: the name of the rule that read it.
        status: "ok"; "flat": no descent stands out of the noise; "at_edge": the ramp began too high or ended before the
            loss rose again; "diverged_at_start": the loss blew up in the first steps.
        reason: why, in words, and what to do.
        log10_std: how far the best LR may lie from it, in decades (one standard deviation).
    """

    lr: float
    rule: str
    status: Status
    reason: str
    log10_std: float


def minimum(curve: LRCurve) -> float:
    """A tenth of the LR at the lowest smoothed loss (fastai's `minimum`)."""
    return float(curve.lr[np.argmin(curve.smoothed)]) / 10


def steepest(curve: LRCurve) -> float:
    """The LR at which the smoothed loss falls fastest per decade, before its minimum (torch-lr-finder, Ignite)."""
    falling = curve.slope[: int(np.argmin(curve.smoothed)) + 1]
    return float(curve.lr[np.argmin(falling)])


def valley(curve: LRCurve) -> float:
    """The middle third of the longest descent (fastai's `valley`, the longest decreasing subsequence of the loss)."""
    lengths = _descent_lengths(curve.smoothed)
    end = int(np.argmax(lengths))
    begin = max(0, end - int(lengths[end]))
    return float(curve.lr[begin + int((end - begin) / 3) + int((end - begin) / 6)])


RULES: dict[str, Callable[[LRCurve], float]] = {"minimum": minimum, "steepest": steepest, "valley": valley}
DEFAULT_RULE = "minimum"


def suggest(curve: LRCurve, rule: str | None = None) -> Suggestion:
    """Read one LR off the curve by the rule of that name, with a status and a reason.

    Args:
        curve: a range test's record.
        rule: a name in `RULES`; default: `DEFAULT_RULE`.

    Raises:
        UnknownNameError: no rule has that name.

    >>> lr = np.logspace(-5, 1, 100)
    >>> loss = 2 - 1.5 / (1 + (0.01 / lr) ** 2) + (lr / 2) ** 3
    >>> suggestion = suggest(LRCurve.from_arrays(lr, loss), "steepest")
    >>> 0.007 < suggestion.lr < 0.014, suggestion.status  # the slope of 1 / (1 + (a / lr)^2) is largest at a
    (True, 'ok')
    """
    name = rule if rule is not None else DEFAULT_RULE
    if name not in RULES:
        raise unknown_name("rule", name, RULES)
    status, reason = judge(curve)
    lr = RULES[name](curve)
    if status == "flat" and curve.stopped != "finished":
        lr, reason = float(curve.lr[-1]) / 30, f"{reason} A thirtieth of the LR at which the loss blew up is suggested."
    elif status == "diverged_at_start":
        lr = curve.first_lr / 10
    elif lr == 0:  # a linear ramp from 0 that was best at its start
        lr = curve.first_lr
    return Suggestion(lr, name, status, reason, LOG10_STD[status])


def judge(curve: LRCurve) -> tuple[Status, str]:
    """How far a curve can be trusted, and why."""
    steps = len(curve.lr)
    if curve.stopped != "finished" and steps < 10:
        return "diverged_at_start", f"The loss blew up after {steps} steps: lower start_lr below {curve.lr[0]:.3g}."
    lowest = int(np.argmin(curve.smoothed))
    # the lowest of the many smoothed losses lies some 2 to 3 deviations low by chance alone
    if curve.descent <= FLAT * curve.smoothed_noise + 1e-9 * abs(curve.start):
        return "flat", (
            f"The loss fell by {curve.descent:.3g} only, and its noise from batch to batch is {curve.noise:.3g}: "
            "no descent stands out. Use a larger batch or more steps."
        )
    if curve.stopped == "finished" and lowest >= 0.95 * (steps - 1):
        return "at_edge", f"The loss was still falling at the end of the ramp: raise end_lr above {curve.lr[-1]:.3g}."
    if lowest <= 0.05 * (steps - 1):
        return "at_edge", f"The loss was lowest at the start of the ramp: lower start_lr below {curve.lr[0]:.3g}."
    ended = {"finished": "rose again", "diverged": "blew up", "non_finite": "became non-finite"}[curve.stopped]
    return "ok", (
        f"The loss fell by {curve.descent:.3g} (its noise from batch to batch is {curve.noise:.2g}), "
        f"was lowest at {curve.lr[lowest]:.2g} and {ended} by {curve.lr[-1]:.2g}."
    )


def _descent_lengths(loss: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(n,) the length of the longest decreasing subsequence that ends at each step, by patience sorting."""
    tails: list[float] = []
    lengths = np.empty(len(loss), dtype=np.int64)
    for step, value in enumerate((-loss).tolist()):
        place = bisect_left(tails, value)
        tails[place : place + 1] = [value]
        lengths[step] = place + 1
    return lengths
