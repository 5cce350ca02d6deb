"""Finding the LR again: the range test at later points of one training, for the usable range moves as it goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lr_search.curves.curve import LRCurve
from lr_search.curves.gain_crossing import gain_crossing
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed, Steps
from lr_search.ramp.settings import RampSettings
from lr_search.schedules.base import Schedule
from lr_search.training.training import train
from lr_search.workloads.workload import Workload

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_POINTS = 5  # the start, the quarters and the end


@checked
@dataclass(frozen=True, eq=False)
class Refinding:
    """Range tests at several points of one training; made by `refind()`.

    Args:
        curves: steps done -> the range test from the state after them, in the order of the steps.
        schedule: the one that was trained under.
        num_steps: steps in a full training.
        reason: why there are fewer curves than were asked for: the training diverged; else empty.
    """

    curves: Mapping[int, LRCurve]
    schedule: Schedule
    num_steps: Steps
    reason: str = ""

    @property
    def steps_charged(self) -> int:
        """What the range tests cost in optimizer steps; the training's steps come on top."""
        return sum(curve.steps_charged for curve in self.curves.values())

    def to_frame(self, rule: str | None = None) -> pd.DataFrame:
        """A row a point.

        Columns:
            step: optimizer steps done before; lr: the schedule's LR at the next one (after the last: the last one's).
            suggestion, rule, status: the LR read off the curve, by which rule, and how far to trust it.
            base_lr, max_lr: the curve's `bounds()`; blow_up_lr: where the loss begins to rise (nan where it does not).
            half_gain_lr, edge_lr: where the gain ratio falls below 1/2, and below 0, which is the edge of stability (nan
                where it was not measured, or does not fall so low).
            steps_charged: what the range test cost.

        Args:
            rule: a name in `lr_search.suggest.RULES`; default: the default rule.
        """
        import pandas as pd

        return pd.DataFrame([self._row(step, curve, rule) for step, curve in self.curves.items()])

    def _row(self, step: int, curve: LRCurve, rule: str | None) -> dict[str, Any]:
        suggestion, (base_lr, max_lr) = curve.suggest(rule), curve.bounds()
        return {
            "step": step,
            "lr": self.schedule(min(step, self.num_steps - 1)),
            "suggestion": suggestion.lr,
            "rule": suggestion.rule,
            "status": suggestion.status,
            "base_lr": base_lr,
            "max_lr": max_lr,
            "blow_up_lr": _or_nan(curve.phases().blow_up_lr),
            "half_gain_lr": _or_nan(gain_crossing(curve, 0.5)),
            "edge_lr": _or_nan(gain_crossing(curve, 0.0)),
            "steps_charged": curve.steps_charged,
        }

    def plot(self, ax: Axes | None = None, *, rule: str | None = None) -> Axes:
        """Draw the usable range against the step, with the schedule and the suggestions.

        Args:
            ax: where; default: a new figure's.
            rule: as of `to_frame`.
        """
        from lr_search.report.plots.refinding_plot import plot_refinding

        return plot_refinding(self, ax, rule=rule)


@checked
def refind(
    workload: Workload,
    schedule: Schedule,
    *,
    seed: Seed = 0,
    at: int | Sequence[int] = _POINTS,
    range_test: Mapping[str, Any] | None = None,
) -> Refinding:
    """Train under `schedule`, and run the range test again at later points, each from the state that is reached there.

    The range tests restore everything: the training between them is the very one that `train` runs. It is evaluated nowhere,
    and goes no further than the last point.

    Args:
        workload: what is trained.
        schedule: step -> LR.
        seed: of the weights and the batches; every range test sees the same batches.
        at: how many points, spread evenly from the start to the end (for a cyclic schedule: over the cycles' ends); or the
            numbers of steps done at which to test, each from 0 to num_steps.
        range_test: arguments of `Workload.range_test`, such as {"num_steps": 200}.

    Raises:
        InvalidInputError: an argument breaks a rule.
        WorkloadError: the workload cannot be trained.

    >>> import torch
    >>> from lr_search.schedules import Constant
    >>> batches = torch.linspace(-1, 1, 32).reshape(4, 8, 1)
    >>> workload = Workload(
    ...     model=lambda: torch.nn.Linear(1, 1),
    ...     optimizer=torch.optim.SGD,
    ...     loss=lambda model, x: ((model(x) - 3 * x) ** 2).mean(),
    ...     train_data=lambda: batches,
    ...     valid_data=lambda: batches,
    ...     num_steps=100,
    ... )
    >>> refinding = refind(workload, Constant(0.01), at=3)
    >>> refinding.to_frame()["step"].tolist()
    [0, 50, 100]
    """
    settings = _checked(range_test)
    training = train(workload, schedule, seed=seed)
    curves = {}
    try:
        for step in _points(at, workload.num_steps, schedule):
            if not training.advance(step):
                break
            curves[step] = training.range_test(**settings)
    finally:
        training.close()
    reason = training.reason if training.stopped == "diverged" else ""
    return Refinding(curves, schedule, workload.num_steps, reason)


def _checked(range_test: Mapping[str, Any] | None) -> dict[str, Any]:
    """The range test's arguments, checked before anything is trained."""
    arguments = dict(range_test or {})
    extra = sorted(arguments.keys() - set(RampSettings.names()))
    require(not extra, f"range_test may hold {', '.join(RampSettings.names())}", got=extra)
    RampSettings(**arguments)  # raises where an argument breaks a rule
    return arguments


def _points(at: int | Sequence[int], num_steps: int, schedule: Schedule) -> list[int]:
    """The steps to test at, rising."""
    if isinstance(at, int):
        good = 1 <= at <= num_steps + 1
        require(good, f"at must be from 1 to num_steps + 1={num_steps + 1} points, or a list of steps", at=at)
        even = np.linspace(0, num_steps, int(at))
        ends = np.array([0, *schedule.cycle_ends(num_steps)])  # within a cycle the LR, not the progress, rules the loss
        chosen = even.round() if len(ends) == 1 else ends[np.abs(ends[:, None] - even).argmin(axis=0)]
        return sorted({int(step) for step in chosen})
    steps = list(at)
    inside = all(0 <= step <= num_steps for step in steps)
    require(len(steps) > 0 and inside, f"at must hold whole numbers of steps from 0 to num_steps={num_steps}", at=at)
    return sorted({int(step) for step in steps})


def _or_nan(lr: float | None) -> float:
    return math.nan if lr is None else lr
