"""Whom a training function tells how far it is, in a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from lr_search.schedules.base import Schedule
from lr_search.training.controller import Control
from lr_search.training.evaluation import Evaluation


class TrialListener:
    """Keeps a trial's evaluations, and ends it where it diverges or is pruned.

    Args:
        evaluations: takes them.
        control: changes the schedule by them, or None.
        report: is passed those that are due; whether to prune.

    Attributes:
        step: steps done.
        diverged: why it did; empty where it did not.
        pruned: whether it was.
    """

    def __init__(
        self, evaluations: list[Evaluation], control: Control | None, report: Callable[[Evaluation], bool]
    ) -> None:
        self._evaluations, self._control, self._report = evaluations, control, report
        self.step, self.diverged, self.pruned = 0, "", False

    def attached(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """See `Listener`."""

    def stepped(self, step: int) -> str:
        """See `Listener`."""
        self.step = step
        return ""

    def lost(self, losses: Mapping[int, float]) -> str:
        """See `Listener`."""
        bad = next((step for step, loss in losses.items() if not np.isfinite(loss)), None)
        if bad is not None:
            self.diverged = f"the training loss became {losses[bad]} at step {bad + 1}"
        return "a loss was not finite" if bad is not None else ""

    def reported(self, evaluation: Evaluation, due: bool) -> tuple[str, Schedule | None]:
        """See `Listener`."""
        self._evaluations.append(evaluation)
        self.pruned = due and self._report(evaluation)
        if self.pruned or not due or self._control is None:
            return ("pruned" if self.pruned else ""), None
        return "", self._control(evaluation)
