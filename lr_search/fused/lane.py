"""One of several trainings that are taken together: what it is, and how far it has come."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from lr_search.fused.metrics import FusedJudge
from lr_search.schedules.base import Schedule
from lr_search.training.evaluation import Evaluation
from lr_search.training.snapshots import Snapshot, Snapshots
from lr_search.training.training import checkpoints
from lr_search.workloads.workload import Workload


@dataclass(frozen=True)
class Member:
    """What one of the trainings is.

    Args:
        workload: as the others', but for its optimizer.
        schedule: step -> LR.
        snapshots: how many of the last cycle ends' weights to keep, >= 0.
    """

    workload: Workload
    schedule: Schedule
    snapshots: int = 0


@dataclass
class Lane:
    """One of the trainings, as far as it has come.

    Attributes:
        index: among the members, from 0.
        workload: with this training's optimizer.
        schedule: step -> LR.
        momenta: what the schedule says of the momentum, step by step.
        row: in the stack, as long as it is trained.
        step: optimizer steps done.
        seconds: its share of the time in training and evaluating.
        evaluation: the newest, if there was one since it was last looked at.
        stopped: None while it can go on; then "finished" or "diverged", or "cut" from outside.
        reason: why.
        alone: whether it must be trained from its start by itself: what it does cannot be done for several at once.
    """

    index: int
    workload: Workload
    schedule: Schedule
    momenta: list[float | None]
    kept: Snapshots
    judge: FusedJudge
    row: int = 0
    step: int = 0
    seconds: float = 0.0
    evaluation: Evaluation | None = None
    stopped: str | None = None
    reason: str = ""
    alone: bool = False
    doubt: str = ""  # why it may have diverged; the next step shows it
    since: list[float] = field(default_factory=list)  # losses since the last evaluation

    def __post_init__(self) -> None:
        self.checkpoints = checkpoints(self.workload, self.schedule)
        self.ends = set(self.schedule.cycle_ends(self.workload.num_steps))

    @property
    def over(self) -> bool:
        """Whether it is trained no further."""
        return self.stopped is not None or self.alone

    @property
    def snapshots(self) -> list[Snapshot]:
        """The kept weights, oldest first."""
        return self.kept.kept

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Judge another model on the validation data."""
        return self.judge.model(model)

    def due(self, step: int) -> bool:
        """Whether it is evaluated at that step."""
        return not self.over and not self.doubt and step in self.checkpoints

    def next_checkpoint(self, step: int) -> int:
        """The step of its next evaluation after `step`."""
        return next((each for each in self.checkpoints if each > step), self.workload.num_steps)

    def take(self, losses: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
        """The losses of the steps it has taken since they were last read, (steps,)."""
        losses = losses[:1] if self.doubt else losses
        bad = np.flatnonzero(~np.isfinite(losses))
        if len(bad):
            self.step += int(bad[0]) + 1
            self.diverge(f"the training loss became {losses[bad[0]]} at step {self.step}")
        elif self.doubt:
            self.step += 1
            self.diverge(self.doubt)
        else:
            self.step += len(losses)
            self.since.extend(losses.tolist())

    def judged(self, metrics: dict[str, float]) -> None:
        """The metrics at the step it is at, which is a checkpoint."""
        train_loss = float(np.mean(self.since)) if self.since else math.nan
        self.since = []
        lr = self.schedule(max(self.step - 1, 0))
        self.evaluation = Evaluation(self.step, lr, train_loss, metrics, self.step in self.ends)
        if self.step == self.workload.num_steps:
            self._end("finished", f"all {self.step} steps done")

    def keeps(self) -> bool:
        """Whether the weights at the present evaluation are to be kept."""
        return self.step in self.ends or (self.step > 0 and not self.ends)

    def diverge(self, reason: str) -> None:
        """It has diverged."""
        self._end("diverged", reason)

    def cut(self) -> None:
        """End it after its last evaluation."""
        self._end("cut", f"cut after step {self.step}")

    def _end(self, stopped: str, reason: str) -> None:
        self.stopped, self.reason = stopped, reason
