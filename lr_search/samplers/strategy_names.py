"""What a user may give as a strategy: a name, a number, a Strategy, or any Optuna sampler."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import optuna

from lr_search import plugins
from lr_search.errors import InvalidInputError, require, require_name, unknown_name, user_code
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
        return value if value.name == name else replace(value, name=name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        lr = FixedSampler(value).lr
        return Strategy(
            name, partial(_fixed_sampler, lr), f"one training at {lr:g}", False, None, 1, f"lr={lr!r}", fixed_lr=lr
        )
    if isinstance(value, optuna.samplers.BaseSampler):
        return _of_instance(name, value)
    if not callable(value):
        raise InvalidInputError(
            f"The strategy {name!r} must be a name, a number, an Optuna sampler or a Strategy, but got {value!r}. "
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


def _fixed_sampler(lr: float, search: Search) -> FixedSampler:
    return FixedSampler(lr, PARAM, seed=search.seed)


def _of_instance(name: str, sampler: optuna.samplers.BaseSampler) -> Strategy:
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
        settings=kind,
    )


def _copied(sampler: optuna.samplers.BaseSampler) -> optuna.samplers.BaseSampler:
    try:
        with user_code:
            return copy.deepcopy(sampler)
    except Exception as error:
        raise InvalidInputError(
            f"A sampler that is given as an object must be one that can be copied for each study, but {sampler!r} cannot: "
            f"{error}. Give its class, or a function that makes it."
        ) from error


def _of_factory(name: str, factory: Callable[..., Any]) -> Strategy:
    """A class or function is called anew for each trial, so that a restart does not repeat its points."""
    kind = type(PerTrialSampler(factory).first)  # tried out: better reported before anything runs
    whose = "Optuna's " if kind.__module__.startswith("optuna.") else ""
    make = partial(_per_study if issubclass(kind, PointSampler) else _per_trial, factory)
    return Strategy(
        name, make, f"{whose}{kind.__name__}", independent=None if _places_all(kind) else 0, settings=kind.__name__
    )


def _per_trial(factory: Callable[..., Any], search: Search) -> PerTrialSampler:
    return PerTrialSampler(factory, seed=search.seed)


def _per_study(factory: Callable[..., Any], search: Search) -> optuna.samplers.BaseSampler:
    """Ours place a trial by its number and the study's seed, which all trials must share."""
    return PerTrialSampler(factory, seed=search.seed).first


def _places_all(kind: type[optuna.samplers.BaseSampler]) -> bool:
    """Whether its points do not depend on results."""
    ours = issubclass(kind, PointSampler) and kind.value is PointSampler.value
    return ours and kind.sample_independent is PointSampler.sample_independent
