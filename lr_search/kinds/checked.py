"""The decorator that checks, before a function does anything, that each argument is of the kind that its annotation says."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lr_search.errors import quoted
from lr_search.kinds.annotations import kind_of
from lr_search.kinds.kind import Kind, WrongKindError

Thing = TypeVar("Thing", bound=Callable[..., Any])
_EMPTY = inspect.Parameter.empty


def checked(thing: Thing) -> Thing:
    """A function, or a class with its constructor and public methods, whose arguments are checked by their annotations.

    NumPy's scalars, and arrays and tensors on the CPU without dimensions, are taken as Python's numbers. What a plug-in's or a
    user's class overrides is not checked.

    Raises, when called:
        InvalidInputError: an argument is of another kind: the name, what it must be, and what came.

    >>> @checked
    ... def warm_up(lr: float, num_steps: int | None = None): ...
    >>> warm_up(0.1, num_steps="ten")
    Traceback (most recent call last):
    ...
    lr_search.errors.InvalidInputError: num_steps must be a whole number or None, but got 'ten'.
    """
    if not isinstance(thing, type):
        return _checked_function(thing, {})  # type: ignore[return-value]
    for name, attribute in [*vars(thing).items()]:
        if name == "__init__":
            setattr(thing, name, _checked_function(attribute, _fields(thing)))
        elif not name.startswith("_") and isinstance(attribute, staticmethod | classmethod):
            setattr(thing, name, type(attribute)(_checked_function(attribute.__func__, {})))
        elif not name.startswith("_") and inspect.isfunction(attribute):
            setattr(thing, name, _checked_function(attribute, {}))
    return thing


def is_checked(function: object) -> bool:
    """Whether the arguments of a function, or of a class's constructor, are checked."""
    function = getattr(function, "__init__", function) if isinstance(function, type) else function
    return hasattr(getattr(function, "__func__", function), "__lr_search_kinds__")


def _fields(kind: type) -> dict[str, Mapping[str, Any]]:
    """By the name of a class's field, the names of the module where it is annotated: it may be a base's."""
    modules: dict[str, Mapping[str, Any]] = {}
    for base in reversed(kind.__mro__):
        for name in inspect.get_annotations(base):
            modules[name] = vars(sys.modules[base.__module__])
    return modules


def _checked_function(function: Callable[..., Any], modules: Mapping[str, Mapping[str, Any]]) -> Callable[..., Any]:
    parameters = inspect.signature(function).parameters
    if not any(parameter.annotation is not _EMPTY for parameter in parameters.values()):
        return function
    kinds: list[Mapping[str, Kind]] = []  # read at the first call: annotations may name what is defined later
    places = [
        each.name for each in parameters.values() if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not kinds:
            kinds.append(_kinds(function, modules))
        known = kinds[0]
        values = [
            taken(known[name], name, value) if name in known else value
            for name, value in zip(places, args, strict=False)
        ]
        for name, value in kwargs.items():
            if name in known:
                kwargs[name] = taken(known[name], name, value)
        return function(*values, *args[len(values) :], **kwargs)

    call.__lr_search_kinds__ = True  # type: ignore[attr-defined]
    return call


def _kinds(function: Callable[..., Any], modules: Mapping[str, Mapping[str, Any]]) -> dict[str, Kind]:
    kinds = {}
    own = inspect.unwrap(function).__globals__
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.annotation is _EMPTY or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kind = kind_of(parameter.annotation, modules.get(name, own))
        if kind is not None:
            kinds[name] = kind
    return kinds


def taken(kind: Kind, name: str, value: Any) -> Any:
    """The value as that kind takes it.

    Raises:
        InvalidInputError: it is of another kind.
    """
    if type(value) in kind.quick:
        return value
    try:
        return kind.take(value)
    except WrongKindError as error:
        message = f"{name} must be {kind.words}, but got {quoted(value)}. {error.remedy}".rstrip()
        raise error.error(message) from None
