"""How well a prior says where the best LR lies, beside an interval of one width around the same mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from judge_regrets import WITHIN, RegretCurve
from judge_statistics import MISSED, best_width, interval_score

from lr_search import LRCurve, LRPrior


@dataclass(frozen=True)
class PriorRun:
    """The 80% interval read off one curve, for one schedule and length.

    Args:
        truth: what it is judged by.
        seed: of the range test.
        mode: log10.
        low: log10 of the interval's lower end.
        high: log10 of its upper end.
    """

    truth: RegretCurve
    seed: int
    mode: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """In decades."""
        return self.high - self.low

    @property
    def score(self) -> float:
        """The interval score, where the best LR is known."""
        return interval_score(self.low, self.high, self._best)

    @property
    def holds_best(self) -> bool:
        """Whether the best LR lies in it."""
        return self.low <= self._best <= self.high

    @property
    def holds_good(self) -> bool:
        """Whether some LR in it is about as good as the best."""
        return self.truth.regrets_within(self.low, self.high)[0] <= WITHIN

    @property
    def all_good(self) -> bool:
        """Whether every LR in it is."""
        return self.truth.regrets_within(self.low, self.high)[1] <= WITHIN

    @property
    def _best(self) -> float:
        assert self.truth.best is not None  # those are left out
        return self.truth.best

    def of_width(self, width: float) -> PriorRun:
        """An interval of that width around the mode instead."""
        return replace(self, low=self.mode - width / 2, high=self.mode + width / 2)


def prior_of(curve: LRCurve, truth: RegretCurve) -> LRPrior:
    """The prior as it is read off a curve, for that training."""
    return LRPrior.from_curves([curve], schedule=truth.schedule, num_steps=truth.num_steps)


def prior_run(curve: LRCurve, truth: RegretCurve, seed: int) -> PriorRun:
    """Its 80% interval."""
    prior = prior_of(curve, truth)
    low, high = np.log10(prior.ppf([MISSED / 2, 1 - MISSED / 2])).tolist()
    return PriorRun(truth, seed, float(np.log10(prior.mode)), low, high)


def constant_widths(runs: Sequence[PriorRun]) -> dict[str, float]:
    """Schedule -> the width with the least mean interval score; where a best LR is censored it says nothing."""
    found = {}
    for schedule in dict.fromkeys(run.truth.schedule for run in runs):
        known = [(run.truth.best, run.mode) for run in runs if run.truth.schedule == schedule]
        errors = [best - mode for best, mode in known if best is not None]
        if errors:
            found[schedule] = best_width(errors)
    return found
