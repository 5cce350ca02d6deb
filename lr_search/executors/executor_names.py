"""Executors by the names under which they are registered."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lr_search import plugins
from lr_search.errors import InvalidInputError, quoted, unknown_name
from lr_search.executors.executor import Executor
from lr_search.kinds.options import taken_options


def executor_by_name(
    name: str, options: Mapping[str, Any] | None = None, offered: Mapping[str, Any] | None = None
) -> Executor:
    """A new executor of the class registered under that name.

    Args:
        name: see `lr-search list`.
        options: its arguments, by name, and what else it names in `Executor.OPTIONS`.
        offered: further arguments, for an executor that has such.

    Raises:
        UnknownNameError: nothing is registered under that name, or it has no such argument.
        InvalidInputError: an argument breaks its rule, or what is registered is no executor.
    """
    registered = plugins.load_plugin(plugins.EXECUTORS, name)
    executor = _built(name, registered, options or {}, offered or {}) if callable(registered) else registered
    if not isinstance(executor, Executor):
        raise InvalidInputError(
            f"The executor {quoted(name)} must be one, but got {quoted(executor)}. Inherit lr_search.executors.Executor."
        )
    return executor


def _built(name: str, registered: Any, options: Mapping[str, Any], offered: Mapping[str, Any]) -> object:
    """What the class, or the function that is registered, builds of the options; each must be an argument of it."""
    own = isinstance(registered, type) and issubclass(registered, Executor)
    known = [*inspect.signature(registered).parameters, *(registered.OPTIONS if own else ())]
    unknown = next((option for option in options if option not in known), None)
    if unknown is not None:
        raise unknown_name(f"option of the executor {quoted(name)}", unknown, known)
    arguments = {option: value for option, value in offered.items() if option in known} | {**options}
    arguments = taken_options(registered, arguments)
    return registered.of_options(arguments) if own else registered(**arguments)
