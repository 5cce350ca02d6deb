"""Schedules by the names that Transformers has for them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

PLANNED = MappingProxyType(
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


def planned_schedule(lr_scheduler_type: Any) -> str | None:
    """The schedule of ours that is nearest to a lr_scheduler_type; None where none is.

    >>> planned_schedule("cosine_with_restarts"), planned_schedule("greedy")
    ('sgdr', None)
    """
    return PLANNED.get(getattr(lr_scheduler_type, "value", lr_scheduler_type))
