"""What other programs wrote under our names, or took away: refused in words, and never counted as done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial

from lr_search.errors import InvalidInputError, StorageError
from lr_search.storage.keys import PLAN, RECORD, plan_of

_REMEDY = (
    "Start over with fresh=True (--fresh), or under another name; and give a study of your own, with study.optimize, enqueue_trial "
    "or add_trial, a name of its own."
)
_KINDS = ("search", "range_test", "probe", "pilot", "confirm", "today")
_PLAN_HOLDS = ("kind", "order", "optimizer", "seed", "strategy", "schedule", "objective", "direction", "num_steps")


def own_record(trial: FrozenTrial, study: str) -> Mapping[str, Any]:
    """The record of a trial that has ended. Args: study: its name. Raises: StorageError: it has none of ours."""
    return require_record(trial.user_attrs.get(RECORD), study, trial.number, trial.state.name)


def require_record(record: Any, study: str, number: int, state: str) -> Mapping[str, Any]:
    """The record, if it is one that lr_search wrote when the trial ended.

    Args:
        record: the trial's attribute; None where it has none.
        study: the study's name.
        number: of the trial.
        state: Optuna's.

    Raises:
        StorageError: it is none of ours.
    """
    whole = (
        isinstance(record, Mapping) and isinstance(record.get("ended"), str) and isinstance(record.get("steps"), int)
    )
    if not whole:
        what = (
            "has no record of its training"
            if record is None
            else f"has another record than lr_search writes ({_short(record)})"
        )
        raise StorageError(
            f"All trials of a comparison must be those that lr_search ran, but trial {number} of {study!r} ({state}) {what}: "
            f"another program added or changed it. {_REMEDY}"
        )
    return dict(record)


def require_own_trials(trials: Iterable[FrozenTrial], study: str) -> None:
    """Raise unless all trials of a study are ours; those that run or wait may be anybody's whose process is gone.

    Raises:
        StorageError: one has ended without a record, or was enqueued with values.
    """
    for trial in trials:
        if trial.state.is_finished():
            own_record(trial, study)
        elif values := trial.system_attrs.get("fixed_params"):
            raise StorageError(
                f"The trials of a comparison must get their values from its strategy, but trial {trial.number} of {study!r} was "
                f"enqueued with {_short(values)}. {_REMEDY}"
            )


def require_own_study(study: FrozenStudy, name: str, direction: StudyDirection, num_trials: int) -> None:
    """Raise unless a study of our name is ours, or is as empty as `create_study` leaves it.

    Args:
        study: as it is stored.
        name: of the comparison.
        direction: that the comparison's has.
        num_trials: how many trials it has.

    Raises:
        StorageError: it is another program's.
    """
    if plan_of(study.user_attrs) is None and (PLAN in study.user_attrs or num_trials):
        raise StorageError(
            f"Each study of a comparison must be one that lr_search made, but {study.study_name!r}, with {num_trials} trials, is "
            f"another program's: its attribute {PLAN!r} is {_short(study.user_attrs.get(PLAN))}. Give the comparison another "
            f"name than {name!r}, or delete that study."
        )
    if study.directions != [direction]:
        directions = " and ".join(each.name.lower() for each in study.directions)
        raise StorageError(
            f"A study of this comparison must {direction.name.lower()}, but {study.study_name!r} is there already, and is to "
            f"{directions}. Give the comparison another name than {name!r}, or delete that study."
        )


def own_studies(storage: BaseStorage, name: str) -> list[FrozenStudy]:
    """The comparison's studies, each with its whole plan. Raises: StorageError: parts of one are gone."""
    found = []
    for study in storage.get_all_studies():
        plan = plan_of(study.user_attrs)
        emptied = plan is None and PLAN in study.user_attrs and study.study_name.startswith(f"{name}/")
        if emptied or (plan is not None and plan["comparison"] == name):
            _require_whole(study, plan or {})
            found.append(study)
    return found


def _require_whole(study: FrozenStudy, plan: Mapping[str, Any]) -> None:
    lacking = [key for key in _PLAN_HOLDS if key not in plan]
    lacking += [] if "kind" in lacking or plan["kind"] in _KINDS else ["a kind that it knows"]
    if lacking:
        raise StorageError(
            f"A study of a comparison must keep what lr_search wrote of it, but {study.study_name!r} lacks {', '.join(lacking)} in "
            f"its attribute {PLAN!r}: another program changed it. {_REMEDY}"
        )


@contextlib.contextmanager
def as_written(what: str) -> Iterator[None]:
    """Inside, what lr_search stored is read. Args: what: it is. Raises: StorageError: it is not as lr_search wrote it."""
    try:
        yield
    except (InvalidInputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(
            f"{what} must be as lr_search wrote it, but cannot be read ({type(error).__name__}: {error}): another program or version "
            f"changed it. {_REMEDY}"
        ) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
