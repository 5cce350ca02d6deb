"""A suggestion: one learning rate read off a curve by a rule, with a status, a reason and how far it may be off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lr_search import plugins
from lr_search.curves.calibrated import calibrated, is_doubtful, rule_kind, uncertainty
from lr_search.curves.curve import LRCurve
from lr_search.curves.gain_crossing import gain_crossing, stalled_lr
from lr_search.curves.phases import FLAT, has_descent
from lr_search.curves.remarks import bounds_remark, groups_remark, plan_remark
from lr_search.curves.rules import SIMPLE_RULES as SIMPLE_RULES
from lr_search.curves.smoothing import TINY
from lr_search.curves.training_plan import Plan
from lr_search.errors import UnknownNameError, unknown_name
from lr_search.kinds.checked import checked

Status = Literal["ok", "flat", "at_edge", "noisy", "diverged_at_start"]
RULES: dict[str, Callable[[LRCurve], float]] = {"calibrated": calibrated, **SIMPLE_RULES}
DEFAULT_RULE = "calibrated"

FEW_STEPS = 10  # a ramp that blew up before them tells little else; twice as many are few,
EARLY_DECADES = 1.6  # where they span no more of the LR than 20 steps of the usual ramp of 100
NOISY_DECADES = 0.5  # spread between seeds from which on one number says little
PEERS_LOG10_STD = 0.9  # of the other rules: the least that was measured for any of them
WIDER: dict[Status, float] = {"ok": 1.0, "noisy": 1.0, "flat": 1.0, "at_edge": 1.3, "diverged_at_start": 2.0}


@checked
@dataclass(frozen=True)
class Suggestion:
    """One learning rate, and how far to trust it.

    Args:
        lr: the LR; with several parameter groups, the first group's.
        rule: the name of the rule that read it.
        status: "ok"; "flat": no descent stands out of the noise; "at_edge": the ramp ended before it blew up, or began too
            high; "noisy": the seeds disagree; "diverged_at_start": the loss blew up in the first steps.
        reason: why, in words, and what to do.
        log10_std: how far the best LR may lie from it, in decades (one standard deviation).
        group_lrs: the LR of each parameter group, in the optimizer's order; just `lr` where there is one, or where the groups are not known.
        plan: the training it is for.
    """

    lr: float
    rule: str
    status: Status
    reason: str
    log10_std: float
    group_lrs: tuple[float, ...] = ()
    plan: Plan = field(default_factory=Plan)

    def _repr_html_(self) -> str:
        from lr_search.report.notebook import suggestion_html

        return suggestion_html(self)


@checked
def suggest(
    curve: LRCurve, rule: str | None = None, *, schedule: str | None = None, num_steps: int | None = None
) -> Suggestion:
    """Read one LR off the curve by the rule of that name, with a status and a reason.

    By the default rule it is the LR of least expected regret for a training of so many steps under that schedule. The other rules
    know of no training. Of pooled curves it is the geometric mean of what the rule reads off each member.

    Args:
        curve: a range test's record.
        rule: a name in `RULES`; default: `DEFAULT_RULE`.
        schedule: the name of the schedule to train under, whose peak the LR is; default: the curve's plan, or one that decays.
        num_steps: of the training, >= 1; default: the curve's plan, or 1,000.

    Raises:
        UnknownNameError: no rule, or no schedule, has that name.
        InvalidInputError: num_steps is below 1.

    >>> lr = np.logspace(-5, 1, 100)
    >>> loss = 2 - 1.5 / (1 + (0.01 / lr) ** 2) + (lr / 2) ** 3
    >>> suggestion = suggest(LRCurve.from_arrays(lr, loss), "steepest")
    >>> 0.007 < suggestion.lr < 0.014, suggestion.status  # the slope of 1 / (1 + (a / lr)^2) is largest at a
    (True, 'ok')
    """
    name = rule if rule is not None else DEFAULT_RULE
    if name not in RULES:
        error = unknown_name("rule", name, RULES)
        if name in plugins.registered(plugins.SCHEDULES):
            raise UnknownNameError(f"{error} It is a schedule: suggest(schedule={name!r}).")
        raise error
    curve = curve.planned(schedule, num_steps)
    members = curve.members or (curve,)
    lrs = [RULES[name](member) for member in members]
    log10_lrs = np.log10(np.maximum(lrs, TINY))  # a ramp of one step at an LR of 0 has nothing better
    spread = float(log10_lrs.std(ddof=1)) if len(log10_lrs) > 1 else 0.0
    status, reason = judge(curve, spread)
    lr = curve.first_lr / 10 if status == "diverged_at_start" else float(10 ** log10_lrs.mean())
    std = float(np.mean([uncertainty(member) for member in members])) if name == DEFAULT_RULE else PEERS_LOG10_STD
    plan = curve.plan or Plan()
    if status != "diverged_at_start":
        reason += plan_remark(plan, name == DEFAULT_RULE) + bounds_remark(curve, lr)
    group_lrs = tuple(lr * ratio for ratio in curve.group_ratios or (1.0,))
    log10_std = float(np.hypot(WIDER[status] * std, spread))
    return Suggestion(lr, name, status, reason + groups_remark(group_lrs), log10_std, group_lrs, plan)


@checked
def end_to_move(curve: LRCurve) -> Literal["start", "end"] | None:
    """The end of the ramp that should be moved: where it began too high, or ended before anything happened."""
    last, lowest = len(curve.lr) - 1, int(np.argmin(curve.smoothed))
    half = gain_crossing(curve, 0.5)
    early = half is not None and half <= curve.lr[last // 20]
    rise = float(curve.smoothed[last // 4] - curve.smoothed[0])
    if early or (lowest <= last // 20 and rise > FLAT * curve.smoothed_noise + 1e-9 * abs(curve.start)):
        return "start"
    if curve.stopped != "finished":
        return "start" if _blew_up_early(curve) else None
    if rule_kind(curve) == "gain":
        return "end" if half is None and stalled_lr(curve) is None else None
    return "end" if lowest >= 0.95 * last else None


def _blew_up_early(curve: LRCurve) -> bool:
    """Whether a ramp that was cut short had hardly begun: few steps, over little of the LR (on a linear ramp, very few)."""
    few = FEW_STEPS if curve.ramp == "linear" else 2 * FEW_STEPS
    return len(curve.lr) < few and curve.lr[-1] <= 10**EARLY_DECADES * curve.first_lr


@checked
def judge(curve: LRCurve, spread: float = 0.0) -> tuple[Status, str]:
    """How far a curve can be trusted, and why.

    Args:
        curve: a range test's record.
        spread: standard deviation of the suggestions of several seeds, in decades.
    """
    steps, half, side = len(curve.lr), gain_crossing(curve, 0.5), end_to_move(curve)
    if curve.stopped != "finished" and _blew_up_early(curve):
        return "diverged_at_start", f"The loss blew up after {steps} steps: lower start_lr below {curve.lr[0]:.3g}."
    if side == "start" and _first_ratio(curve) < 0:
        return "diverged_at_start", f"The very first steps raised the loss: lower start_lr below {curve.lr[0]:.3g}."
    if side == "start":
        return (
            "at_edge",
            f"The first steps were too large already: lower start_lr below {curve.lr[0]:.3g}, or extend=True.",
        )
    if not has_descent(curve):
        return "flat", _flat_reason(curve, half)
    if side == "end":
        return "at_edge", (
            f"The ramp ended before anything broke: raise end_lr above {curve.lr[-1]:.3g}, or extend=True."
        )
    if spread > NOISY_DECADES:
        return "noisy", (
            f"The suggestions of {len(curve.members)} seeds scatter by {spread:.2g} decades: add seeds, or use a larger batch."
        )
    if is_doubtful(curve):
        return "noisy", (
            "Where curves looked like this one, the LR they pointed to has often lost much: "
            "train at a few LRs around it, or add seeds."
        )
    lowest = float(curve.lr[int(np.argmin(curve.smoothed))])
    ended = {"finished": "rose again", "diverged": "blew up", "non_finite": "became non-finite"}[curve.stopped]
    fell = f"The loss fell by {curve.descent:.3g} (its noise from batch to batch is {curve.noise:.2g})"
    if (stalled := stalled_lr(curve)) is not None:
        return "ok", f"{fell}, and the optimizer takes no larger steps beyond {stalled:.2g}."
    measured = "" if half is None else f" Steps fell to half their promise at {half:.2g}."
    return "ok", f"{fell}, was lowest at {lowest:.2g} and {ended} by {curve.lr[-1]:.2g}.{measured}"


def _first_ratio(curve: LRCurve) -> float:
    """The gain ratio of the first steps; below 0 they are beyond the edge of stability. 1 where it was not measured."""
    ratio = curve.smoothed_gain_ratio
    known = np.empty(0) if ratio is None else ratio[np.isfinite(ratio)]
    return float(known[0]) if len(known) else 1.0


def _flat_reason(curve: LRCurve, half: float | None) -> str:
    """Why no descent is seen, and what the gain ratio or the end of the ramp says nevertheless."""
    seen = (
        f"The loss fell by {curve.descent:.3g} only, and its noise from batch to batch is {curve.noise:.3g}: "
        "no descent stands out."
    )
    if half is not None:
        return f"{seen} The gain ratio tells all the same that steps fall to half their promise at {half:.2g}."
    if curve.stopped != "finished":
        return (
            f"{seen} What is known is that the loss blew up at {curve.lr[-1]:.2g}: use more steps, or a larger batch."
        )
    return f"{seen} Nothing blew up either: use a larger batch, more steps, or a higher end_lr."
