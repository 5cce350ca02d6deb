"""Kinds of several values: lists, pairs, mappings, arrays of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lr_search.kinds.kind import Kind, WrongKindError, require_no_class

MOST_LOOKED_AT = 10_000  # entries: what comes after them is left to whoever walks through it
_TUPLES = {2: "a pair", 3: "three"}


def sequence_of(each: Kind | None) -> Kind:
    """A list, a tuple, a range or a one-dimensional array, but no text."""

    def take(value: Any) -> Any:
        is_array = isinstance(value, np.ndarray) or (hasattr(value, "tolist") and hasattr(value, "shape"))
        if isinstance(value, str | bytes) or not (isinstance(value, Sequence) or (is_array and len(value.shape) > 0)):
            raise WrongKindError
        if each is None or isinstance(value, range):
            return value
        return _entries(value.tolist() if is_array else value, each)

    return Kind(f"a sequence of {_several(each)}" if each else "a sequence", take)


def _entries(values: Sequence[Any], each: Kind) -> Any:
    taken = [each.take(value) for value in values[:MOST_LOOKED_AT]] + list(values[MOST_LOOKED_AT:])
    return tuple(taken) if isinstance(values, tuple) else taken


def tuple_of(kinds: Sequence[Kind | None]) -> Kind:
    """A sequence of as many values as there are kinds; a list will do."""
    of_any = sequence_of(None)

    def take(value: Any) -> Any:
        values = list(of_any.take(value)) if not isinstance(value, range) else list(value[: len(kinds) + 1])
        if len(values) != len(kinds):
            raise WrongKindError
        return tuple(kind.take(value) if kind else value for kind, value in zip(kinds, values, strict=True))

    words = {kind.words if kind else "" for kind in kinds}
    count = _TUPLES.get(len(kinds), str(len(kinds)))
    each = next(iter(words)).partition(" ")[2] if len(words) == 1 else "value"
    return Kind(f"{count} of {each}s", take)


def iterable() -> Kind:
    """What can be walked through, but no text."""

    def take(value: Any) -> Any:
        if isinstance(value, str | bytes) or not (isinstance(value, Iterable) or hasattr(value, "__getitem__")):
            raise WrongKindError
        require_no_class(value)
        if getattr(value, "shape", None) == ():
            raise WrongKindError("It has no dimension.")
        return value

    return Kind("an iterable", take)


def mapping_of(key: Kind | None, each: Kind | None) -> Kind:
    """A dict, or whatever else maps."""

    def take(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise WrongKindError
        if (key is None and each is None) or len(value) > MOST_LOOKED_AT:
            return value
        taken = {key.take(name) if key else name: each.take(held) if each else held for name, held in value.items()}
        same = all(a is b for a, b in zip(taken.values(), value.values(), strict=True)) and [*taken] == [*value]
        return value if same else taken

    to = f" to {_several(each)}" if each else ""
    return Kind(f"a mapping of {_several(key)}{to}" if key else "a mapping", take)


def _several(kind: Kind) -> str:
    article, _, noun = kind.words.partition(" ")
    return f"{noun}s" if article in ("a", "an") and " or " not in noun and "," not in noun else kind.words


def _numbers(value: Any) -> Any:
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        raise WrongKindError from None
    if array.dtype.kind not in "fiu":
        raise WrongKindError
    return value


def _array(value: Any) -> Any:
    value = _numbers(value)
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


ARRAY = Kind("an array of numbers", _array)
NUMBERS = Kind("a number, or an array of numbers", _numbers, (float,))
