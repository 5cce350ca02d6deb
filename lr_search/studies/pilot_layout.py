"""Pilots: a workload and its schedule laid out for a shorter training; and what cannot be laid out so."""

from __future__ import annotations

from dataclasses import replace

from lr_search.errors import InvalidInputError, quoted
from lr_search.studies.schedule_layout import PEAK, ScheduleLayout, named_layout
from lr_search.training.controller import Controller
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload


def as_pilot(workload: Workload, num_steps: int) -> Workload:
    """The workload with a training of so many steps, evaluated at its ends (and its schedule's cycle ends) alone."""
    return replace(workload, num_steps=num_steps, eval_every=num_steps)


def pilot_layout(schedule: str, layout: ScheduleLayout, workload: Subject, num_steps: int) -> ScheduleLayout:
    """The schedule as it is laid out for a pilot of so many steps.

    Args:
        schedule: what the user calls it.
        layout: of the full training.
        workload: of the full training.
        num_steps: of the pilot.

    Raises:
        InvalidInputError: it has no name to be laid out by, is a controller, or the pilot is too short for it.
    """
    rule = f"pilots must be trained under the target's own schedule, laid out for their length, but {quoted(schedule)}"
    if isinstance(layout(PEAK), Controller):
        raise InvalidInputError(
            f"{rule} is a controller, which decides by the training's own losses. Use a schedule that follows the step alone, "
            "or the strategy 'range_test' with whole trainings."
        )
    if not layout.name:
        raise InvalidInputError(
            f"{rule} is a function of the LR alone and takes no length. Give the schedule by its name (see lr-search list), "
            "or register yours, as (lr, num_steps, steps_per_epoch) -> Schedule, under lr_search.schedules."
        )
    try:
        short = named_layout(layout.name, num_steps, workload.steps_per_epoch)
        short(PEAK)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"{rule} does not fit into one of {num_steps} steps: {error} Train for more steps, or use another schedule."
        ) from error
    return short
