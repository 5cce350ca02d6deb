"""What a ramp has recorded so far, and where it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from lr_search.arrays import FloatArray
from lr_search.curves.curve import LRCurve, Ramp, RampEnd
from lr_search.curves.noise import blow_up
from lr_search.curves.training_plan import Plan
from lr_search.optimizers.character import character
from lr_search.ramp.measured_steps import steps_to_measure
from lr_search.workloads.parts import DTYPES, Precision

LAST_BITS = 16  # a reduction of the loss within so many of its last bits is not measured,
HALF = 0.25  # nor one within so much of the last bit of what a forward pass in half precision computes with


class RampRecord:
    """The losses of a ramp's steps, until one is not finite or the loss blows up, and what was measured beside them.

    Args:
        ramp: "exponential" or "linear".
        every_step: whether the gain ratio is measured at each step, not only where it changes; it is on a linear ramp.

    Attributes:
        stopped: "finished" while the ramp may go on; then why it ended.
        steps: taken, recorded or not.
        forwards: forward passes beyond those of the steps.
        rounding: how small a change of the loss drowns in rounding, relative to it.
    """

    def __init__(self, ramp: Ramp, *, every_step: bool = False) -> None:
        self._ramp, self._every_step = ramp, every_step or ramp == "linear"
        self._lrs: list[float] = []
        self._losses: list[float] = []
        self._rows: list[FloatArray] = []  # the gain meter's
        self._columns: dict[str, list[float]] = {}
        self.stopped: RampEnd = "finished"
        self.steps, self.forwards, self.rounding = 0, 0.0, 0.0

    @property
    def is_empty(self) -> bool:
        """Whether no loss was recorded."""
        return not self._losses

    @property
    def recorded(self) -> int:
        """How many losses were recorded."""
        return len(self._losses)

    @property
    def measured(self) -> bool:
        """Whether the gain ratio's parts were recorded."""
        return bool(self._rows)

    def take(self, lrs: Sequence[float], losses: FloatArray) -> bool:
        """Record the losses of steps at these LRs, (steps,). Returns: whether all are finite."""
        self.steps += len(losses)
        bad = np.flatnonzero(~np.isfinite(losses))
        first, good = len(self._losses), losses[: bad[0]] if len(bad) else losses
        self._lrs += list(lrs[: len(good)])
        self._losses += good.tolist()
        end = blow_up(np.asarray(self._losses), first=first)
        if end is not None:
            self.stopped, self._lrs, self._losses = "diverged", self._lrs[: end + 1], self._losses[: end + 1]
        elif len(bad):
            self.stopped = "non_finite"
        return not len(bad)

    def to_measure(self, lrs: Sequence[float]) -> list[bool]:
        """Whether to evaluate the loss again after each of the next steps, at these LRs, by what was recorded so far."""
        if self._every_step:
            return [True] * len(lrs)
        latest = self._rows[-1] if self._rows else np.empty((0, 3))
        latest_lrs = self._lrs[len(self._lrs) - len(latest) :]
        return list(map(bool, steps_to_measure(lrs, len(self._lrs), latest_lrs, latest, self.rounding)))

    def take_rows(self, rows: FloatArray) -> None:
        """Record the gain ratio's parts, (steps, COLUMNS), the loss after a step NaN where it was not evaluated."""
        self._rows.append(rows)

    def take_metric(self, name: str, values: Sequence[float]) -> None:
        """Record a metric of as many steps."""
        self._columns.setdefault(name, []).extend(values)

    def curve(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        group_ratios: Sequence[float],
        num_weights: int,
        plan: Plan | None,
    ) -> LRCurve:
        """What was recorded so far.

        Args:
            optimizers: that took the steps; the character of the first is told, where there is one.
            group_ratios: each parameter group's LR over the first's.
            num_weights: how many numbers are trained.
            plan: what is known of the training.
        """
        length = len(self._losses)
        metrics = {name: np.asarray(values[:length]) for name, values in self._columns.items()}
        gain_ratio = None
        if self._rows:
            before, after, predicted, update, weight, gradient = np.concatenate(self._rows)[:length].T
            gain_ratio = measured_ratio(before - after, predicted, self.rounding * np.abs(before))
            with np.errstate(divide="ignore", invalid="ignore"):  # weights of 0, and infinite ones
                relative = update / weight
            metrics |= {"reduction": before - after, "predicted_reduction": predicted}
            metrics |= {"relative_update": relative, "rms_update": update / math.sqrt(num_weights)}
            metrics |= {"gradient_norm": gradient}
        return LRCurve(
            np.asarray(self._lrs), np.asarray(self._losses), gain_ratio=gain_ratio, metrics=metrics,
            stopped=self.stopped, num_steps=self.steps, num_forwards=self.forwards, ramp=self._ramp,
            optimizer=character(optimizers[0]) if optimizers else {}, group_ratios=tuple(group_ratios), plan=plan,
        )  # fmt: skip


def rounding_of(loss: torch.dtype, precision: Precision, weights: torch.dtype) -> float:
    """How small a change of the loss drowns in rounding, relative to it.

    Half precision inside averages out over the examples; the ratio is within some 10% where a reduction is above a
    quarter of the last bit.
    """
    return max(LAST_BITS * torch.finfo(loss).eps, HALF * torch.finfo(DTYPES[precision] or weights).eps)


def measured_ratio(reduction: FloatArray, predicted: FloatArray, rounding: FloatArray) -> FloatArray:
    """Actual over predicted reduction, NaN where it is not above the rounding of the loss. All (n,)."""
    measured = np.isfinite(reduction) & (np.abs(predicted) > rounding)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.divide(reduction, predicted, out=np.full(len(reduction), math.nan), where=measured))
