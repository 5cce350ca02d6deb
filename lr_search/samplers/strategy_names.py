"""What a user may give as a strategy: a name, a number, a Strategy, or any Optuna sampler."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from optuna.samplers import BaseSampler
from optuna.samplers._lazy_random_state import LazyRandomState

from lr_search import plugins
from lr_search.curves.prior import LRPrior
from lr_search.errors import InvalidInputError, quoted, require, unknown_name, user_code
from lr_search.kinds.printable_names import require_name
from lr_search.plain import plain_value
from lr_search.samplers.fixed_sampler import FixedSampler
from lr_search.samplers.per_trial import OPTUNA_SAMPLERS, PerTrialSampler, sampler_class
from lr_search.samplers.points import PointSampler
from lr_search.samplers.strategies import PARAM, Search, Strategy


def resolve_strategies(strategies: Sequence[Any] | Mapping[str, Any]) -> list[Strategy]:
    """The strategies a user named: names, or name -> name, strategy, Optuna sampler (class, instance or factory) or LR.

    Raises:
        UnknownNameError: no strategy and none of Optuna's samplers has that name.
        InvalidInputError: nothing is named, something twice, or a value is none of these.
        MissingPackageError: a sampler needs a package that is not installed.
    """
    if isinstance(strategies, str):
        strategies = [strategies]
    if isinstance(strategies, Mapping):
        resolved = [_named(name, value) for name, value in strategies.items()]
    else:
        resolved = [value if isinstance(value, Strategy) else _named(value, value) for value in strategies]
    require(len(resolved) > 0, "strategies must name at least one", got=strategies)
    names = [strategy.name for strategy in resolved]
    for name in names:
        require_name("a strategy's name", name)
    require(len(set(names)) == len(names), "strategies must differ in name", names=names)
    require(not any("/" in name for name in names), "a strategy's name must not hold a slash", names=names)
    return resolved


def sampler_names() -> list[str]:
    """The names under which Optuna's own samplers are strategies, but for those that are registered."""
    return sorted(OPTUNA_SAMPLERS.keys() - plugins.registered(plugins.STRATEGIES).keys())


def known_as(name: str) -> str:
    """What a strategy is called in tables and storages: one that is registered twice keeps its own name, whichever was given.

    >>> known_as("tpe_range_test"), known_as("grid"), known_as("cmaes")
    ('tpe+range_test', 'grid', 'cmaes')
    """
    points = plugins.registered(plugins.STRATEGIES)
    twins = [point.name for point in points.values() if name in points and point.value == points[name].value]
    own = getattr(plugins.load_plugin(plugins.STRATEGIES, name), "name", name) if len(twins) > 1 else name
    return own if own in twins else name


