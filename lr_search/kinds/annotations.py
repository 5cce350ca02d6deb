"""From the annotation of a parameter to the kind of value that it takes."""

from __future__ import annotations

import builtins
import collections.abc
import types
from collections.abc import Mapping
from dataclasses import InitVar
from pathlib import Path
from typing import Annotated, Any, ForwardRef, Literal, Union, get_args, get_origin

import numpy as np
import numpy.typing as npt

from lr_search.kinds.containers import ARRAY, NUMBERS, iterable, mapping_of, sequence_of, tuple_of
from lr_search.kinds.kind import (
    BOOLEAN,
    CLASS,
    FUNCTION,
    NONE,
    NUMBER,
    NUMBER_OR_NAN,
    PATH,
    TEXT,
    WHOLE_NUMBER,
    Kind,
    WrongKindError,
    either,
    object_named,
    object_of,
    one_of,
)
from lr_search.kinds.ranges import Least

NAN = object()
MaybeNan = Annotated[float, NAN]  # nan where it is not known
_SIMPLE: dict[Any, Kind] = {
    int: WHOLE_NUMBER, float: NUMBER, bool: BOOLEAN, str: TEXT, type(None): NONE, None: NONE, Path: PATH, type: CLASS,
}  # fmt: skip
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_SEQUENCES = (list, collections.abc.Sequence)


class _Elsewhere:
    """A name that the module imports for types alone: the last of `pandas.DataFrame` is what its class is called."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> _Elsewhere:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Elsewhere(name)

    def __getitem__(self, arguments: object) -> _Elsewhere:
        return self

    def __or__(self, other: Any) -> Any:
        return Union[_reference(self), _reference(other)]  # noqa: UP007  either may be no type

    def __ror__(self, other: Any) -> Any:
        return Union[_reference(other), _reference(self)]  # noqa: UP007


def _reference(hint: Any) -> Any:
    return ForwardRef(hint.name) if isinstance(hint, _Elsewhere) else hint


class _Names(dict[str, Any]):
    """The names that an annotation may use: the module's, Python's, and others as `_Elsewhere`."""

    def __init__(self, module: Mapping[str, Any]) -> None:
        super().__init__()
        self.module = module

    def __missing__(self, name: str) -> Any:
        if name in self.module:
            return self.module[name]
        return getattr(builtins, name) if hasattr(builtins, name) else _Elsewhere(name)


def kind_of(annotation: Any, module: Mapping[str, Any]) -> Kind | None:
    """What a parameter with that annotation takes.

    Args:
        annotation: a type, or its source as `from __future__ import annotations` keeps it.
        module: the names of the module where it stands.

    Returns:
        None where anything may be passed.

    >>> kind_of("int | None", {}).words
    'a whole number or None'
    """
    hint = eval(annotation, {}, _Names(module)) if isinstance(annotation, str) else annotation
    return _kind(_reference(hint))


def _kind(hint: Any) -> Kind | None:
    try:
        if hint in _SIMPLE:
            return _SIMPLE[hint]
    except TypeError:  # it has no hash
        return None
    if isinstance(hint, InitVar):
        return _kind(_reference(hint.type))
    if hint is npt.ArrayLike:
        return NUMBERS
    if get_origin(hint) is np.ndarray:
        return ARRAY
    if isinstance(hint, ForwardRef | _Elsewhere):
        return object_named(hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint.name)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is not None:
        return _of_others(origin, arguments)
    if hint in (Any, object) or not isinstance(hint, type) or getattr(hint, "_is_protocol", False):
        return None
    return object_of(hint, _called(hint))


def _of_others(origin: Any, arguments: tuple[Any, ...]) -> Kind | None:
    if origin is Annotated:
        return _annotated(_kind(arguments[0]), arguments[1])
    if origin in (Union, types.UnionType):
        return _either(arguments)
    if origin is Literal:
        return one_of(arguments)
    if origin is collections.abc.Callable:
        return FUNCTION
    if origin is type:
        return CLASS
    if origin is tuple and Ellipsis not in arguments:
        return tuple_of([_kind(each) for each in arguments])
    if origin in (*_SEQUENCES, tuple):
        return sequence_of(_kind(arguments[0]))
    if origin in _MAPPINGS:
        return mapping_of(*map(_kind, arguments))
    if origin in (collections.abc.Iterable, collections.abc.Iterator):
        return iterable()
    return _kind(origin) if isinstance(origin, type) else None


def _either(hints: tuple[Any, ...]) -> Kind | None:
    kinds = [_kind(hint) for hint in hints]
    if {str, Path} <= set(hints):
        kinds = [kind for kind in kinds if kind is not TEXT]
    known = [kind for kind in kinds if kind is not None]
    return either(known) if len(known) == len(kinds) else None


def _annotated(kind: Kind | None, more: object) -> Kind | None:
    """The kind that an alias such as `Annotated[int, Least(0)]`, or `Annotated[Callable[[], Any], "Pass a function."]` means."""
    if more is NAN:
        return NUMBER_OR_NAN
    if kind is None:
        return None
    return more.of(kind) if isinstance(more, Least) else _with_remedy(kind, str(more))


def _with_remedy(inner: Kind, remedy: str) -> Kind:
    def take(value: Any) -> Any:
        try:
            return inner.take(value)
        except WrongKindError as error:
            raise WrongKindError(error.remedy or remedy, error.error) from None

    return Kind(inner.words, take)


def _called(kind: type) -> str:
    package = kind.__module__.split(".")
    if package[0] == "builtins":
        return kind.__name__
    return ".".join([*package[: 1 if package[0].startswith("lr_search") else 2], kind.__name__])
