"""Which pruner suits a schedule, and why: what `compare(pruner="auto")` chooses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from optuna.pruners import BasePruner, PercentilePruner

from lr_search.schedules.base import Schedule
from lr_search.training.controller import Controller

ScheduleKind = Literal["constant", "annealed", "cyclic"]


@dataclass(frozen=True)
class Rule:
    """When a trial is cut under one kind of schedule.

    Args:
        keep: percent: a trial goes on while its best value so far is among the best of this share of the complete trials, (0, 100).
        startup_trials: complete trials before any is cut, >= 1.
        warmup_share: share of the training before any is cut, in [0, 1).
        why: in words.
    """

    keep: float
    startup_trials: int
    warmup_share: float
    why: str


PRUNING_RULES: dict[ScheduleKind, Rule] = {
    # a held LR is judged early: what is behind stays behind, but for the LRs whose first steps are the roughest
    "constant": Rule(33.0, 2, 0.2, "the LR is held, so that early values rank much as the last do"),
    # until it falls, a high LR looks worse than it ends
    "annealed": Rule(50.0, 2, 0.4, "a high LR looks worse than it will end until the schedule has come down"),
    # two or three cycle ends lie before the last, and at each the LR is down, as it is at the end
    "cyclic": Rule(
        50.0, 2, 0.0, "at a cycle's end the LR is as low as it ends, so that values rank much as the last do"
    ),
}


def auto_pruner(shape: Schedule | Controller, steps: Sequence[int], num_steps: int) -> tuple[BasePruner | None, str]:
    """The pruner for trainings under a schedule, and why; None where no pruner is better than one.

    Args:
        shape: the schedule, at any peak LR, or its controller.
        steps: at which trials report, in rising order: neither 0 nor the last.
        num_steps: steps in a training.

    >>> from lr_search.schedules import Constant
    >>> pruner, why = auto_pruner(Constant(0.1), range(30, 300, 30), 300)
    >>> type(pruner).__name__, why[:57]
    ('PercentilePruner', 'from step 60 on, cuts what is behind the best 33% of the ')
    """
    if isinstance(shape, Controller):
        return None, "none, for a controller changes each trial's LR on the way: early values do not tell how it ends"
    rule = PRUNING_RULES[schedule_kind(shape, num_steps)]
    left = [step for step in steps if step >= rule.warmup_share * num_steps]
    if not left:
        return None, f"none, for there is no evaluation between {_from(rule, num_steps)} and the end"
    pruner = PercentilePruner(rule.keep, n_startup_trials=rule.startup_trials, n_warmup_steps=left[0])
    share = "the median" if rule.keep == 50 else f"the best {rule.keep:g}%"
    return pruner, (
        f"from step {left[0]} on, cuts what is behind {share} of the complete trials, once there are "
        f"{rule.startup_trials}: {rule.why}"
    )


def schedule_kind(schedule: Schedule, num_steps: int) -> ScheduleKind:
    """Whether it has several cycles in a training, holds its LR, or changes it otherwise."""
    if any(end < num_steps for end in schedule.cycle_ends(num_steps)):
        return "cyclic"
    lrs = schedule(np.arange(num_steps))
    return "constant" if np.ptp(lrs) == 0 else "annealed"


def _from(rule: Rule, num_steps: int) -> str:
    return f"step {math.ceil(rule.warmup_share * num_steps)}"
