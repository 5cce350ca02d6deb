"""How a range test is run: the ramp of its LRs, and what is measured beside the loss."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.curves.curve import LRCurve, Ramp
from lr_search.curves.training_plan import Plan
from lr_search.errors import require
from lr_search.kinds.checked import checked

if TYPE_CHECKING:
    from lr_search.workloads.subject import Subject

LEAST_RAMP_STEPS, MOST_RAMP_STEPS = 20, 10**6
USUAL_RAMP_STEPS = 100
USUAL_END_LR = 10.0
MOST_SHARE = 3  # a ramp takes at most one in so many of a training's steps, unless it is asked to


def ramp_steps(asked: int | None, training: int | None) -> int:
    """The steps of a ramp: as asked, or by the training's length.

    Args:
        asked: by the user.
        training: optimizer steps of the training that is to follow; None: not known.

    >>> ramp_steps(None, 3000), ramp_steps(None, 150), ramp_steps(None, 30), ramp_steps(200, 30)
    (100, 50, 20, 200)
    """
    if asked is not None:
        return asked
    return (
        USUAL_RAMP_STEPS if training is None else max(LEAST_RAMP_STEPS, min(USUAL_RAMP_STEPS, training // MOST_SHARE))
    )


def planned_for(workload: Subject, curve: LRCurve) -> LRCurve:
    """The curve of a workload's range test, with the training that is to follow."""
    plan = curve.plan or Plan()
    return replace(curve, plan=plan.but(num_steps=workload.num_steps, batch_size=workload.batch_size))


@checked
@dataclass(frozen=True)
class RampSettings:
    """The settings of a range test.

    Args:
        start_lr: LR at the first step; > 0, or 0 for a linear ramp.
        end_lr: LR at the last step, > start_lr; None: 10.
        num_steps: steps in the ramp, >= 20.
        ramp: "exponential" (even in log LR) or "linear".
        extend: go on beyond end_lr where nothing broke there, and begin again lower where start_lr was too high; None: the first
            where end_lr is left out, the ramp is exponential and the gain ratio tells so.
        gain_ratio: measure it at every step; None: where the loss comes out the same when evaluated again, and at few of the
            steps where it stays at 1.
        valid_batches: batches of a workload's validation data to evaluate before every step, >= 0.

    Raises:
        InvalidInputError: a setting breaks its rule.

    >>> settings = RampSettings(start_lr=0.0, end_lr=1.9, num_steps=20, ramp="linear")
    >>> settings.lrs()[[0, 10, 19]].round(6).tolist()
    [0.0, 1.0, 1.9]
    >>> settings.most_steps()  # 20, and 21 forward passes, each a third of a step
    27
    """

    start_lr: float = 1e-7
    end_lr: float | None = None
    num_steps: int = USUAL_RAMP_STEPS
    ramp: Ramp = "exponential"
    extend: bool | None = None
    gain_ratio: bool | None = None
    valid_batches: int = 0

    def __post_init__(self) -> None:
        if self.extend is not None or self.end_lr is not None or self.ramp == "linear":
            object.__setattr__(self, "extend", bool(self.extend))
        start_lr, end_lr, num_steps, ramp = self.start_lr, self.last_lr, self.num_steps, self.ramp
        require(ramp in ("exponential", "linear"), "ramp must be 'exponential' or 'linear'", ramp=ramp)
        least = "at least 0" if ramp == "linear" else "positive"
        require(start_lr > 0 or (ramp == "linear" and start_lr == 0), f"start_lr must be {least}", start_lr=start_lr)
        require(start_lr < end_lr < np.inf, "start_lr must be below end_lr", start_lr=start_lr, end_lr=end_lr)
        require(num_steps >= LEAST_RAMP_STEPS, f"num_steps must be at least {LEAST_RAMP_STEPS}", num_steps=num_steps)
        require(num_steps <= MOST_RAMP_STEPS, f"num_steps must be at most {MOST_RAMP_STEPS:,}", num_steps=num_steps)
        object.__setattr__(self, "num_steps", operator.index(num_steps))
        if self.gain_ratio is not None:  # NumPy's False is not False
            object.__setattr__(self, "gain_ratio", bool(self.gain_ratio))
        require(self.valid_batches >= 0, "valid_batches must be at least 0", valid_batches=self.valid_batches)

    @property
    def last_lr(self) -> float:
        """The LR at the last step, where the ramp is not extended."""
        return USUAL_END_LR if self.end_lr is None else self.end_lr

    @classmethod
    def names(cls) -> list[str]:
        """What the settings are called, as arguments of `Workload.range_test`."""
        return [setting.name for setting in fields(cls)]

    def lrs(self) -> FloatArray:
        """The LR of each step. Returns: (num_steps,), from start_lr to end_lr, both included."""
        if self.ramp == "linear":
            return np.linspace(self.start_lr, self.last_lr, self.num_steps)
        return np.geomspace(self.start_lr, self.last_lr, self.num_steps)

    def most_steps(self) -> int:
        """What the range test is charged at most, in optimizer steps, where its ramp is not extended.

        A forward pass is a third of a step: one for the gain ratio at each step, and one more to see whether the loss comes
        out the same when evaluated again; and one for each validation batch at each step.
        """
        measured = self.num_steps + 1 if self.gain_ratio is not False else 0
        return self.num_steps + math.ceil((measured + self.num_steps * int(self.valid_batches)) / 3)
