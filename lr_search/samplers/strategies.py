"""Strategies: named ways to search, each a sampler plus what it needs first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import optuna

from lr_search import plugins
from lr_search.errors import InvalidInputError, require
from lr_search.ladder import Ladder
from lr_search.prior import LRPrior
from lr_search.samplers.fixed import FixedSampler
from lr_search.samplers.grid import GridSampler
from lr_search.samplers.per_trial import PerTrialSampler
from lr_search.samplers.points import PointSampler
from lr_search.samplers.probe import ProbeSampler
from lr_search.samplers.random import RandomSampler
from lr_search.samplers.range_test import RangeTestSampler

PARAM = "lr"


@dataclass(frozen=True)
class Search:
    """What a strategy makes a sampler from.

    Args:
        seed: the study's.
        num_trials: full trainings the study can pay for.
        prior: what the range tests told, for a strategy that needs them.
        largest_lr: the largest usable LR that a probe found, for a strategy that needs it; None where there was none.
        default_lr: the optimizer's own default LR, for a strategy that needs it.
    """

    seed: int
    num_trials: int
    prior: LRPrior | None = None
    largest_lr: float | None = None
    default_lr: float | None = None


@dataclass(frozen=True)
class Strategy:
    """A named way to search.

    Args:
        name: for tables and figures.
        sampler: Search -> the study's sampler.
        describe: one line: how it searches.
        needs_curves: whether range tests come first; they are charged to its studies.
        independent: whether its points do not depend on results, so that trials of one study may run side by side.
        max_trials: the most trials a study makes sense for, or None.
        settings: what tells this strategy from another of the same name, for the fingerprint.
        fixed_lr: the one LR it tries, where that is so.
        probe: the ladder of LRs that is probed first, charged to its studies; None for no probe.
        needs_default: whether it needs the optimizer's own default LR, which may lie outside the range that is searched.
    """

    name: str
    sampler: Callable[[Search], optuna.samplers.BaseSampler]
    describe: str = ""
    needs_curves: bool = False
    independent: bool = False
    max_trials: int | None = None
    settings: str = ""
    fixed_lr: float | None = None
    probe: Ladder | None = None
    needs_default: bool = False

    def __post_init__(self) -> None:
        both = self.needs_curves and self.probe is not None
        require(not both, "a strategy takes range tests first, or a probe, not both", name=self.name)


def _grid_sampler(search: Search) -> GridSampler:
    return GridSampler(search.num_trials, param=PARAM, seed=search.seed)


def _random_sampler(search: Search) -> RandomSampler:
    return RandomSampler(param=PARAM, seed=search.seed)


def _range_test_sampler(search: Search) -> RangeTestSampler:
    assert search.prior is not None
    return RangeTestSampler(search.prior, PARAM, seed=search.seed)


def _probe_sampler(search: Search) -> ProbeSampler:
    return ProbeSampler(search.largest_lr, PARAM, seed=search.seed)


def _default_sampler(search: Search) -> FixedSampler:
    assert search.default_lr is not None
    return FixedSampler(search.default_lr, PARAM, seed=search.seed)


grid = Strategy(
    "grid",
    _grid_sampler,
    "as many equal log steps as the budget pays for, phase from the seed, coarse to fine",
    independent=True,
)
random = Strategy("random", _random_sampler, "log-uniform draws (Bergstra and Bengio 2012)", independent=True)
range_test = Strategy(
    "range_test",
    _range_test_sampler,
    "a range test first (Smith 2017), then its prior's mode, then its quantiles, tails included",
    needs_curves=True,
    independent=True,
)
probe = Strategy(
    "probe",
    _probe_sampler,
    "ever lower LRs until the loss falls in 10 steps, then one to two orders of magnitude below that, then outward",
    independent=True,
    probe=Ladder(),
)
defaults = Strategy(
    "defaults",
    _default_sampler,
    "one training at the optimizer's own default LR: the promise of no tuning",
    independent=True,
    max_trials=1,
    needs_default=True,
)


def resolve(strategies: Sequence[Any] | Mapping[str, Any]) -> list[Strategy]:
    """The strategies a user named: names, or name -> strategy, Optuna sampler (class, instance or factory) or LR.

    Raises:
        UnknownNameError: no strategy has that name.
        InvalidInputError: nothing is named, something twice, or a value is none of these.
    """
    if isinstance(strategies, str):
        strategies = [strategies]
    if isinstance(strategies, Mapping):
        found = [_named(name, value) for name, value in strategies.items()]
    else:
        found = [value if isinstance(value, Strategy) else _named(value, value) for value in strategies]
    require(len(found) > 0, "strategies must name at least one", got=strategies)
    names = [strategy.name for strategy in found]
    require(len(set(names)) == len(names), "strategies must differ in name", names=names)
    require(not any("/" in name for name in names), "a strategy's name must not hold a slash", names=names)
    return found


def _named(name: Any, value: Any) -> Strategy:
    if isinstance(value, str):
        strategy: Strategy = plugins.load(plugins.STRATEGIES, value)
        return strategy if name == value else _renamed(strategy, str(name))
    require(isinstance(name, str), "a strategy must be a name, or have one: strategies={'mine': 3e-4}", got=value)
    if isinstance(value, Strategy):
        return _renamed(value, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        lr = FixedSampler(value).lr
        return Strategy(
            name, partial(_fixed_sampler, lr), f"one training at {lr:g}", False, True, 1, f"lr={lr!r}", fixed_lr=lr
        )
    return _foreign(name, value)


def _fixed_sampler(lr: float, search: Search) -> FixedSampler:
    return FixedSampler(lr, PARAM, seed=search.seed)


def _renamed(strategy: Strategy, name: str) -> Strategy:
    return replace(strategy, name=name)


def _foreign(name: str, value: Any) -> Strategy:
    """Any Optuna sampler. A class or factory is called anew for each trial, so that a restart does not repeat its points."""
    if isinstance(value, optuna.samplers.BaseSampler):
        return Strategy(
            name,
            lambda search: value,
            f"{type(value).__name__} as given (its random state does not survive a restart: give the class instead)",
            independent=isinstance(value, PointSampler),
            settings=type(value).__name__,
        )
    if not callable(value):
        raise InvalidInputError(
            f"The strategy {name!r} must be a name, a number, an Optuna sampler or a Strategy, but got {value!r}. "
            "For example: strategies={'cmaes': optuna.samplers.CmaEsSampler, 'mine': 3e-4}."
        )
    label = getattr(value, "__name__", type(value).__name__)
    return Strategy(name, partial(_per_trial, value), f"Optuna's {label}", settings=label)


def _per_trial(factory: Callable[..., Any], search: Search) -> PerTrialSampler:
    return PerTrialSampler(factory, seed=search.seed)
