"""What a training function is given: the LR of each step, and whom it tells how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, Protocol

import torch

from lr_search.errors import Stop, WorkloadError, quoted, require
from lr_search.kinds.checked import checked
from lr_search.kinds.functions import require_takes
from lr_search.kinds.printable_names import require_name
from lr_search.optimizers.followed import LEAST_LR, FollowedSchedule, FollowedSchedules, follow, plain_optimizers
from lr_search.optimizers.param_groups import Optimizers
from lr_search.own_loops.step_losses import StepLosses
from lr_search.own_loops.stop_swallowed import MOST_SWALLOWED, StopSwallowed
from lr_search.rng import preserved_rng
from lr_search.schedules.base import Schedule
from lr_search.training.course import checkpoints
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.trainable import Trainable

Purpose = Literal["trial", "ramp", "look"]


class Listener(Protocol):
    """Whom a training function tells how far it is: a trial, a range test, or a first look. Each may end it."""

    def attached(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """These take the steps; their LRs are as the function built them."""

    def stepped(self, step: int) -> str:
        """So many steps are done. Returns: why to stop here; empty: go on."""

    def lost(self, losses: Mapping[int, float]) -> str:
        """Step (from 0 on) -> loss, as they were read. Returns: why to stop here; empty: go on."""

    def reported(self, evaluation: Evaluation, due: bool) -> tuple[str, Schedule | None]:
        """An evaluation. Returns: why to stop here, and the schedule from here on where it changes."""


@checked
class TrainingRun:
    """One training of a training function: the LR of each step, and whom it tells how far it is. Made by lr_search.

    Attributes:
        seed: torch's, NumPy's and Python's generators were seeded with it before the function was called.
        num_steps: optimizer steps to take.
        device: where to train.
        steps_done: optimizer steps done.
        pasted: the code of the answer, as that of a `Trainable`, where a trainer's callback knows how it uses a schedule.
    """

    def __init__(
        self,
        trainable: Trainable,
        schedule: Schedule,
        listener: Listener,
        *,
        seed: int = 0,
        num_steps: int | None = None,
        purpose: Purpose = "trial",
    ) -> None:
        self.seed, self.steps_done, self.pasted = seed, 0, ""
        self.num_steps = trainable.num_steps if num_steps is None else num_steps
        self.device = trainable.torch_device
        self._trainable, self._listener, self._schedule, self._purpose = trainable, listener, schedule, purpose
        self._ends, self._checkpoints = set[int](), set[int]()
        if purpose == "trial":
            self._follow(schedule)
        elif purpose == "look" and num_steps is not None:
            self._checkpoints = {0, num_steps}
        self._due = 0 in self._checkpoints
        self._asked = -1  # the last step for which the LR was asked
        self._losses = StepLosses()
        self._evaluation: Evaluation | None = None
        self._attached: FollowedSchedule | FollowedSchedules | None = None
        self._stop: Stop | None = None
        self._went_on = 0

    @property
    def ramping(self) -> bool:
        """Whether this is a range test: the loss is then needed at every step, and no report."""
        return self._purpose == "ramp"

    @property
    def schedule(self) -> Schedule:
        """Step -> LR: the schedule that holds now, or the ramp of a range test."""
        self._asked = self.num_steps
        return self._schedule

    @property
    def lr(self) -> float:
        """The LR of the present step, that of the first parameter group; never 0 before the first, as optimizers are built with it."""
        self._asked = max(self._asked, self.steps_done)
        lr = self._schedule(self.steps_done)
        return lr if lr or self.steps_done or self._attached else LEAST_LR

    @property
    def done(self) -> bool:
        """Whether all steps are taken."""
        return self.steps_done >= self.num_steps

    @property
    def due(self) -> bool:
        """Whether to report now: every `eval_every` steps, at the ends of a cyclic schedule's cycles, and after the last step."""
        return self._due

    @property
    def stopped(self) -> bool:
        """Whether Stop was raised: nothing more is wanted of this training."""
        return self._stop is not None

    def attach(self, optimizer: Optimizers) -> FollowedSchedule | FollowedSchedules:
        """Have an optimizer, or several, follow the schedule.

        The LR is that of the first group of the first; all other groups keep the ratio to it that they were built with. An
        optimizer that Accelerate has wrapped is seen through.

        Args:
            optimizer: torch's, or a list of them; built with any LR above 0, such as `run.lr`.

        Returns:
            A torch `LRScheduler` for one optimizer, and what steps them all for several. Call `.step()` once after each
            optimizer step (of all of them): it counts as a step of the training.

        Raises:
            InvalidInputError: it is no optimizer of torch's, its groups' LRs have no ratio, or something was attached before.
        """
        self._require_going_on()
        rule = "run.attach must be called once"
        require(self._attached is None, rule, "Pass all optimizers together: run.attach([first, second]).")
        optimizers = plain_optimizers(optimizer)
        self._listener.attached(optimizers)
        self._attached = follow(optimizer, optimizers, self._schedule, self._count)
        return self._attached

    def step(self) -> None:
        """Count an optimizer step, where nothing was attached that counts it.

        Raises:
            Stop: nothing more is wanted of this training.
            WorkloadError: it was the last before, or what was attached counts the steps.
        """
        if self._attached is not None and self._stop is None:
            self._stop = Stop("its steps would count twice")
            raise WorkloadError(
                f"{self._trainable.__name__}(run) must count each step once, but called run.step() beside the scheduler that "
                "run.attach(optimizer) returned. Call scheduler.step() alone: it counts the step, too."
            )
        self._count()

    def _count(self) -> None:
        self._require_going_on()
        if self.done and self._purpose == "trial":
            raise WorkloadError(
                f"{self._trainable.__name__}(run) must take num_steps={self.num_steps} steps, but called step() again after the "
                f"{self.num_steps}th. Call it once after each optimizer step, and end at run.num_steps (run.done); or give the "
                "number of steps that it takes."
            )
        self.steps_done += 1
        self._due = self.steps_done in self._checkpoints or (self._due and self.steps_done > 1)
        self._losses.stepped()
        if self._losses.full:
            self._read()
        self._stop_for(self._listener.stepped(self.steps_done))

    def loss(self, value: Any) -> None:
        """Tell a training loss; of several within a step the mean counts. It is read off the device some steps later.

        Args:
            value: a number, or a tensor of one element.

        Raises:
            Stop: an earlier one was not finite, or the range test is at its end.
            WorkloadError: it is no number.
        """
        self._require_going_on()
        self._losses.add(value)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """What is drawn inside does not change the training: its random state is as before afterwards."""
        with preserved_rng(self.device):
            yield

    def report(self, **metrics: Any) -> None:
        """Tell the metrics at the present step, the objective among them; before the first step it is that of the untrained model.

        A report where none is due is recorded, and no pruner sees it. The objective at the end is the trial's result.

        Args:
            **metrics: name -> number, or a tensor of one element; or a function that gives it: then a report is made only where it is
                due, and what the function draws does not change the training.

        Raises:
            Stop: the trial is pruned.
            InvalidInputError: a function takes something.
            WorkloadError: the objective is not among them.
        """
        self._require_going_on()
        objective = self._trainable.objective
        if objective not in metrics:
            raise WorkloadError(
                f"objective must be among what run.report(...) is given, but got {quoted(objective)}; reported: "
                f"{', '.join(sorted(metrics)) or 'none'}. Name one of these in objective=, or report it."
            )
        values = self._values(metrics)
        if self.ramping or values is None:
            return
        self._read(whole=True)
        earlier = self._evaluation
        if earlier is not None and earlier.step == self.steps_done:  # told in pieces
            earlier.metrics.update(values)
            return
        lr = self._schedule(max(self.steps_done - 1, 0))
        mean = self._losses.mean_since()
        self._evaluation = Evaluation(self.steps_done, lr, mean, values, self.steps_done in self._ends)
        due, self._due = self._due, False
        reason, changed = self._listener.reported(self._evaluation, due)
        if changed is not None and not self.done:
            self._follow(changed)
            if self._attached is not None:
                self._attached.change(changed)
        self._stop_for(reason)

    def _values(self, metrics: Mapping[str, Any]) -> dict[str, float] | None:
        """The metrics as numbers; None where functions give them and no report is due."""
        functions = {name: each for name, each in metrics.items() if callable(each)}
        for name, function in functions.items():
            require_takes(name, function)
        if functions and not self.due:
            return None
        with self.evaluating() if functions else nullcontext():
            given = {name: each() for name, each in functions.items()}
        return {name: _number(name, value) for name, value in {**metrics, **given}.items()}

    def end(self) -> None:
        """The function has returned: take note of the losses that were not read, and of a Stop that it let not pass."""
        if self._went_on:
            self._require_going_on()
        self._read(whole=True)

    def require_followed(self) -> None:
        """Refuse a training that took its steps without asking for their LRs.

        Raises:
            WorkloadError: nothing was attached, and the LR was never read, or at the first step alone though it changes.
        """
        lrs = {self._schedule(step) for step in (0, self.steps_done // 2, self.steps_done - 1) if step >= 0}
        if self._attached is None and self.steps_done and self._asked < min(len(lrs) - 1, 1):
            asked = "for that of the first step alone" if self._asked == 0 else "for none"
            raise WorkloadError(
                f"{self._trainable.__name__}(run) must take each step at its LR, but in {self.steps_done} steps it asked {asked}. "
                "With a torch optimizer: scheduler = run.attach(optimizer), and scheduler.step() after each step; without one read "
                "run.lr at each step."
            )

    def _follow(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._ends = set(schedule.cycle_ends(self.num_steps))
        self._checkpoints = set(checkpoints(self._trainable, schedule))

    def _read(self, *, whole: bool = False) -> None:
        losses = self._losses.read(whole=whole)
        if losses:
            self._stop_for(self._listener.lost(losses))

    def _stop_for(self, reason: str) -> None:
        if reason:
            self._stop = Stop(reason)
            raise self._stop

    def _require_going_on(self) -> None:
        if self._stop is None:
            return
        self._went_on += 1
        error = WorkloadError(
            f"{self._trainable.__name__}(run) must let lr_search.Stop pass, but it went on after Stop was raised "
            f"({self._stop}). Catch the exceptions that you expect, not all, or raise lr_search.Stop again."
        )
        raise error if self._went_on <= MOST_SWALLOWED else StopSwallowed(error)


def _number(name: str, value: Any) -> float:
    require_name("a metric's name", name)
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise WorkloadError(f"run.report(...) must be given numbers, but got {name}={quoted(value)}.") from None
