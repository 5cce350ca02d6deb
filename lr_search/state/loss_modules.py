"""The modules that a loss or a metric uses beside the model: a criterion with a running centre, a teacher."""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from lr_search.state.holdings import attributes, is_apart

_MOST_ITEMS = 1000  # of a container that is looked through: a data set is longer


def loss_modules(functions: Iterable[Any]) -> dict[str, nn.Module]:
    """By name, the modules that these functions reach.

    Looked for among what a function closes over, its defaults and the globals it names, a method's object, a partial's
    arguments and a callable object's attributes.

    >>> criterion = nn.CrossEntropyLoss()
    >>> loss_modules([lambda model, batch: criterion(model(batch[0]), batch[1])])
    {'criterion': CrossEntropyLoss()}
    """
    modules: dict[str, nn.Module] = {}
    seen: set[int] = set()
    waiting = [("loss", function) for function in functions]
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            modules[name if name not in modules else f"{name} {len(modules)}"] = value
        elif not is_apart(value):
            waiting += _used_by(value)
    return modules


def _used_by(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, types.FunctionType):
        yield from zip(value.__code__.co_freevars, map(_content, value.__closure__ or ()), strict=True)
        yield from ((name, value.__globals__[name]) for name in _names(value.__code__) if name in value.__globals__)
        yield from (("default", each) for each in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()))
    elif isinstance(value, types.MethodType):
        owner = value.__self__
        yield "function", value.__func__
        yield from [("self", owner)] if isinstance(owner, nn.Module) else attributes(owner).items()
    elif isinstance(value, functools.partial):
        yield from (("function", value.func), *(("argument", each) for each in value.args), *value.keywords.items())
    elif isinstance(value, dict) and len(value) <= _MOST_ITEMS:
        yield from ((str(key), each) for key, each in value.items())
    elif isinstance(value, list | tuple) and len(value) <= _MOST_ITEMS:
        yield from ((f"[{index}]", each) for index, each in enumerate(value))
    elif callable(value) and not isinstance(value, type):
        yield from attributes(value).items()


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _names(code: types.CodeType) -> Iterator[str]:
    """The globals that a function's code uses, in the functions within it too."""
    yield from (each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL")
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