def _named(name: Any, value: Any) -> Strategy:
    if isinstance(value, str):
        return _named(known_as(value) if name == value else str(name), _registered(value))
    require(isinstance(name, str), "a strategy must be a name, or have one: strategies={'mine': 3e-4}", got=value)
    if isinstance(value, Strategy):
        return value if value.name == name else replace(value, name=name, settings=settings_of(value) or value.name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        lr = FixedSampler(value).lr
        return Strategy(
            name, partial(_fixed_sampler, lr), f"one training at {lr:g}", False, None, 1, f"lr={lr!r}", fixed_lr=lr
        )
    if isinstance(value, BaseSampler):
        return _of_instance(name, value)
    if not callable(value):
        raise InvalidInputError(
            f"The strategy {quoted(name)} must be a name, a number, an Optuna sampler or a Strategy, but got {quoted(value)}. "
            "For example: strategies={'cmaes': optuna.samplers.CmaEsSampler, 'mine': 3e-4}."
        )
    return _of_factory(name, value)


def _registered(name: str) -> Any:
    """What is registered under that name, or else Optuna's sampler of that name."""
    points = plugins.registered(plugins.STRATEGIES)
    sampler = None if name in points else sampler_class(name)
    if name not in points and sampler is None:
        raise unknown_name("strategy", name, [*points, *sampler_names()])
    return plugins.load_plugin(plugins.STRATEGIES, name) if sampler is None else sampler


def settings_of(strategy: Strategy) -> str:
    """What tells a strategy from others of its name: its settings; of one that names none, what its sampler comes to in one study."""
    if strategy.settings or _is_registered(strategy):
        return strategy.settings
    tried = Search(seed=0, num_trials=8, prior=LRPrior.around(1e-2), largest_lr=0.1, default_lr=1e-3)
    try:
        settings = sampler_settings(strategy.sampler(tried), tried.seed)
    except Exception:  # it needs what only a study has
        settings = str(plain_value(strategy.sampler))
    needs = ("needs_curves", "max_trials", "needs_default")
    told = [f"{name}={value}" for name in needs if (value := getattr(strategy, name)) not in (None, False)]
    return ", ".join([settings, *told])


def _is_registered(strategy: Strategy) -> bool:
    registered = plugins.registered(plugins.STRATEGIES)
    return strategy.name in registered and plugins.load_plugin(plugins.STRATEGIES, strategy.name) is strategy


def _fixed_sampler(lr: float, search: Search) -> FixedSampler:
    return FixedSampler(lr, PARAM, seed=search.seed)


def _of_instance(name: str, sampler: BaseSampler) -> Strategy:
    """Each study gets a copy: one sampler for all would make each depend on which ran before."""
    kind = type(sampler).__name__
    _copied(sampler)  # tried out: better reported before anything runs
    alone = isinstance(sampler, PointSampler) and sampler.inner is None
    return Strategy(
        name,
        lambda search: _copied(sampler),
        f"{kind} as given, a copy for each study"
        + (
            ""
            if isinstance(sampler, PointSampler | PerTrialSampler)
            else "; a restart repeats its draws: give the class"
        ),
        independent=None if alone and _places_all(type(sampler)) else 0,
        settings=f"a copy of {sampler_settings(sampler)}",
    )


def _copied(sampler: BaseSampler) -> BaseSampler:
    try:
        with user_code:
            return copy.deepcopy(sampler)
    except Exception as error:
        raise InvalidInputError(
            f"A sampler that is given as an object must be one that can be copied for each study, but {quoted(sampler)} cannot: "
            f"{error}. Give its class, or a function that makes it."
        ) from error


def _of_factory(name: str, factory: Callable[..., Any]) -> Strategy:
    """A class or function is called anew for each trial, so that a restart does not repeat its points."""
    tried = PerTrialSampler(factory)  # tried out: better reported before anything runs
    kind, settings = type(tried.first), sampler_settings(tried.first, tried.first_seed)
    whose = "Optuna's " if kind.__module__.startswith("optuna.") else ""
    make = partial(_per_study if issubclass(kind, PointSampler) else _per_trial, factory)
    return Strategy(
        name, make, f"{whose}{kind.__name__}", independent=None if _places_all(kind) else 0, settings=settings
    )


def _per_trial(factory: Callable[..., Any], search: Search) -> PerTrialSampler:
    return PerTrialSampler(factory, seed=search.seed)


def _per_study(factory: Callable[..., Any], search: Search) -> BaseSampler:
    """Ours place a trial by its number and the study's seed, which all trials must share."""
    return PerTrialSampler(factory, seed=search.seed).first


def _places_all(kind: type[BaseSampler]) -> bool:
    """Whether its points do not depend on results."""
    ours = issubclass(kind, PointSampler) and kind.value is PointSampler.value
    return ours and kind.sample_independent is PointSampler.sample_independent


def sampler_settings(sampler: BaseSampler, seed: int | None = None) -> str:
    """Its class and settings, alike in every process.

    Args:
        sampler: as it was made, before it was used.
        seed: that it was made with; None for none.

    >>> import optuna
    >>> sampler_settings(optuna.samplers.TPESampler(n_startup_trials=5))
    'TPESampler(n_startup_trials=5)'
    """
    defaults, settings = _defaults(type(sampler), seed), _settings(sampler)
    changed = {name: value for name, value in settings.items() if name not in defaults or defaults[name] != value}
    told = ", ".join(f"{name.lstrip('_')}={value}" for name, value in changed.items())
    return f"{type(sampler).__name__}({told})" if told else type(sampler).__name__


def _defaults(kind: type[BaseSampler], seed: int | None) -> dict[str, Any]:
    """What the class's own defaults come to; empty where it cannot do without arguments."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = kind() if seed is None else kind(seed=seed)  # type: ignore[call-arg]
    except Exception:
        return {}
    return _settings(made)


def _settings(sampler: BaseSampler) -> dict[str, Any]:
    return {name: _setting(value) for name, value in sorted(getattr(sampler, "__dict__", {}).items())}


def _setting(value: Any) -> Any:
    if isinstance(value, BaseSampler):
        return sampler_settings(value)
    if not isinstance(value, LazyRandomState):
        return plain_value(value)
    if value._rng is None:  # Optuna's random state: a setting where it was seeded, else not made before it is needed
        return None
    state = value._rng.get_state(legacy=False)["state"]
    return hashlib.sha256(state["key"].tobytes() + bytes(str(state["pos"]), "ascii")).hexdigest()[:8]
