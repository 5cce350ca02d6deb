"""A schedule for a trial: which one, and its shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.trial import BaseTrial

from lr_search.errors import InvalidInputError, quoted, require
from lr_search.kinds.checked import checked
from lr_search.schedules.base import Schedule
from lr_search.studies.schedule_layout import ScheduleLayout, named_layout
from lr_search.studies.study import suggested
from lr_search.training.controller import Controller


@checked
def suggest_schedule(
    trial: BaseTrial,
    names: str | Sequence[str],
    num_steps: int,
    *,
    lr: float,
    steps_per_epoch: float | None = None,
    search_shape: bool = True,
    name: str = "schedule",
) -> Schedule | Controller:
    """One of the named schedules, and the shape of that one: define-by-run.

    The name is a categorical parameter; the shape's parameters are called `sgdr.T_mult`, `triangular2.cycles`, ..., each
    within the range that `lr-search list` shows, the number of cycles cut to what the training is long enough for.

    Args:
        trial: Optuna's.
        names: of schedules; see `lr_search.schedules.by_name`. The same names in every trial of a study.
        num_steps: steps in the training, >= 1.
        lr: the peak LR, > 0: that of `suggest_lr`.
        steps_per_epoch: steps in one pass over the data; None where that has no end.
        search_shape: whether the sampler chooses the shape; False: the papers' rules do.
        name: of the categorical parameter.

    Returns:
        The schedule; a Controller for `plateau` and `refind`.

    Raises:
        UnknownNameError: no schedule has that name; the message has the nearest.
        InvalidInputError: the training is too short, or earlier trials of the study had other names.

    >>> import optuna
    >>> trial = optuna.trial.FixedTrial({"schedule": "sgdr", "sgdr.cycles": 3, "sgdr.T_mult": 2.0, "sgdr.base_ratio": 0.1})
    >>> schedule = suggest_schedule(trial, ["constant", "sgdr"], 700, lr=0.5)
    >>> schedule.cycle_ends(700), schedule(0)
    ([100, 300, 700], 0.5)
    """
    layouts = _layouts([names] if isinstance(names, str) else list(names), num_steps, steps_per_epoch, search_shape)
    for layout in layouts.values():
        layout(lr)  # too short a training is reported in the first trial, whichever schedule it gets
    chosen = _chosen(trial, name, list(layouts))
    ranges = layouts[chosen].ranges
    return layouts[chosen](lr, **{option: suggested(trial, f"{chosen}.{option}", ranges[option]) for option in ranges})


def _layouts(
    names: Sequence[Any], num_steps: int, steps_per_epoch: float | None, search_shape: bool
) -> dict[str, ScheduleLayout]:
    require(len(names) > 0, "names must hold at least one schedule", got=names)
    require(len(set(names)) == len(names), "names must differ", got=names)
    return {name: named_layout(name, num_steps, steps_per_epoch, search_shape=search_shape) for name in names}


def _chosen(trial: BaseTrial, name: str, choices: list[str]) -> str:
    try:
        return trial.suggest_categorical(name, choices)
    except ValueError as error:  # Optuna's categories are fixed for a study
        raise InvalidInputError(
            f"The parameter {quoted(name)} must have the same choices in every trial of a study, but got {choices}: {error} "
            "Name the same schedules in the same order, or begin a new study."
        ) from error
