"""Any Optuna sampler, made anew for each trial, so that a restart does not repeat its points."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from lr_search.errors import InvalidInputError


class PerTrialSampler(BaseSampler):
    """Hands each trial to a sampler of its own, seeded by (seed, trial number).

    Optuna's samplers draw from a random state that a restart resets and that parallel processes share. Their models read the
    study, so that nothing is lost by making them anew.

    Args:
        factory: a sampler class, or a function that returns a sampler; gets `seed=` if it takes one.
        seed: >= 0.
    """

    def __init__(self, factory: Callable[..., BaseSampler], seed: int = 0) -> None:
        self._factory, self._seed = factory, seed
        self._takes_seed = "seed" in _parameters(factory)
        self._last: tuple[int, BaseSampler] | None = None

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if self._last is not None and self._last[0] == trial.number:
            return self._last[1]
        # QMC draws the n-th point of one sequence, by a count kept in the study: it keeps its seed
        one = isinstance(self._factory, type) and issubclass(self._factory, optuna.samplers.QMCSampler)
        seed = self._seed if one else (self._seed * 1_000_003 + trial.number) % 2**32
        sampler = self._factory(seed=seed) if self._takes_seed else self._factory()
        if not isinstance(sampler, BaseSampler):
            raise InvalidInputError(
                f"A strategy's factory must return an Optuna sampler, but got {type(sampler).__name__}."
            )
        self._last = (trial.number, sampler)
        return sampler

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The trial's own sampler's."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The trial's own sampler's."""
        return self._of(trial).sample_relative(study, trial, dict(search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The trial's own sampler's."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """The trial's own sampler's."""
        self._of(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """The trial's own sampler's."""
        self._of(trial).after_trial(study, trial, state, values)


def _parameters(factory: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except (TypeError, ValueError):
        return set()
