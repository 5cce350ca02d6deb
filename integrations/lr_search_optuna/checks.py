"""What a study must be like for the functions of this package."""

from __future__ import annotations

import optuna

from lr_search.errors import require
from lr_search.kinds.direction import Direction


def require_direction(study: optuna.Study, direction: Direction) -> None:
    """Refuse a study that optimizes another way than the workload, or several objectives.

    Raises:
        InvalidInputError: the study optimizes another way, or several objectives.

    >>> require_direction(optuna.create_study(), "maximize")
    Traceback (most recent call last):
    ...
    lr_search.errors.InvalidInputError: the study's direction must be the workload's, 'maximize', but got 'minimize'. \
Make the study with optuna.create_study(direction='maximize'), or give the workload another objective and direction.
    """
    actual = ", ".join(study_direction.name.lower() for study_direction in study.directions)
    require(
        actual == direction,
        f"the study's direction must be the workload's, {direction!r}",
        f"Make the study with optuna.create_study(direction={direction!r}), "
        "or give the workload another objective and direction.",
        got=actual,
    )
