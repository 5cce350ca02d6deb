"""Finds what cannot be pickled in an object, and words where it is as a user knows it."""

from __future__ import annotations

import dis
import functools
import io
import types
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ray import cloudpickle

MAX_DEPTH = 30  # of the descent
MAX_WORDS = 80  # characters of one name on the way
MAX_NAMES = 5
_GLOBAL = ("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL")
_LEFT_OUT = (types.GetSetDescriptorType, types.MemberDescriptorType)  # of a class: made anew with it


class Part(NamedTuple):
    """Something that an object holds.

    Args:
        label: how it is reached: ".name", "[key]", or a name of its own, such as a closure's variable; "": as its holder.
        value: what it is.
        of_main: whether it is a global of a script or notebook.
    """

    label: str
    value: object
    of_main: bool = False


@dataclass(frozen=True)
class Culprit:
    """What cannot be pickled.

    Args:
        names: how it is reached, each name held by the one before.
        value: what it is.
        error: why not.
        of_main: whether a global of a script or notebook is on the way.
    """

    names: tuple[str, ...]
    value: object
    error: Exception
    of_main: bool = False

    def __str__(self) -> str:
        first, *names = (_shortened(name) for name in self.names)
        if len(names) > MAX_NAMES:
            names = [*names[:2], "...", *names[-2:]]
        kind = type(self.value)
        called = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        why = f"cannot be pickled ({type(self.error).__name__}: {' '.join(str(self.error).split())})"
        if not names:
            return f"{first} ({called}) {why}"
        return f"{first} holds {', which holds '.join(f'`{name}`' for name in names)} ({called}), which {why}"

    def to(self, piece: Part, error: Exception) -> Culprit:
        """A piece of it that cannot be pickled either."""
        *before, last = self.names
        names = (*before, last + piece.label) if piece.label[:1] in ("", ".", "[") else (*self.names, piece.label)
        return replace(self, names=names, value=piece.value, error=error, of_main=self.of_main or piece.of_main)


def unpicklable(value: object, name: str) -> Culprit | None:
    """The innermost thing in it that cannot be pickled; None where all can.

    Args:
        value: what is to be pickled.
        name: what the user calls it.

    >>> import threading
    >>> print(unpicklable({"lock": threading.Lock()}, "workload.model"))
    workload.model['lock'] (_thread.lock) cannot be pickled (TypeError: cannot pickle '_thread.lock' object)
    """
    error = _why_not(value)
    if error is None:
        return None
    whole = Culprit((name,), value, error)
    return _innermost(whole, {}, 0) or whole


def _innermost(at: Culprit, seen: dict[int, object], depth: int) -> Culprit | None:
    """The first dead end; None where only what was seen already is in the way."""
    if depth == MAX_DEPTH:
        return at
    seen[id(at.value)] = at.value  # kept, or the id could become another's
    blocked = False
    for piece in _pieces(at.value):
        if id(piece.value) in seen:
            blocked = True
        elif (error := _why_not(piece.value)) is not None:
            blocked = True
            culprit = _innermost(at.to(piece, error), seen, depth + 1)
            if culprit is not None:
                return culprit
    return None if blocked else at


class _Nowhere(io.RawIOBase):
    """Takes what is written, and keeps nothing: data may be large."""

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def _why_not(value: object) -> Exception | None:
    try:
        cloudpickle.dump(value, _Nowhere())
    except Exception as error:
        return error
    return None


def _pieces(value: object) -> Iterator[Part]:
    """What pickling it by value would pickle."""
    if isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif isinstance(value, types.MethodType):
        yield Part("self", value.__self__)
        yield Part("", value.__func__)
    elif isinstance(value, functools.partial):
        yield Part("", value.func)
        yield from (Part(f".args[{i}]", argument) for i, argument in enumerate(value.args))
        yield from (Part(name, argument) for name, argument in value.keywords.items())
    elif isinstance(value, type):
        own = vars(value).items()
        yield from (
            Part(f".{name}", member)
            for name, member in own
            if not isinstance(member, _LEFT_OUT) and name != "_abc_impl"
        )
        yield from (Part(base.__name__, base) for base in value.__bases__)
    elif type(value) is dict:
        yield from _of_pairs(value.items())
    elif isinstance(value, tuple) or type(value) is list:
        yield from (Part(f"[{i}]", item) for i, item in enumerate(value))
    elif type(value) in (set, frozenset):
        yield from (Part("", item) for item in value)  # type: ignore[attr-defined]
    else:
        yield from _of_object(value)


def _of_function(function: types.FunctionType) -> Iterator[Part]:
    """The pieces of a function that goes by value: what it was made with, and the globals it names."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a variable without a value yet
            yield Part(name, cell.cell_contents)
    for name in sorted(_globals_of(code) & function.__globals__.keys()):
        yield Part(name, function.__globals__[name], function.__module__ == "__main__")
    defaults = function.__defaults__ or ()
    named = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    yield from (Part(name, default) for name, default in zip(named, defaults, strict=True))
    yield from (Part(name, default) for name, default in (function.__kwdefaults__ or {}).items())
    yield from (Part(f".{name}", attribute) for name, attribute in vars(function).items())


def _globals_of(code: types.CodeType) -> set[str]:
    names = {instruction.argval for instruction in dis.get_instructions(code) if instruction.opname in _GLOBAL}
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return names.union(*(_globals_of(const) for const in inner))


def _of_object(value: object) -> Iterator[Part]:
    """The pieces of any other object: what its own way of being pickled gives."""
    reducer = cloudpickle.CloudPickler.dispatch_table.get(type(value))
    try:
        reduced = value.__reduce_ex__(5) if reducer is None else reducer(value)
    except Exception:  # it refuses to be pickled at all
        return
    if isinstance(reduced, str):
        return
    made_by, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):  # with __slots__
        state = {**(state[0] or {}), **state[1]}
    if isinstance(state, dict):
        yield from (Part(f".{name}", attribute) for name, attribute in state.items())
    else:
        yield from (_known(value, part) for part in (state if isinstance(state, list | tuple) else [state]))
    yield from (_known(value, part) for part in (*arguments, made_by))
    yield from (Part(f"[{i}]", item) for i, item in enumerate(items or ()))
    yield from _of_pairs(pairs or ())


def _of_pairs(pairs: Any) -> Iterator[Part]:
    for key, value in pairs:
        yield Part("", key)
        yield Part(f"[{key!r}]", value)


def _known(holder: object, value: object) -> Part:
    """A piece by the name of the attribute that holds it, where there is one; a class by its own name."""
    if isinstance(value, type):
        return Part(value.__name__, value)
    slots = (name for kind in type(holder).__mro__ for name in getattr(kind, "__slots__", ()))
    names = (*getattr(holder, "__dict__", ()), *slots)
    return Part(next((f".{name}" for name in names if getattr(holder, name, None) is value), ""), value)


def _shortened(name: str) -> str:
    half = MAX_WORDS // 2
    return name if len(name) <= MAX_WORDS else f"{name[:half]}...{name[-half:]}"
