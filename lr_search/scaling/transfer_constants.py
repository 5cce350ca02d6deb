"""What was fitted of how pilots tell a longer training's LR, from transfer.json; `python benchmarks/fit_transfer.py` fits it anew."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np

from lr_search.curves.calibrated import FITTED_AS, OFTEN, OTHERS_AS


@dataclass(frozen=True)
class BasinShape:
    """How the regret rises to both sides of the best LR, and how far trainings stray from that.

    regret(d) = 1 - exp(-(|d| / width) ** power),   d decades from the best LR

    Args:
        below: the width below the best LR, in decades.
        above: the width above it, in decades.
        below_power: of the rise below.
        above_power: of the rise above.
        below_spread: standard deviation of the natural logarithm of a task's own width below.
        above_spread: that of its width above.
        noise: standard deviation of a training's regret at the best LR.
        misfit: standard deviation of a task's own regret from the usual one, where that is 1/2.
        cliff: that of the regret at which a training diverges, from the usual one there.
        length: decades over which a task's own misfit is alike.
    """

    below: float
    above: float
    below_power: float
    above_power: float
    below_spread: float
    above_spread: float
    noise: float
    misfit: float
    cliff: float
    length: float


@dataclass(frozen=True)
class Drift:
    """How the best LR moves with the length of the training, under one schedule.

    Args:
        exponent: decades of LR for each decade of steps.
        repeated: more for each decade of passes over the training data, from 3 passes to 100: what is learned by heart.
        alone: the exponent where the passes are not known.
        scatter: standard deviation of the exponent between tasks.
    """

    exponent: float
    repeated: float
    alone: float
    scatter: float

    def decades(self, num_steps: int, pilot_steps: int, steps_per_epoch: float | None) -> float:
        """How far the best LR of the training lies above that of its pilots."""
        longer = math.log10(num_steps / pilot_steps)
        if steps_per_epoch is None:
            return self.alone * longer
        passes = np.clip([num_steps / steps_per_epoch, pilot_steps / steps_per_epoch], *OFTEN)
        return self.exponent * longer + self.repeated * float(np.log10(passes[0] / passes[1]))


@dataclass(frozen=True)
class TransferConstants:
    """All that was fitted.

    Args:
        shape: of basins.
        drifts: by schedule.
        argmin_std: how far apart the middles of the basins of one length lie, in decades, seeds and grids apart.
        best_std: how far from there the best LR of a few trainings lies, in decades: basins are flat, and trainings noisy.
        unmeasured: by how much a schedule that no pilots were measured under is less certain than the likest that was: a factor.
    """

    shape: BasinShape
    drifts: Mapping[str, Drift]
    argmin_std: float
    best_std: float
    unmeasured: float

    def drift(self, schedule: str) -> Drift:
        """That of a schedule by name, or of the likest that was measured, with more scatter."""
        if schedule in self.drifts:
            return self.drifts[schedule]
        likest = self.drifts[FITTED_AS.get(schedule, OTHERS_AS)]
        return replace(likest, scatter=self.unmeasured * likest.scatter)


@cache
def transfer_constants() -> TransferConstants:
    """What the package comes with."""
    record = json.loads(files("lr_search.scaling").joinpath("transfer.json").read_text())
    return TransferConstants(
        BasinShape(**record["shape"]),
        {schedule: Drift(**drift) for schedule, drift in record["drifts"].items()},
        record["argmin_std"],
        record["best_std"],
        record["unmeasured"],
    )
