"""One of several trainings that are taken together: what it is, and how far it has come."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import nn

from lr_search.arrays import FloatArray
from lr_search.errors import user_code
from lr_search.fused.metrics import FusedJudge
from lr_search.schedules.base import Schedule
from lr_search.training.controller import Controller, first_schedule
from lr_search.training.course import Course
from lr_search.training.evaluation import Evaluation
from lr_search.training.snapshots import Snapshots
from lr_search.workloads.workload import Workload


@dataclass(frozen=True)
class Member:
    """What one of the trainings is.

    Args:
        workload: as the others', but for its optimizer.
        schedule: step -> LR; or a controller that goes by evaluations alone.
        snapshots: how many of the last cycle ends' weights to keep, >= 0.
    """

    workload: Workload
    schedule: Schedule | Controller
    snapshots: int = 0


class Lane(Course):
    """One of the trainings, as far as it has come.

    Args:
        index: among the members, from 0.
        member: what is trained.
        seed: of the training.
        judge: of the lanes of its seed.

    Attributes:
        momenta: what the schedule says of the momentum, step by step.
        row: in the stack, as long as it is trained.
        seconds: its share of the time in training and evaluating.
        evaluation: the newest, if there was one since it was last looked at.
        alone: whether it must be trained from its start by itself: what it does cannot be done for several at once.
        doubt: why it may have diverged, which the next step shows; empty where there is no doubt.
    """

    def __init__(self, index: int, member: Member, seed: int, judge: FusedJudge) -> None:
        schedule = first_schedule(member.schedule)
        super().__init__(member.workload, schedule, Snapshots(member.snapshots, seed))
        given = member.schedule
        self._control = given.by_evaluations(member.workload) if isinstance(given, Controller) else None
        self.index, self.seed, self.judge = index, seed, judge
        momenta = schedule.momentum(np.arange(member.workload.num_steps)).tolist()
        self.momenta = [None if math.isnan(momentum) else momentum for momentum in momenta]
        self.row = 0
        self.seconds = 0.0
        self.evaluation: Evaluation | None = None
        self.alone = False
        self.doubt = ""

    @property
    def over(self) -> bool:
        """Whether it is trained no further."""
        return self.stopped is not None or self.alone

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Judge another model on the validation data."""
        return self.judge.model(model)

    def due(self, step: int) -> bool:
        """Whether it is evaluated at that step."""
        return not self.over and not self.doubt and step in self.checkpoints

    def train_on(self, losses: FloatArray) -> None:
        """It has taken the steps of these losses, (steps,), beside the other lanes; one that is in doubt ends at the first."""
        if self.take(losses[:1] if self.doubt else losses) and self.doubt:
            self.stop("diverged", self.doubt)

    def judged(self, metrics: dict[str, float]) -> None:
        """The metrics at the step it is at, which is a checkpoint."""
        self.evaluation = self.evaluated(metrics)
        self.finish_if_done()

    def decide(self) -> bool:
        """Have the controller look at the evaluation. Returns: whether another schedule holds from here on."""
        if self.over or self._control is None or self.evaluation is None:
            return False
        try:
            with user_code:
                changed = self._control(self.evaluation)
        except Exception:  # by itself it shows
            self.alone = True
            return False
        if changed is not None:
            self.follow(changed)
        return changed is not None

    def cut(self) -> None:
        """End it after its last evaluation."""
        self.stop("cut", f"cut after step {self.step}")
