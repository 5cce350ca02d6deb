"""The first trials of a study to one sampler, the others to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from lr_search.errors import require
from lr_search.kinds.checked import checked


@checked
class HandoverSampler(BaseSampler):
    """Hands trials 0 to `num_first` - 1 to `first`, and those after to `then`, which learns from all.

    Args:
        first: an Optuna sampler.
        then: another Optuna sampler.
        num_first: trials that `first` gets, >= 1.

    >>> import optuna
    >>> from lr_search.samplers import FixedSampler
    >>> study = optuna.create_study(sampler=HandoverSampler(FixedSampler(0.1), FixedSampler(0.3), num_first=2))
    >>> [study.ask().suggest_float("lr", 1e-3, 1.0, log=True) for _ in range(3)]
    [0.1, 0.1, 0.3]
    """

    def __init__(self, first: BaseSampler, then: BaseSampler, num_first: int) -> None:
        require(num_first >= 1, "num_first must be at least 1", num_first=num_first)
        self.first, self.then, self.num_first = first, then, num_first

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        return self.first if trial.number < self.num_first else self.then

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The search space of the trial's sampler."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values that the trial's sampler places together."""
        return self._of(trial).sample_relative(study, trial, dict(search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of one parameter by the trial's sampler."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Let the trial's sampler prepare for it."""
        self._of(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Report the trial's end to its sampler."""
        self._of(trial).after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Reseed both samplers."""
        self.first.reseed_rng()
        self.then.reseed_rng()
