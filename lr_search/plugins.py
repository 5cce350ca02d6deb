"""Strategies, schedules and executors by name, from entry points: those of this package are registered there too, so there is one way in."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lr_search.errors import LRSearchError, error_text, unknown_name, user_code

STRATEGIES = "lr_search.strategies"
SCHEDULES = "lr_search.schedules"
EXECUTORS = "lr_search.executors"


@cache
def registered(group: str) -> dict[str, EntryPoint]:
    """Every entry point of the group by name, sorted."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def load_plugin(group: str, name: str) -> Any:
    """The object registered under that name.

    Raises:
        UnknownNameError: nothing is registered under it; the message has the nearest names.
        LRSearchError: the package that registered it cannot be imported.
    """
    points = registered(group)
    if name not in points:
        raise unknown_name(group.rpartition(".")[2].removesuffix("s").replace("strategie", "strategy"), name, points)
    try:
        with user_code:
            return points[name].load()
    except Exception as error:  # a plug-in is code of others
        raise LRSearchError(
            f"{name!r} is registered as {points[name].value}, which cannot be imported: {error_text(error)}"
        ) from error
