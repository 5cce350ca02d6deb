"""Schedules by name: given the peak LR and the length of the training, laid out by the papers' rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.options import taken_options
from lr_search.schedules.base import Schedule
from lr_search.schedules.compose import warmup
from lr_search.schedules.layout import require_training, warmup_share_of

if TYPE_CHECKING:
    from lr_search.training.controller import Controller

COMMON = ("lr", "num_steps", "steps_per_epoch", "warmup_steps")


@overload
def by_name(
    name: Literal["plateau", "refind"], lr: float, num_steps: int, steps_per_epoch: float | None = None, **options: Any
) -> Controller: ...
@overload
def by_name(
    name: str,
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    warmup_steps: int | None = None,
    **options: Any,
) -> Schedule: ...
@checked
def by_name(
    name: str,
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    warmup_steps: int | None = None,
    **options: Any,
) -> Schedule | Controller:
    """The schedule of that name for a training of `num_steps` steps, with `lr` as its peak.

    What was chosen and why is in its `describe()`.

    Args:
        name: constant, step, exponential, polynomial, linear, cosine, inverse_sqrt, wsd, triangular, triangular2, exp_range,
            sgdr, one_cycle, or one that a plug-in registered; or a controller: plateau, refind.
        lr: the peak LR, > 0.
        num_steps: steps in the training, >= 1.
        steps_per_epoch: steps in one pass over the data, > 0; None where the data has no end.
        warmup_steps: steps of a linear warm-up before the schedule, which is laid out for the rest of the training, >= 0.
            Default: a twentieth of the training for inverse_sqrt and wsd, 0 for the others.
        **options: what the papers' rules choose, chosen otherwise: cycles, base_ratio, T_mult, ...; those of a name are
            the arguments of the function that is registered under it, which stands beside the schedule's class.

    Raises:
        UnknownNameError: no schedule has that name; the message has the nearest.
        InvalidInputError: a number breaks its rule, the schedule has no such option, or the training is too short for it.

    >>> by_name("triangular2", lr=0.1, num_steps=3000, steps_per_epoch=100).cycle_ends(3000)
    [750, 1500, 2250, 3000]
    >>> by_name("cosine", lr=0.1, num_steps=3000, warmup_steps=100)([0, 50, 100, 3000]).round(3).tolist()
    [0.0, 0.05, 0.1, 0.0]
    """
    from lr_search import plugins

    layout: Callable[..., Any] = plugins.load_plugin(plugins.SCHEDULES, name)
    made: Schedule | Controller = lay_out(layout, name, lr, num_steps, steps_per_epoch, warmup_steps, options)
    return made


def lay_out(
    layout: Callable[..., Any],
    name: str,
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    warmup_steps: int | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """What `by_name` gives where that layout is registered under that name. Args, raises: see there."""
    require_training(lr, num_steps, steps_per_epoch)
    _require_options(name, layout, options)
    options = taken_options(layout, options)
    if warmup_steps is None:
        warmup_steps = round(warmup_share_of(layout) * num_steps)
    fits = 0 <= warmup_steps < num_steps
    require(fits, "warmup_steps must be from 0 to num_steps - 1", warmup_steps=warmup_steps, num_steps=num_steps)
    # a layout may ask for the length of the warm-up before it
    if "warmup_steps" in inspect.signature(layout).parameters:
        options = {**options, "warmup_steps": warmup_steps}
    schedule = layout(lr, num_steps - warmup_steps, steps_per_epoch, **options)
    return warmup(schedule, warmup_steps) if warmup_steps else schedule


def _require_options(name: str, layout: Callable[..., Schedule], options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(layout).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = [option for option in parameters if option not in COMMON]
    unknown = sorted(options.keys() - set(known))
    rule = f"{name} has the option{'s' if known else ''} {', '.join([*known, 'warmup_steps'])}"
    require(not unknown, rule, got=", ".join(unknown))
