"""The options that a user gives for a function of others: a plugged-in executor, a schedule's layout."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lr_search.kinds.annotations import kind_of
from lr_search.kinds.checked import taken
from lr_search.kinds.kind import BOOLEAN


def taken_options(function: Callable[..., object], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a function takes them, by its annotations, or where it has none by a default that is True or False.

    Args:
        function: what they are for, not called.
        options: what it is to be called with, by name.

    Raises:
        InvalidInputError: one is of another kind.

    >>> taken_options(lambda *, verbose=False: None, {"verbose": "no"})
    Traceback (most recent call last):
    ...
    lr_search.errors.InvalidInputError: verbose must be True or False, but got 'no'.
    """
    inner = inspect.unwrap(function.__init__ if isinstance(function, type) else function)  # type: ignore[misc]
    module = getattr(inner, "__globals__", {})
    result = dict(options)
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in options:
            continue
        annotated = parameter.annotation is not parameter.empty
        kind = kind_of(parameter.annotation, module) if annotated else None
        if kind is None and not annotated and isinstance(parameter.default, bool):
            kind = BOOLEAN
        if kind is not None:
            result[name] = taken(kind, name, options[name])
    return result
