"""Schedules by the names that Transformers has for them, where its LRs are ours at every step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from transformers import get_scheduler

from lr_search.schedules.base import Schedule
from lr_search.schedules.compose import Joined
from lr_search.schedules.cosine import Cosine
from lr_search.schedules.decay import Constant, InverseSqrt
from lr_search.schedules.polynomial import Linear, Polynomial
from lr_search.schedules.sgdr import SGDR
from lr_search.schedules.wsd import WSD

# which of ours a lr_scheduler_type is nearest to: what a suggestion of a range test is for
NEAREST_LRS = MappingProxyType(
    {
        "constant": "constant",
        "constant_with_warmup": "constant",
        "cosine": "cosine",
        "cosine_with_min_lr": "cosine",
        "cosine_warmup_with_min_lr": "cosine",
        "cosine_with_restarts": "sgdr",
        "inverse_sqrt": "inverse_sqrt",
        "linear": "linear",
        "polynomial": "polynomial",
        "reduce_lr_on_plateau": "plateau",
        "warmup_stable_decay": "wsd",
    }
)
LR_ROUNDING = 1e-9  # of an LR, relative to the peak


def planned_schedule(lr_scheduler_type: Any) -> str | None:
    """The schedule of ours that is nearest to a lr_scheduler_type; None where none is."""
    return NEAREST_LRS.get(getattr(lr_scheduler_type, "value", lr_scheduler_type))


def lr_arguments(schedule: Schedule, num_steps: int) -> dict[str, Any] | None:
    """The TrainingArguments under which Transformers trains at the LRs of a schedule; None where it has no such schedule.

    Args:
        schedule: with or without a linear warm-up.
        num_steps: steps of the training, >= 1; at each of them the LRs are compared.
    """
    warmup_steps, rest = _without_warmup(schedule)
    for name, peak, settings in _candidates(rest, num_steps - warmup_steps):
        if name == "constant" and warmup_steps:
            name = "constant_with_warmup"
        if _agree(schedule, name, peak, warmup_steps, num_steps, settings):
            arguments = {"learning_rate": peak, "lr_scheduler_type": name, "warmup_steps": warmup_steps}
            return {**arguments, "lr_scheduler_kwargs": settings}
    return None


def _without_warmup(schedule: Schedule) -> tuple[int, Schedule]:
    if type(schedule) is Joined and len(schedule.schedules) == 2:
        first, rest = schedule.schedules
        if type(first) is Linear and first.lr == 0:
            return int(schedule.boundaries[0]), rest
    return 0, schedule


def _candidates(rest: Schedule, steps: int) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """(lr_scheduler_type, peak, lr_scheduler_kwargs) that may give the LRs of a schedule without its warm-up."""
    if type(rest) is Constant:
        yield "constant", rest.lr, {}
    elif type(rest) is Linear and rest.lr > 0:
        yield "linear", rest.lr, {}
        yield "polynomial", rest.lr, {"power": 1.0, "lr_end": rest.end_lr}
    elif type(rest) is Cosine:
        yield "cosine", rest.lr, {}
        yield "cosine_with_min_lr", rest.lr, {"min_lr_rate": rest.end_lr / rest.lr}
    elif type(rest) is Polynomial:
        yield "polynomial", rest.lr, {"power": rest.power, "lr_end": rest.end_lr}
    elif type(rest) is InverseSqrt:
        yield "inverse_sqrt", rest.lr, {"timescale": _whole(rest.timescale)}
    elif type(rest) is WSD:
        decay = {"num_decay_steps": _whole(rest.decay_steps), "decay_type": rest.decay}
        yield "warmup_stable_decay", rest.lr, {**decay, "min_lr_ratio": rest.end_lr / rest.lr}
    elif type(rest) is SGDR:
        yield "cosine_with_restarts", rest.max_lr, {"num_cycles": _whole(steps / rest.T_0)}


def _whole(value: float) -> float | int:
    return round(value) if math.isclose(value, round(value), rel_tol=1e-12) else value


def _agree(
    schedule: Schedule, name: str, peak: float, warmup_steps: int, num_steps: int, settings: dict[str, Any]
) -> bool:
    """Whether the scheduler of that name has the schedule's LR at every step of the training."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    try:
        scheduler = get_scheduler(name, optimizer, warmup_steps, num_steps, settings)
    except ValueError:  # such as a polynomial that ends where it begins
        return False
    factor = scheduler.lr_lambdas[0]
    theirs = peak * np.array([factor(step) for step in range(num_steps)])
    return bool(np.allclose(schedule(np.arange(num_steps)), theirs, rtol=0, atol=LR_ROUNDING * peak))
