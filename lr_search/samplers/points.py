"""The base of samplers whose n-th point depends on (seed, trial number, parameter name) alone.

Such a sampler repeats no point under threads or processes, and goes on where it was after a restart.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from lr_search.errors import InvalidInputError, quoted, require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.samplers.per_trial import PerTrialSampler

Inner = BaseSampler | Callable[..., BaseSampler] | None


@checked
class PointSampler(BaseSampler):
    """Gives its own parameters the values of `point`, and leaves every other one to an inner sampler, or to chance.

    Args:
        param: the name of the LR, or the names of several: `["lr", "head_lr"]`.
        seed: >= 0.
        inner: an Optuna sampler for the other parameters, or its class, or a function that makes one (then made anew for
            each trial, so that a restart does not repeat its draws); None: they are drawn at random, trial n of a seed always
            alike.

    Raises:
        InvalidInputError: an argument is none of these.
    """

    def __init__(self, param: str | Sequence[str] = "lr", seed: Seed = 0, inner: Inner = None) -> None:
        self.params, self.seed = _names(param), int(seed)
        self.inner = _inner(inner, self.seed)

    @abstractmethod
    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """The n-th value of one of `params`, inside the distribution; n counts from 0."""

    def value(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """The value of one of `params` in a trial; what depends on results overrides this."""
        return self.point(self.place(study, trial, name), name, distribution)

    def place(self, study: Study, trial: FrozenTrial, name: str) -> int:
        """Which point of the sequence a trial gets: its number, not counting earlier trials whose value was given.

        So that `enqueue_trial`, and the retries of Optuna's heartbeats, use up no point.
        """
        # of the storage: Hyperband's bracket studies show a part of the trials
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        before = (earlier for earlier in trials if earlier.number < trial.number)
        return trial.number - sum(name in earlier.system_attrs.get("fixed_params", ()) for earlier in before)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What the inner sampler places together, without `params`: those are placed one by one."""
        if self.inner is None:
            return {}
        space = self.inner.infer_relative_search_space(study, trial)
        return {name: distribution for name, distribution in space.items() if name not in self.params}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The inner sampler's values of the parameters in the search space."""
        if self.inner is None:
            return {}
        values = self.inner.sample_relative(study, trial, dict(search_space))
        return {name: value for name, value in values.items() if name in search_space}  # TPE's groups may hold more

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of one parameter of one trial."""
        if param_name in self.params:
            return self.value(study, trial, param_name, param_distribution)
        if self.inner is not None:
            return self.inner.sample_independent(study, trial, param_name, param_distribution)
        return at_share(param_distribution, uniform(self.seed, trial.number, param_name))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Let the inner sampler prepare for the trial."""
        if self.inner is not None:
            self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Report the trial's end to the inner sampler."""
        if self.inner is not None:
            self.inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Reseed the inner sampler; our own points have no state."""
        if self.inner is not None:
            self.inner.reseed_rng()


def _names(param: str | Sequence[str]) -> tuple[str, ...]:
    names = (param,) if isinstance(param, str) else tuple(param)
    good = len(names) > 0 and all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names)
    require(good, "param must be the name of the LR, or several different names", param=param)
    return names


def _inner(inner: Inner, seed: Seed) -> BaseSampler | None:
    if inner is None or isinstance(inner, BaseSampler):
        return inner
    if not callable(inner):
        raise InvalidInputError(
            f"inner must be an Optuna sampler, its class, or a function that makes one, but got {quoted(inner)}. "
            "For example: inner=optuna.samplers.TPESampler."
        )
    return PerTrialSampler(inner, seed)


def generator(seed: Seed, number: int, name: str) -> np.random.Generator:
    """Random numbers that depend on its arguments alone."""
    return np.random.default_rng([seed, number, zlib.crc32(name.encode())])


def uniform(seed: Seed, number: int, name: str) -> float:
    """A uniform draw in [0, 1) that depends on its arguments alone."""
    return float(generator(seed, number, name).random())


def radical_inverse(number: int, base: int) -> float:
    """The digits of `number` mirrored at the point, in [0, 1) (Halton 1960)."""
    share, weight = 0.0, 1 / base
    while number:
        number, digit = divmod(number, base)
        share += weight * digit
        weight /= base
    return share


def van_der_corput(number: int) -> float:
    """The radical inverse in base 2: 0, 1/2, 1/4, 3/4, 1/8, ..."""
    return radical_inverse(number, 2)


def at_share(distribution: BaseDistribution, share: float) -> Any:
    """The value that far up a distribution's range, on its own scale and grid. Args: share: in [0, 1]."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(share * len(distribution.choices)), len(distribution.choices) - 1)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if distribution.step is not None:
        low, high = low - distribution.step / 2, high + distribution.step / 2  # each place on the grid: an equal share
    if distribution.log:
        value = float(np.exp(np.log(low) + share * (np.log(high) - np.log(low))))
    else:
        value = low + share * (high - low)
    if distribution.step is not None:
        steps = round((value - distribution.low) / distribution.step)
        value = distribution.low + steps * distribution.step
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else value
