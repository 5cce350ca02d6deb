"""Executors by the names under which they are registered."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lr_search import plugins
from lr_search.errors import InvalidInputError, unknown_name
from lr_search.executors.executor import Executor


def executor_by_name(
    name: str, options: Mapping[str, Any] | None = None, offered: Mapping[str, Any] | None = None
) -> Executor:
    """A new executor of the class registered under that name.

    Args:
        name: see `lr-search list`.
        options: its arguments, by name; what it makes of them is its own matter where it has a class method `of_options`, and
            further names in `OPTIONS`.
        offered: further arguments, for an executor that has such.

    Raises:
        UnknownNameError: nothing is registered under that name, or it has no such argument.
        InvalidInputError: an argument breaks its rule, or what is registered is no executor.
    """
    made = plugins.load(plugins.EXECUTORS, name)
    given = dict(options or {})
    if callable(made):
        known = [*inspect.signature(made).parameters, *getattr(made, "OPTIONS", ())]
        unknown = next((each for each in given if each not in known), None)
        if unknown is not None:
            raise unknown_name(f"option of the executor {name!r}", unknown, known)
        given = {each: value for each, value in (offered or {}).items() if each in known} | given
        made = made.of_options(given) if hasattr(made, "of_options") else made(**given)
    executor: Executor = made
    if not hasattr(executor, "run"):
        raise InvalidInputError(f"The executor {name!r} must have a method run(tasks, progress), but got {executor!r}.")
    return executor
