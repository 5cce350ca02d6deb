"""Any Optuna sampler: by name, and made anew for each trial, so that a restart does not repeat its points."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, QMCSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from lr_search.errors import InvalidInputError, LRSearchError, MissingPackageError, error_text, user_code
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed

# they need arguments, or (BruteForce) a parameter with a few values
NOT_BY_NAME = ("BaseSampler", "BaseGASampler", "BruteForceSampler", "GridSampler", "PartialFixedSampler")
NEEDS = {"CmaEsSampler": "cmaes", "GPSampler": "scipy", "QMCSampler": "scipy"}
OPTUNA_SAMPLERS = {  # by the first word of its class
    kind.removesuffix("Sampler").lower(): kind
    for kind in optuna.samplers.__all__
    if kind.endswith("Sampler") and kind not in NOT_BY_NAME
}


@checked
class PerTrialSampler(BaseSampler):
    """Hands each trial to a sampler of its own, seeded by (seed, trial number).

    Optuna's samplers draw from a random state that a restart resets and that parallel processes share. Their models read the
    study, so that nothing is lost by making them anew.

    Args:
        factory: a sampler class, or a function that returns a sampler; gets `seed=` if it takes one. One that takes none
            is called once: its sampler keeps its own random state, which a restart resets.
        seed: >= 0.

    Raises:
        InvalidInputError: the factory makes no sampler.
        MissingPackageError: the sampler needs a package that is not installed.

    >>> import optuna
    >>> study = optuna.create_study(sampler=PerTrialSampler(optuna.samplers.TPESampler, seed=0))
    >>> 1e-4 <= study.ask().suggest_float("lr", 1e-4, 1.0, log=True) <= 1.0
    True
    """

    def __init__(self, factory: Callable[..., BaseSampler], seed: Seed = 0) -> None:
        self._factory, self._seed = factory, seed
        self._takes_seed = "seed" in _parameters(factory)
        self.first = self._make_sampler(seed)  # as the factory makes it: with the study's own seed
        self.first_seed = seed if self._takes_seed else None
        require_sampler_packages(type(self.first))
        self._running: dict[tuple[str, int], BaseSampler] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": {}}  # a trial runs where it was asked for

    def _make_sampler(self, seed: Seed) -> BaseSampler:
        try:
            with user_code:
                sampler = self._factory(seed=seed) if self._takes_seed else self._factory()
        except (LRSearchError, Warning):
            raise
        except ModuleNotFoundError as error:
            raise MissingPackageError(f"The sampler needs {error.name}: pip install {error.name}") from error
        except Exception as error:
            raise InvalidInputError(
                f"The factory of a sampler must return an Optuna sampler when it is called, but it raised {error_text(error)}. "
                "Bind what it needs: functools.partial(factory, ...)."
            ) from error
        if not isinstance(sampler, BaseSampler):
            raise InvalidInputError(
                f"The factory of a sampler must return an Optuna sampler, but got {type(sampler).__name__}."
            )
        return sampler

    def _new(self, trial: FrozenTrial) -> BaseSampler:
        """A new sampler for a trial; for one that goes on elsewhere, a sampler that does not repeat the draws that were made."""
        if not self._takes_seed:
            return self.first
        entropy = [self._seed, trial.number, len(trial.params)]
        sampler = self._make_sampler(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        if isinstance(sampler, QMCSampler):
            return self._of_one_sequence(sampler, trial.number)
        return sampler

    def _of_one_sequence(self, drawing: QMCSampler, number: int) -> BaseSampler:
        """QMC draws the n-th point of one sequence, so all trials share a seed.

        Optuna counts n in the study, where two processes can read the same count: here n is the trial's number.
        """
        sampler = self._make_sampler(self._seed)
        sampler._independent_sampler = drawing._independent_sampler  # type: ignore[attr-defined]
        sampler._find_sample_id = lambda *study_and_space: number  # type: ignore[attr-defined]  # Optuna 4 gives no space
        return sampler

    def _of(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        sampler = self._running.get(_key(study, trial))
        return self._begun(study, trial) if sampler is None else sampler

    def _begun(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        sampler = self._running[_key(study, trial)] = self._new(trial)
        return sampler

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The search space of the trial's own sampler."""
        return self._of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values that the trial's own sampler places together."""
        return self._of(study, trial).sample_relative(study, trial, dict(search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of one parameter by the trial's own sampler."""
        return self._of(study, trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's own sampler, and let it prepare for the trial."""
        self._begun(study, trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Report the trial's end to its own sampler, which is dropped here."""
        sampler = self._of(study, trial)
        del self._running[_key(study, trial)]
        sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Reseed a sampler that is made once; the others' seeds are those of their trials."""
        if not self._takes_seed:
            self.first.reseed_rng()


def _key(study: Study, trial: FrozenTrial) -> tuple[str, int]:
    return study.study_name, trial.number


def _parameters(factory: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except (TypeError, ValueError):
        return set()


def sampler_class(name: str) -> type[BaseSampler] | None:
    """Optuna's sampler of that name, or None.

    Args:
        name: of the class, with or without the last word, in any case: "TPESampler", "cmaes", "CMA-ES".

    >>> sampler_class("CMA-ES").__name__
    'CmaEsSampler'
    """
    kind = OPTUNA_SAMPLERS.get(name.lower().replace("-", "").removesuffix("sampler"))
    return None if kind is None else getattr(optuna.samplers, kind)


def require_sampler_packages(kind: type[BaseSampler]) -> None:
    """Find out before the first trial. Raises: MissingPackageError: what the sampler needs is not installed."""
    for name in (base.__name__ for base in kind.__mro__):
        package = NEEDS.get(name)
        if package is not None and find_spec(package) is None:
            raise MissingPackageError(f"{name} needs {package}: pip install {package}")
