"""Where a rung's pilots are placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from lr_search.curves.prior import LRPrior
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.samplers.points import PointSampler
from lr_search.samplers.strategies import PARAM
from lr_search.samplers.trial_results import results_of
from lr_search.scaling.pilot_lrs import first_pilot_lrs, next_pilot_lr
from lr_search.scaling.posterior import Pilot


@checked
class PilotSampler(PointSampler):
    """The first around the prior's mode, moved to the pilots' length (`first_pilot_lrs`); then from the best of them on.

    Args:
        prior: of the full training, from its range tests and shorter pilots.
        num_steps: of the full training, >= 1.
        pilot_steps: of these pilots, >= 1.
        schedule: its name.
        steps_per_epoch: in one pass over the training data, > 0; None: not known.
        fixed: how many depend on no other pilot of this length, 1 to 3, and to 2 where the prior is narrowed.
        narrowed: whether shorter pilots told the prior.
        seed: of other parameters than the LR, >= 0.

    >>> import optuna
    >>> prior = LRPrior(low=1e-5, high=10.0, mode=0.01, log10_std=0.5)
    >>> sampler = PilotSampler(prior, num_steps=3200, pilot_steps=200, schedule="cosine", fixed=3)
    >>> study = optuna.create_study(sampler=sampler)
    >>> [round(study.ask().suggest_float("lr", 1e-5, 10.0, log=True), 4) for _ in range(3)]
    [0.0241, 0.0076, 0.0762]
    """

    def __init__(
        self,
        prior: LRPrior,
        *,
        num_steps: int,
        pilot_steps: int,
        schedule: str,
        steps_per_epoch: float | None = None,
        fixed: int = 1,
        narrowed: bool = False,
        seed: Seed = 0,
    ) -> None:
        super().__init__(PARAM, seed)
        most = 2 if narrowed else 3
        require(1 <= fixed <= most, f"fixed must be from 1 to {most}", fixed=fixed)
        self.prior, self.schedule, self.fixed, self.narrowed = prior, schedule, fixed, narrowed
        self.num_steps, self.pilot_steps, self.steps_per_epoch = num_steps, pilot_steps, steps_per_epoch

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """The first pilots' LRs, which depend on none of them."""
        lrs = first_pilot_lrs(
            self.prior,
            schedule=self.schedule,
            num_steps=self.num_steps,
            pilot_steps=self.pilot_steps,
            steps_per_epoch=self.steps_per_epoch,
            narrowed=self.narrowed,
        )
        return _inside(lrs[number % len(lrs)], distribution)

    def value(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """See the class."""
        number = self.place(study, trial, name)
        known = results_of(study, name, without=trial.number)
        if number < self.fixed or not len(known.places):
            return self.point(number, name, distribution)
        pilots = _pilots(known.places.tolist(), known.values.tolist(), self.pilot_steps)
        lr = next_pilot_lr(
            pilots,
            self.prior,
            schedule=self.schedule,
            num_steps=self.num_steps,
            pilot_steps=self.pilot_steps,
            steps_per_epoch=self.steps_per_epoch,
        )
        return _inside(lr, distribution)


def _pilots(places: Sequence[float], values: Sequence[float], num_steps: int) -> list[Pilot]:
    """Of log10 LRs and objectives, inf where they diverged."""
    return [Pilot(10**x, y, num_steps, not np.isfinite(y)) for x, y in zip(places, values, strict=True)]


def _inside(lr: float, distribution: BaseDistribution) -> float:
    assert isinstance(distribution, FloatDistribution)
    return float(min(max(lr, distribution.low), distribution.high))
