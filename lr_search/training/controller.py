"""What every controller is: it looks at a training's evaluations and changes its schedule."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Steps
from lr_search.schedules.base import Schedule

if TYPE_CHECKING:
    from lr_search.training.evaluation import Evaluation
    from lr_search.training.training import Training
    from lr_search.workloads.subject import Subject


@checked
class Control(Protocol):
    """A controller at work on one training: `Evaluation -> Schedule or None`.

    It is called at every evaluation but the last, at step 0 first. The schedule it returns counts the training's own steps, and
    holds from the evaluation's step on; None leaves the present one.
    """

    def __call__(self, evaluation: Evaluation) -> Schedule | None:
        """The schedule from here on, or None for no change."""

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and numbers, from which `load_state_dict` goes on."""

    def load_state_dict(self, state: dict[str, Any]) -> Schedule:
        """Go on from what `state_dict` gave. Returns: the schedule that holds at that step."""


@checked
class Controller(ABC):
    """The settings of a control: a frozen dataclass, which `train` and `compare` take in place of a schedule.

    A schedule is a pure function of the step; what depends on the training's results is a controller's.
    """

    @property
    @abstractmethod
    def schedule(self) -> Schedule:
        """The schedule at the start."""

    @abstractmethod
    def start(self, training: Training) -> Control:
        """A control for a training that begins."""

    def by_evaluations(self, workload: Subject) -> Control | None:
        """A control for a training that need not know it, but its evaluations alone: many can be trained in lockstep. Default: none."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """One line for the report."""

    def __str__(self) -> str:
        return textwrap.fill(self.describe(), width=80)

    def extra_steps(self, num_steps: Steps) -> int:
        """Steps that a training of `num_steps` is charged beyond them, at most."""
        return 0


def first_schedule(schedule: Schedule | Controller) -> Schedule:
    """A schedule itself, or the one that a controller starts with."""
    return schedule.schedule if isinstance(schedule, Controller) else schedule
