"""The steps of one training, taken in blocks whose losses are read at once, until they show that it has diverged."""

from __future__ import annotations

import math

import numpy as np
import torch

from lr_search.errors import LRSearchError, TimeUpError, WorkloadError, raised_by_user
from lr_search.training.batch_fault import batch_fault_of
from lr_search.training.course import TRAINING_BLOCK, Course
from lr_search.training.step import Stepper
from lr_search.workloads.batches import BatchWalk


class BlockRunner:
    """Takes a training's steps.

    Args:
        stepper: of the training's model.
        batches: the walk that the steps draw their batches from.
        course: receives the steps and their losses.
        seed: of the training.
    """

    def __init__(self, stepper: Stepper, batches: BatchWalk, course: Course, seed: int) -> None:
        self._stepper, self._course, self._seed = stepper, course, seed
        self.batches = batches
        batches.remember((TRAINING_BLOCK + 1) * stepper.accumulate)

    def train_to(self, target: int) -> bool:
        """Step up to `target`. Returns: whether it got there; False if the training diverged on the way."""
        course = self._course
        with self._stepper.modes.stepping():
            while course.step < target:
                if not self._run_block(course.step, min(target, course.step + TRAINING_BLOCK)):
                    return False
            if course.step and not self._stepper.is_finite():
                self.diverge(course.non_finite_weight)
                return False
        return True

    def diverge(self, reason: str) -> None:
        """Diverged, as an evaluation found; in the step that shows it, so that it does not depend on the evaluations."""
        course = self._course
        with self._stepper.modes.stepping():
            if course.step == course.workload.num_steps or self._run_block(course.step, course.step + 1):
                self._require_sound(self.batches.total + 1)
                course.stop("diverged", reason)

    def _run_block(self, start: int, end: int) -> bool:
        """Take the steps from `start` to `end`, then read their losses at once. Returns: whether all are finite."""
        steps, schedule, course = np.arange(start, end), self._course.schedule, self._course
        lrs, momenta = schedule(steps), schedule.momentum(steps)
        losses: list[torch.Tensor] = []
        first = self.batches.total + 1
        try:
            for lr, momentum in zip(lrs.tolist(), momenta.tolist(), strict=True):
                losses.append(self._stepper.step(self.batches, lr, None if math.isnan(momentum) else momentum))
        except TimeUpError:  # what was done counts
            self._take(losses)
            raise
        except Exception as error:
            if not self._read(losses, first):
                return False
            # before the first step nothing has been trained that could have diverged
            if not course.step or isinstance(error, LRSearchError) or self._stepper.is_finite():
                raise
            if self._fault(first + len(losses) * self._stepper.accumulate) is not None:
                raise
            course.stop("diverged", raised_on("non-finite weights or outputs", error, course.step))
            return False
        return self._read(losses, first)

    def _read(self, losses: list[torch.Tensor], first: int) -> bool:
        """Read a block of losses off the device. Returns: whether all are finite; if not, the training has diverged.

        Args:
            losses: of the steps.
            first: the number of their first batch.

        Raises:
            WorkloadError: one is not finite by its batch's fault.
        """
        begun = self._course.step
        finite = self._take(losses)
        if not finite:
            self._require_sound(first + (self._course.step - begun - 1) * self._stepper.accumulate)
        return finite

    def _take(self, losses: list[torch.Tensor]) -> bool:
        """These steps were taken. Returns: whether all of their losses are finite."""
        return self._course.take(torch.stack(losses).cpu().double().numpy() if losses else np.empty(0))

    def _require_sound(self, number: int) -> None:
        fault = self._fault(number)
        if isinstance(fault, WorkloadError):
            raise fault

    def _fault(self, number: int) -> Exception | None:
        """What is wrong with the batches of the step whose first has this number, or of the step before."""
        return batch_fault_of(self._course.workload, self._seed, self.batches, number)


def raised_on(what: str, error: Exception, step: int) -> str:
    """The reason of a divergence that showed in an exception of the user's code."""
    source = raised_by_user(error)
    return f"{type(source).__name__} on {what} after step {step}: {source}"
