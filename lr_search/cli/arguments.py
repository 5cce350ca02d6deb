"""What the words of the command line mean: strategies, a range of LRs, a pruner, the options of an executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from lr_search.errors import InvalidInputError, quoted

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


def names(text: str) -> list[str]:
    """A comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def strategies(text: str) -> dict[str, Any]:
    """A comma-separated list of NAME or NAME=LR."""
    chosen: dict[str, Any] = {}
    for item in names(text):
        name, equals, lr = item.partition("=")
        if name in chosen:
            raise InvalidInputError(f"--strategies must differ in name, but got {quoted(name)} twice.")
        try:
            chosen[name] = float(lr) if equals else name
        except ValueError:
            raise InvalidInputError(f"--strategies takes NAME or NAME=LR, but got {quoted(item)}.") from None
    return chosen


def today(text: str) -> dict[str, Any]:
    """The LR of LR or LR,SCHEDULE, and the schedule."""
    lr, *schedule = (part.strip() for part in text.split(","))
    try:
        known = {"lr": float(lr)}
    except ValueError:
        known = {}
    if not known or len(schedule) > 1 or "" in schedule:
        raise InvalidInputError(f"--today must be LR or LR,SCHEDULE such as 3e-4,cosine, but got {quoted(text)}.")
    return {**known, "schedule": schedule[0]} if schedule else known


def pair(text: str) -> tuple[float, float]:
    """The two numbers of LOW,HIGH."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInputError(f"--lr-range must be LOW,HIGH such as 1e-5,10, but got {quoted(text)}.") from None
    return low, high


def pruner(name: str) -> BasePruner | Literal["auto"] | None:
    """One of Optuna's pruners; or "auto", or none."""
    if name.lower() in ("auto", "none"):
        return "auto" if name.lower() == "auto" else None
    from lr_search.studies.pruner_names import pruner_by_name

    return pruner_by_name(name)


def options(text: str) -> dict[str, Any]:
    """A comma-separated list of NAME=VALUE; a value that is a number, true, false or none becomes that."""
    values: dict[str, Any] = {}
    for item in names(text):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not name or name in values:
            raise InvalidInputError(
                f"--executor-options must be NAME=VALUE,... with each name once, but got {quoted(text)}."
            )
        values[name.replace("-", "_")] = _plain(value)
    return values


def _plain(value: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return words[value.lower()]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
