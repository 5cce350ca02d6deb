"""The exceptions a user can meet, as a small tree; `require`, which words them; and `user_code`, for what the user's code raises."""

from __future__ import annotations

import difflib
import inspect
import re
import signal
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import ContextDecorator
from functools import partial
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any


class LRSearchError(Exception):
    """The root of every error this package raises on purpose."""


class InvalidInputError(LRSearchError, ValueError):
    """An argument breaks a rule."""


class UnknownNameError(InvalidInputError):
    """A strategy, schedule, rule, executor or comparison of that name does not exist."""


class WorkloadError(InvalidInputError):
    """A workload cannot be trained as it is given: no data, no parameters, no scalar loss, no such metric."""


class MissingPackageError(LRSearchError, ImportError):
    """An optional package is needed and not installed."""


class StorageError(LRSearchError):
    """A storage cannot be opened, or is not one of ours."""


class FingerprintError(StorageError):
    """The storage holds a comparison of that name that trained something else."""


class RestoreError(LRSearchError):
    """Something that a range test touched could not be put back."""


class OutputError(LRSearchError):
    """A file or folder cannot be written."""


class TrialsFailedError(LRSearchError):
    """Three trials in a row ended with an exception in the user's code."""


class ClusterError(LRSearchError):
    """The Ray cluster does not answer, or cannot do what is asked."""


class TimeUpError(BaseException):
    """A time limit is over: raised inside the user's code. No `Exception`, so that no code takes it for a failure of its own."""


class ClusterLostError(ClusterError):
    """Ray has died in the middle of a comparison, which can go on with another."""


def require(condition: bool, rule: str, remedy: str = "", /, **values: object) -> None:
    """Raise `InvalidInputError` unless `condition` holds.

    Args:
        condition: what must be true.
        rule: the rule in words, without the full stop.
        remedy: what to do, as a sentence; optional where the rule says it.
        **values: what came, by name; under the name `got`, without one.

    >>> require(0.1 > 0.3, "max_lr must be above base_lr", max_lr=0.1, base_lr=0.3)
    Traceback (most recent call last):
    ...
    lr_search.errors.InvalidInputError: max_lr must be above base_lr, but got max_lr=0.1, base_lr=0.3.
    """
    if condition:
        return
    values_text = ", ".join(repr(value) if name == "got" else f"{name}={value!r}" for name, value in values.items())
    message = f"{rule}, but got {values_text}." if values_text else f"{rule}."
    raise InvalidInputError(f"{message} {remedy}".rstrip())


def require_bool(optional: bool = False, /, **values: object) -> None:
    """Raise `InvalidInputError` unless each value is True or False, NumPy's too: every other object is true or false by accident.

    Args:
        optional: whether None will do as well.
        **values: what came, by name.

    >>> require_bool(fresh="no")
    Traceback (most recent call last):
    ...
    lr_search.errors.InvalidInputError: fresh must be True or False, but got 'no'.
    """
    choices = "True, False or None" if optional else "True or False"
    for name, value in values.items():
        good = isinstance(value, bool) or (value is None and optional) or _is_numpy_bool(value)
        require(good, f"{name} must be {choices}", got=value)


def require_bool_options(function: Callable[..., object], options: Mapping[str, object]) -> None:
    """Raise `InvalidInputError` where a function of others' takes an option by True or False, and it is given something else.

    Args:
        function: its signature says so: by the default, or by the annotation `bool` or `bool | None`.
        options: what it is to be called with, by name.

    >>> require_bool_options(lambda *, verbose=False: None, {"verbose": "no"})
    Traceback (most recent call last):
    ...
    lr_search.errors.InvalidInputError: verbose must be True or False, but got 'no'.
    """
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = parameter.annotation
        words = set(re.findall(r"\w+", annotation.__name__ if isinstance(annotation, type) else str(annotation)))
        is_bool = "bool" in words and words <= {"bool", "None", "Optional", "typing"}
        if name in options and (isinstance(parameter.default, bool) or is_bool):
            require_bool(bool(words & {"None", "Optional"}), **{name: options[name]})


def _is_numpy_bool(value: object) -> bool:
    import numpy as np  # here: `import lr_search` loads nothing heavy

    return isinstance(value, np.bool_)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Word the error for a name that does not exist, nearest names first."""
    names = sorted(known)
    nearest = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(n) for n in nearest)}? " if nearest else ""
    return UnknownNameError(
        f"The {kind} must be one that exists, but got {name!r}. {hint}Known: {', '.join(names) or 'none'}."
    )


class UserCode(ContextDecorator):
    """Code that the user wrote runs inside: whatever it raises is a failure of it, and never a signal to what runs around it.

    A StopIteration would end a loop without a word, a SystemExit the program with exit code 0; GeneratorExit, CancelledError and
    other exceptions that are no `Exception` pass by whoever keeps failures. They become a RuntimeError, chained to what was
    raised, as Python itself does it in generators (PEP 479). Ctrl-C, the end of the time, and what a signal's handler raises, stay
    as they are.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and _is_control_flow(error) and not _raised_by_signal(trace):
            raise RuntimeError(f"The user's code raised {_in_one_line(error)}") from error


user_code = UserCode()


def _is_control_flow(error: BaseException) -> bool:
    return isinstance(error, StopIteration) or not isinstance(error, Exception | KeyboardInterrupt | TimeUpError)


def _raised_by_signal(trace: TracebackType | None) -> bool:
    """Whether the handler of a signal raised it, such as one that ends the program on SIGTERM: no matter where that came."""
    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(trace))


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, partial):
        handler = handler.func
    code = getattr(handler, "__code__", None)
    if code is None and callable(handler):  # an object
        code = getattr(type(handler).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None


def raised_by_user(error: BaseException) -> BaseException:
    """What the user's code raised, where `user_code` or a generator has made a RuntimeError of it; else the exception itself."""
    cause = error.__cause__
    converted = isinstance(error, RuntimeError) and cause is not None and _is_control_flow(cause)
    return cause if converted and cause is not None else error


def printable(text: str) -> str:
    r"""The text with an escape for what moves a terminal's cursor, rings its bell or cannot be written; lines and tabs stay.

    >>> printable("red \x1b[31m and\n a line")
    'red \\x1b[31m and\n a line'
    """
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )


def require_name(what: str, name: object) -> None:
    """Raises: InvalidInputError: it is no text, empty, or holds what cannot be printed: it would stand in terminals, tables and files."""
    good = isinstance(name, str) and bool(name.strip()) and name.isprintable()
    require(good, f"{what} must be a text of printable characters that is not empty", got=name)


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:  # it is the user's class
        return f"(its text cannot be had: {type(another).__name__})"


def _in_one_line(error: BaseException) -> str:
    words = printable(" ".join(_words_of(error).split()))
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The places in the user's own code that an exception came through, outermost first: not in packages, nor in Python itself."""
    others = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), "<frozen ")
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if "-packages" not in frame.filename and not frame.filename.startswith(others)]


def error_text(error: BaseException) -> str:
    """An exception in one line, with the last place in the user's own code that it came through."""
    error = raised_by_user(error)
    text = _in_one_line(error)
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or isinstance(error, SyntaxError):  # a SyntaxError names its place itself
        return text
    frame = (user_frames(error) or frames)[-1]
    return f"{text} ({Path(frame.filename).name}, line {frame.lineno})"
