"""Schedules made of schedules: one after the other, and a warm-up before any."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Steps
from lr_search.schedules.base import Schedule
from lr_search.schedules.polynomial import Linear


@checked
@dataclass(frozen=True)
class Joined(Schedule):
    """Several schedules in turn, each counting from the step at which it begins; made by `join`.

    Args:
        schedules: one more than boundaries.
        boundaries: the steps at which the second, third, ... begins; rising, >= 1.
    """

    schedules: tuple[Schedule, ...]
    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        schedules = all(isinstance(schedule, Schedule) for schedule in self.schedules)
        require(
            schedules and len(self.schedules) > 0, "schedules must be Schedules, at least one", schedules=self.schedules
        )
        require(
            len(self.boundaries) == len(self.schedules) - 1,
            "there must be one boundary between each two schedules",
            boundaries=len(self.boundaries),
            schedules=len(self.schedules),
        )
        edges = (0, *self.boundaries)
        rising = all(before < after for before, after in itertools.pairwise(edges))
        require(rising, "boundaries must rise from step to step, from 1 on", boundaries=self.boundaries)

    def _piecewise(self, steps: FloatArray, momenta: bool) -> FloatArray:
        starts = np.array([0, *self.boundaries])
        which = np.searchsorted(starts, steps, side="right") - 1
        joined = np.empty_like(steps)
        for i, (schedule, start) in enumerate(zip(self.schedules, starts, strict=True)):
            in_turn = which == i
            if in_turn.any():
                joined[in_turn] = (schedule.momenta if momenta else schedule.values)(steps[in_turn] - start)
        return joined

    def values(self, steps: FloatArray) -> FloatArray:
        """Each schedule's LRs, at the steps since it began."""
        return self._piecewise(steps, momenta=False)

    def momenta(self, steps: FloatArray) -> FloatArray:
        """Each schedule's momenta, at the steps since it began; before one that moves the momentum, the first of its momenta.

        So the momentum does not jump; and RMSprop's must not be 0 at the first step, or it can never be set (torch 2.13).
        """
        momenta = self._piecewise(steps, momenta=True)
        for schedule, start in zip(self.schedules[1:], self.boundaries, strict=True):
            first = schedule.momentum(0)
            if first is not None:
                momenta = np.where(np.isnan(momenta) & (steps < start), first, momenta)
        return momenta

    def cycle_ends(self, num_steps: Steps) -> list[int]:
        """The ends of the cycles that end before the next schedule begins, or with it."""
        starts = [0, *self.boundaries]
        stops = [*self.boundaries, num_steps]
        return [
            int(start + end)
            for schedule, start, stop in zip(self.schedules, starts, stops, strict=True)
            if start < num_steps
            for end in schedule.cycle_ends(min(stop, num_steps) - start)
        ]

    def describe(self) -> str:
        """Each schedule in words, with the step at which it begins."""
        first, *others = (schedule.describe().rstrip(".") for schedule in self.schedules)
        later = [f"from step {start}: {text}" for start, text in zip(self.boundaries, others, strict=True)]
        return "; ".join([first, *later])


@checked
def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Joined:
    """One schedule after the other, as torch's SequentialLR and optax's join_schedules do.

    Args:
        schedules: in their order; each counts its steps from 0 again.
        boundaries: the steps at which the second, third, ... begins; rising, >= 1.

    The momentum is left alone by schedules that do not move it, but for those before one that does: they hold its first.

    Raises:
        InvalidInputError: the numbers do not fit together.

    >>> from lr_search.schedules import Constant
    >>> join([Constant(1.0), Constant(0.1), Constant(0.01)], [50, 75])([0, 49, 50, 75]).tolist()
    [1.0, 1.0, 0.1, 0.01]
    """
    return Joined(tuple(schedules), tuple(boundaries))


@checked
def warmup(schedule: Schedule, num_steps: int, start_ratio: float = 0.0) -> Joined:
    """A linear rise to the schedule's first LR, then the schedule from its beginning.

    lr(t) = schedule(0) * (start_ratio + (1 - start_ratio) * t / num_steps) for t < num_steps, then schedule(t - num_steps)

    Args:
        schedule: what comes after; its first LR must be positive.
        num_steps: steps of the rise, >= 1; they come on top of the schedule's steps.
        start_ratio: LR at step 0 over the LR at the end of the rise, in [0, 1].

    Raises:
        InvalidInputError: a number breaks its rule.

    Reference:
        Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017, arXiv:1706.02677, section 2.2.

    >>> from lr_search.schedules import Cosine
    >>> warmup(Cosine(lr=1.0, num_steps=10), num_steps=5)([0, 1, 5, 10, 15]).round(6).tolist()
    [0.0, 0.2, 1.0, 0.5, 0.0]
    """
    require(num_steps >= 1, "num_steps must be at least 1", num_steps=num_steps)
    require(0 <= start_ratio <= 1, "start_ratio must lie between 0 and 1", start_ratio=start_ratio)
    first = schedule(0)
    require(first > 0, "the schedule's first LR must be positive, for the warm-up leads to it", lr=first)
    return join([Linear(start_ratio * first, num_steps, first, note="Warm-up."), schedule], [num_steps])
