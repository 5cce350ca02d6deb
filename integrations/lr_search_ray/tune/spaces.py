"""Search spaces for a user's own Tuner: a learning rate placed by a prior, and a schedule with its shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from ray import tune
from ray.tune.search.sample import Domain, Float, LogUniform

from lr_search.curves.prior import LRPrior
from lr_search.errors import quoted, require
from lr_search.kinds.checked import checked
from lr_search.schedules.base import Schedule
from lr_search.schedules.layout import Range
from lr_search.studies.schedule_layout import PEAK, named_layout
from lr_search.training.controller import Controller

ROUNDING = 1e-9  # relative: a searcher that works in log10 may miss a bound by the last bits
_REMEDY = "Take it from schedule_space(...), made for a training of this many steps."


class PriorSampler(LogUniform):
    """Draws from a prior; to a searcher that draws by itself, log-uniform between the bounds.

    Args:
        prior: what is drawn from.
    """

    def __init__(self, prior: LRPrior) -> None:
        super().__init__()
        self.prior = prior

    def sample(self, domain: Domain, config: Any = None, size: int = 1, random_state: Any = None) -> Any:
        """A float, or `size` of them as an array (size,)."""
        return self.prior.ppf(Float(0.0, 1.0).sample(config, size, random_state))


@checked
def search_space(prior: LRPrior, param: str = "lr") -> dict[str, Domain]:
    """A prior as Tune's domain of a float, for the param_space of a Tuner.

    A Tuner without a searcher draws LRs from the prior. Ray's searchers know Tune's own distributions alone, and take this one
    for `tune.loguniform(prior.low, prior.high)`: OptunaSearch, HyperOptSearch and AxSearch search it on a log scale,
    BayesOptSearch, which has none, on a linear one.

    Args:
        prior: where the LR may lie.
        param: the name of the LR in the trial's config.

    Returns:
        {param: domain}, to be put beside others: {**search_space(prior), "width": tune.grid_search([64, 128])}.

    Raises:
        InvalidInputError: prior is something else.

    >>> space = search_space(LRPrior(low=1e-5, high=10.0, mode=0.01, log10_std=0.5))
    >>> [float(f"{lr:.2g}") for lr in space["lr"].sample(size=4, random_state=0)]
    [0.015, 0.0048, 0.0011, 0.00043]
    """
    domain = Float(prior.low, prior.high)
    domain.sampler = PriorSampler(prior)
    return {param: domain}


@checked
def schedule_space(
    names: str | Sequence[str],
    num_steps: int,
    *,
    steps_per_epoch: float | None = None,
    search_shape: bool = True,
    name: str = "schedule",
) -> dict[str, Domain]:
    """One of the named schedules, and the shape of each, as Tune's domains. `schedule_of` reads a trial's config back.

    The names and ranges are those of `lr_search_optuna.suggest_schedule`: `sgdr.T_mult`, `triangular2.cycles`, ... Tune has no
    parameters that depend on others: each trial gets a value for every option, and uses those of its schedule.

    Args:
        names: of schedules; see `lr_search.schedules.by_name`.
        num_steps: steps in the training, >= 1.
        steps_per_epoch: steps in one pass over the data; None where that has no end.
        search_shape: whether the shape is searched; False: the papers' rules choose it.
        name: of the parameter that chooses the schedule.

    Returns:
        {name: domain, "sgdr.T_mult": domain, ...}, for a Tuner's param_space.

    Raises:
        UnknownNameError: no schedule has that name; the message has the nearest.
        InvalidInputError: names is empty or holds one twice, or the training is too short for one.

    >>> space = schedule_space(["constant", "sgdr"], num_steps=700)
    >>> sorted(space)
    ['schedule', 'sgdr.T_mult', 'sgdr.base_ratio', 'sgdr.cycles']
    >>> space["sgdr.cycles"].domain_str, space["schedule"].sample(random_state=1)
    ('(3, 7)', 'constant')
    """
    space: dict[str, Domain] = {}
    listed = _listed(names)
    for schedule in listed:
        layout = named_layout(schedule, num_steps, steps_per_epoch, search_shape=search_shape)
        layout(PEAK)  # too short a training is reported now, not by a worker
        space |= {f"{schedule}.{option}": _domain(within) for option, within in layout.ranges.items()}
    return {name: tune.choice(listed), **space}


@checked
def schedule_of(
    config: Mapping[str, Any],
    num_steps: int,
    *,
    steps_per_epoch: float | None = None,
    lr: float,
    name: str = "schedule",
) -> Schedule | Controller:
    """The schedule that a trial's config asks for, with `lr` as its peak.

    Args:
        config: what a Tuner drew from `schedule_space`, with anything else beside it. Without a schedule: constant. An option of
            the schedule that is missing is chosen by the papers' rules; those of other schedules are not read.
        num_steps: steps in the training, >= 1.
        steps_per_epoch: steps in one pass over the data; None where that has no end.
        lr: the peak LR, > 0.
        name: of the parameter that chooses the schedule.

    Returns:
        The schedule; a Controller for `plateau` and `refind`.

    Raises:
        UnknownNameError: no schedule has that name; the message has the nearest.
        InvalidInputError: the schedule has no such option to search, or its value lies outside the option's range.

    >>> config = {"schedule": "sgdr", "sgdr.cycles": 3, "sgdr.T_mult": 2.0, "one_cycle.pct_start": 0.2, "width": 64}
    >>> schedule = schedule_of(config, 700, lr=0.5)
    >>> schedule.cycle_ends(700), schedule(0)
    ([100, 300, 700], 0.5)
    """
    chosen = config.get(name, "constant")
    require(isinstance(chosen, str), f"config[{quoted(name)}] must be a schedule's name", got=chosen)
    prefix = f"{chosen}."
    options = {key: value for key, value in config.items() if key.startswith(prefix)}
    layout = named_layout(chosen, num_steps, steps_per_epoch, search_shape=bool(options))
    ranges = {prefix + option: within for option, within in layout.ranges.items()}
    return layout(lr, **{key.removeprefix(prefix): _value(key, value, ranges) for key, value in options.items()})


def _listed(names: Any) -> list[str]:
    listed = [names] if isinstance(names, str) else list(names)
    require(len(listed) > 0, "names must hold at least one schedule", got=names)
    require(all(isinstance(schedule, str) for schedule in listed), "names must be names of schedules", got=names)
    require(len(set(listed)) == len(listed), "names must differ", got=names)
    return listed


def _domain(within: Range) -> Domain:
    domain: Domain
    if within.whole:  # Tune's upper bound of whole numbers is exclusive
        domain = (tune.lograndint if within.log else tune.randint)(int(within.low), int(within.high) + 1)
    else:
        domain = (tune.loguniform if within.log else tune.uniform)(within.low, within.high)
    return domain


def _value(key: str, value: Any, ranges: Mapping[str, Range]) -> float:
    """The value of an option, which must be one that is searched and lie where it is searched."""
    rule = f"a schedule's options in config must be those that are searched ({', '.join(ranges) or 'it has none'})"
    require(key in ranges, rule, f"Remove {quoted(key)} from param_space.", got=key)
    within = ranges[key]
    rule = f"{key} must be a {'whole ' if within.whole else ''}number from {within.low:g} to {within.high:g}"
    require(isinstance(value, Real), rule, _REMEDY, got=value)
    inside = min(max(float(value), within.low), within.high)
    right = math.isclose(inside, value, rel_tol=ROUNDING) and not (within.whole and value % 1)
    require(right, rule, _REMEDY, got=value)
    return int(inside) if within.whole else inside
