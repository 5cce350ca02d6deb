"""What a training has come to, for one by itself and one of several that are trained together: its steps, its losses and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.schedules.base import Schedule
from lr_search.training.evaluation import Evaluation
from lr_search.training.snapshots import Snapshot, Snapshots
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload

Stopped = Literal["finished", "diverged", "failed", "closed", "cut"]
TRAINING_BLOCK = 16  # steps between reads of the losses: each read waits for the device


class Course:
    """The course of a training of `num_steps` steps under a schedule.

    Args:
        workload: what is trained.
        schedule: step -> LR, from the first step on.
        snapshots: keeps the weights at cycle ends.

    Attributes:
        schedule: that holds now.
        step: optimizer steps done.
        stopped: None while it can go on; then how it ended.
        reason: why it stopped, in words.
        ends: the steps at which a cycle of the schedule ends.
        checkpoints: the steps at which the training is evaluated, in rising order.
        losses: of the steps since the last evaluation, as they were read.
    """

    def __init__(self, workload: Workload, schedule: Schedule, snapshots: Snapshots) -> None:
        self.workload, self.kept = workload, snapshots
        self.step = 0
        self.stopped: Stopped | None = None
        self.reason = ""
        self.losses: list[float] = []
        self.follow(schedule)

    def follow(self, schedule: Schedule) -> None:
        """Train under this schedule from here on."""
        self.schedule = schedule
        self.ends = set(schedule.cycle_ends(self.workload.num_steps))
        self.checkpoints = checkpoints(self.workload, schedule)

    @property
    def snapshots(self) -> list[Snapshot]:
        """The kept weights, oldest first."""
        return self.kept.kept

    def next_checkpoint(self, evaluated: bool) -> int | None:
        """The step of the next evaluation, None where there is none any more.

        Args:
            evaluated: whether the present step was evaluated.
        """
        return next((s for s in self.checkpoints if s > self.step or (s == self.step and not evaluated)), None)

    def take(self, losses: FloatArray) -> bool:
        """Count the steps that were taken since the last time, by their losses.

        Args:
            losses: (steps,)

        Returns:
            Whether all are finite; if not, the training has diverged at the first that is not.
        """
        finite = np.isfinite(losses)
        if finite.all():
            self.step += len(losses)
            self.losses.extend(losses.tolist())
            return True
        first_bad = int(np.argmin(finite))
        self.step += first_bad + 1
        self.stop("diverged", f"the training loss became {losses[first_bad]} at step {self.step}")
        return False

    def evaluated(self, metrics: dict[str, float]) -> Evaluation:
        """The evaluation at the present step, from the metrics there."""
        train_loss = float(np.mean(self.losses)) if self.losses else float("nan")
        self.losses = []
        lr = self.schedule(max(self.step - 1, 0))
        return Evaluation(self.step, lr, train_loss, metrics, self.step in self.ends)

    @property
    def keeps(self) -> bool:
        """Whether the weights at the present evaluation are a snapshot: at a cycle's end, or at each where the schedule has no cycles."""
        return self.kept.most > 0 and (self.step in self.ends or (self.step > 0 and not self.ends))

    def finish_if_done(self) -> None:
        """End the training as finished, if this was its last step."""
        if self.step == self.workload.num_steps:
            self.stop("finished", f"all {self.step} steps done")

    @property
    def non_finite_weight(self) -> str:
        """The reason of a divergence that shows in the weights at the present step."""
        return f"a weight became non-finite by step {self.step}"

    def stop(self, stopped: Stopped, reason: str) -> None:
        """End the training at the present step, with the reason in words."""
        self.stopped, self.reason = stopped, reason

    def load(self, step: int, losses: Sequence[float], diverged: str | None) -> None:
        """Go on from a saved course: the steps done, the losses since the last evaluation, and why it diverged, if it did."""
        self.step, self.losses = step, list(losses)
        self.stopped, self.reason = (None, "") if diverged is None else ("diverged", diverged)


def checkpoints(subject: Subject, schedule: Schedule) -> list[int]:
    """The steps at which a training is evaluated: 0, each cycle's end, the end; every `eval_every` steps where no cycle ends between."""
    ends = schedule.cycle_ends(subject.num_steps)
    cyclic = any(end < subject.num_steps for end in ends)
    between = () if cyclic else range(subject.eval_every, subject.num_steps, subject.eval_every)
    return sorted({0, *ends, *between, subject.num_steps})
