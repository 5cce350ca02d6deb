"""Where a rung's pilots are placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from lr_search.curves.prior import LRPrior
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.samplers.points import PointSampler
from lr_search.samplers.strategies import PARAM, PilotResult
from lr_search.samplers.trial_results import results_of
from lr_search.scaling.belief import first_pilots, target_belief


@checked
class PilotSampler(PointSampler):
    """The first pilots at the mode of the range tests' prior, above and below it; every other where the best LR is expected.

    Args:
        prior: of the range tests, at the full length.
        earlier: what the pilots of shorter lengths came to.
        num_steps: of this study's pilots.
        target_steps: of the full training.
        schedule: its name; None where it has none.
        seed: of nothing so far, >= 0.
    """

    def __init__(
        self,
        prior: LRPrior,
        earlier: Sequence[PilotResult] = (),
        *,
        num_steps: int,
        target_steps: int,
        schedule: str | None = None,
        seed: Seed = 0,
    ) -> None:
        super().__init__(PARAM, seed)
        self.prior, self.earlier = prior, tuple(earlier)
        self.num_steps, self.target_steps, self.schedule = num_steps, target_steps, schedule

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """The first pilots' LRs, which depend on no results."""
        assert isinstance(distribution, FloatDistribution)
        points = first_pilots(self.prior)
        return min(max(points[number % len(points)], distribution.low), distribution.high)

    def value(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """See the class."""
        number = self.place(study, trial, name)
        if not self.earlier and number < len(first_pilots(self.prior)):
            return self.point(number, name, distribution)
        assert isinstance(distribution, FloatDistribution)
        own = results_of(study, name, without=trial.number)
        pairs = zip(own.places, own.values, strict=True)
        pilots = [*self.earlier, *(PilotResult(float(10**x), float(y), self.num_steps) for x, y in pairs)]
        found = target_belief(pilots, self.prior, target_steps=self.num_steps, schedule=self.schedule)
        return min(max(found.lr, distribution.low), distribution.high)
