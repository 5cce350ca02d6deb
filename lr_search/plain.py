"""Settings as plain values: what JSON takes, alike on every machine and in every process."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

_DEEPEST = 6  # objects within objects
_MOST = 64  # entries of a list or mapping
_SMALL = 16  # numbers of an array that are kept as they are


def plain_value(value: Any, depth: int = _DEEPEST) -> Any:
    """A value as JSON takes it: functions and classes by name, objects by their class and attributes, large arrays by a hash.

    No address and no order of a set is in it, so that two processes write the same.

    Args:
        value: anything.
        depth: how many containers within each other are looked into.

    >>> plain_value((0.9, float("inf"), np.float32(0.5), math.sqrt))
    [0.9, 'inf', 0.5, 'math.sqrt']
    """
    if value is None or isinstance(value, bool | int | str):
        return value.name if isinstance(value, Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Enum):
        return value.name
    if depth == 0:
        return _name(type(value))
    return _plain_container(value, depth - 1)


def _plain_container(value: Any, depth: int) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        entries = list(value.items())
        held = {str(key): plain_value(each, depth) for key, each in entries[:_MOST]}
        return held if len(entries) <= _MOST else {**held, "...": _rest(entries[_MOST:], depth)}
    if isinstance(value, list | tuple):
        return _several(value, depth)
    if isinstance(value, set | frozenset):
        return _several(sorted(value, key=repr), depth)
    if hasattr(value, "tolist") and hasattr(value, "shape"):
        return _array(value, depth)
    if isinstance(value, partial):
        arguments: dict[Any, Any] = {**dict(enumerate(value.args)), **value.keywords}
        return {
            "function": _name(value.func),
            **{str(key): plain_value(each, depth) for key, each in arguments.items()},
        }
    if hasattr(value, "get_state") and not isinstance(value, type):  # a random generator: where it stands is no setting
        return _name(type(value))
    if isinstance(value, ModuleType) or (callable(value) and hasattr(value, "__qualname__")):
        return _name(value)
    attributes = {
        key.lstrip("_"): plain_value(each, depth) for key, each in sorted(getattr(value, "__dict__", {}).items())
    }
    return {"class": _name(type(value)), **attributes} if attributes else _name(type(value))


def _several(values: Iterable[Any], depth: int) -> list[Any]:
    held = list(values)
    more = [_rest(held[_MOST:], depth)] if len(held) > _MOST else []
    return [plain_value(each, depth) for each in held[:_MOST]] + more


def _rest(values: Sequence[Any], depth: int) -> str:
    """Of a long list: how many more there are, and a hash of them."""
    text = repr([plain_value(each, depth) for each in values])
    return f"{len(values)} more, {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _array(value: Any, depth: int) -> Any:
    if math.prod(value.shape) <= _SMALL:
        return plain_value(value.tolist(), depth + 1)
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    return f"array {tuple(array.shape)} {hashlib.sha256(array.tobytes()).hexdigest()[:8]}"


def _name(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", type(value).__name__)
    return name if module in (None, "builtins") else f"{module}.{name}"
