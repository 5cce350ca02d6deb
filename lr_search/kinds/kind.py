"""Kinds of single values: numbers, whole numbers, True and False, texts, paths, functions, objects of a class."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from lr_search.errors import InvalidInputError

LONGEST_FILE_NAME = 255  # bytes, on every file system in use


class WrongKindError(Exception):
    """A value is not of the kind.

    Args:
        remedy: what to do, as a sentence, where more can be said than what is wanted.
        error: what is raised in the end.
    """

    def __init__(self, remedy: str = "", error: type[InvalidInputError] = InvalidInputError) -> None:
        super().__init__(remedy)
        self.remedy, self.error = remedy, error


@dataclass(frozen=True)
class Kind:
    """What a value must be.

    Args:
        words: in words, after "must be": "a number", "True or False".
        take: gives the value as Python's own (float, int, bool, str) where it is NumPy's or torch's, or raises WrongKindError.
        quick: the types whose values are taken as they are, without a further look.
        choices: the words one by one, where they are several that exclude each other.
    """

    words: str
    take: Callable[[Any], Any]
    quick: tuple[type, ...] = ()
    choices: tuple[str, ...] = ()

    def fits(self, value: object) -> bool:
        """Whether a value is of the kind."""
        try:
            self.take(value)
        except WrongKindError:
            return False
        return True


def _number(value: Any) -> float:
    if type(value) is float and value == value:
        return value
    if type(value) is int:
        try:
            float(value)
        except OverflowError:
            raise WrongKindError from None
        return value
    value = _single(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real) or value != value:
        raise WrongKindError
    return int(value) if isinstance(value, int | np.integer) else float(value)


def _number_or_nan(value: Any) -> float:
    return value if isinstance(value, float) and value != value else _number(value)


def _whole_number(value: Any) -> int:
    value = _single(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise WrongKindError
    if not -(2**63) <= value < 2**63:
        raise WrongKindError("It does not fit into 64 bits.")
    return operator.index(value)


def _single(value: Any) -> Any:
    """A NumPy array or a tensor on the CPU that holds one number and has no dimension, as that number."""
    if getattr(value, "shape", None) != () or not hasattr(value, "item") or isinstance(value, np.generic):
        return value
    if getattr(getattr(value, "device", None), "type", "cpu") != "cpu":
        raise WrongKindError("Read it off its device first: .item()")
    return value.item()


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise WrongKindError
    return bool(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongKindError
    return str(value) if isinstance(value, np.str_) else value


def _path(value: Any) -> Any:
    if not isinstance(value, str) and not hasattr(value, "__fspath__"):
        raise WrongKindError
    if "\0" in str(value):
        raise WrongKindError("A path cannot hold the character NUL.")
    if any(len(part.encode(errors="replace")) > LONGEST_FILE_NAME for part in str(value).split("/")):
        raise WrongKindError(f"A file's name has at most {LONGEST_FILE_NAME} bytes.")
    return value


def _function(value: Any) -> Any:
    if not callable(value):
        raise WrongKindError
    return value


def _class(value: Any) -> Any:
    if not isinstance(value, type):
        raise WrongKindError
    return value


def _none(value: Any) -> None:
    if value is not None:
        raise WrongKindError


NUMBER = Kind("a number", _number)
NUMBER_OR_NAN = Kind("a number", _number_or_nan)
WHOLE_NUMBER = Kind("a whole number", _whole_number)
BOOLEAN = Kind("True or False", _boolean, (bool,), ("True", "False"))
TEXT = Kind("a text", _text, (str,))
PATH = Kind("a path", _path)
FUNCTION = Kind("a function", _function)
CLASS = Kind("a class", _class)
NONE = Kind("None", _none, (type(None),))


def one_of(choices: Sequence[object]) -> Kind:
    """One of a few values, mostly texts."""

    def take(value: Any) -> Any:
        if type(value) not in types or value not in choices:
            raise WrongKindError
        return value

    types = {type(choice) for choice in choices}
    words = tuple(repr(choice) for choice in choices)
    return Kind(_in_words(words), take, choices=words)


def object_of(kind: type, name: str) -> Kind:
    """An object of a class. Args: kind: the class, which may have a `kind_remedy` and `kind_error`; name: what it is called."""

    def take(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        require_no_class(value)
        raise WrongKindError(getattr(kind, "kind_remedy", ""), getattr(kind, "kind_error", InvalidInputError))

    return Kind(f"{_article(name)} {name}", take, (kind,))


def require_no_class(value: object) -> None:
    """Raises: WrongKindError: a class stands where an object of it is wanted."""
    if isinstance(value, type):
        raise WrongKindError(f"That is a class: pass an object of it, {value.__name__}(...).")


def _article(name: str) -> str:
    return "an" if name[0] in "AEIOaeio" or name.startswith("lr_search") else "a"


def object_named(name: str) -> Kind:
    """An object of a class that goes by that name: of a package that is not loaded here, which no other object can be of."""

    def take(value: Any) -> Any:
        if not any(base.__name__ == name for base in type(value).__mro__):
            raise WrongKindError
        return value

    return Kind(f"{_article(name)} {name}", take)


def either(kinds: Sequence[Kind]) -> Kind:
    """Of any of several kinds; the first that fits takes it."""

    def take(value: Any) -> Any:
        errors = []
        for kind in kinds:
            try:
                return kind.take(value)
            except WrongKindError as error:
                errors.append(error)
        raise next((error for error in errors if error.remedy), errors[0])

    words = tuple(word for kind in kinds for word in kind.choices or (kind.words,))
    return Kind(_in_words(words), take, tuple(each for kind in kinds for each in kind.quick), words)


def _in_words(choices: Sequence[str]) -> str:
    *most, last = choices
    return f"{', '.join(most)} or {last}" if most else last
