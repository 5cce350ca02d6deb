"""The exceptions a user can meet, as a small tree; `require`, which words them; and `user_code`, for what the user's code raises."""

from __future__ import annotations

import difflib
import functools
import reprlib
import signal
import sysconfig
import traceback
from bdb import BdbQuit
from collections.abc import Callable, Iterable, Sized
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, TypeVar, cast

MOST_QUOTED = 200  # characters of a value in a message
_SHORT = reprlib.Repr()


class LRSearchError(Exception):
    """The root of every error this package raises on purpose. What cannot be printed is escaped in its message."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(printable(each) if isinstance(each, str) else each for each in arguments))


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


class Stop(Exception):  # noqa: N818  the name that a training function meets
    """Nothing more is wanted of a training function: pruned, diverged, or the end of its range test. It must let it pass."""


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
    values_text = ", ".join(
        quoted(value) if name == "got" else f"{name}={quoted(value)}" for name, value in values.items()
    )
    message = f"{rule}, but got {values_text}." if values_text else f"{rule}."
    raise InvalidInputError(f"{message} {remedy}".rstrip())


def quoted(value: object) -> str:
    """A value as a message shows it: its repr in one line, at most 200 characters of it, whatever the value is.

    >>> quoted("a" * 1000)[-20:]
    "aaaaaaaaaaaaaaaaaa…'"
    >>> quoted(list(range(10**6)))
    '[0, 1, 2, 3, 4, 5, ...]'
    """
    is_large = isinstance(value, Sized) and not isinstance(value, str | bytes) and _length(value) > MOST_QUOTED
    try:
        text = (
            _SHORT.repr(value) if is_large else repr(value[:MOST_QUOTED] if isinstance(value, str | bytes) else value)
        )
    except Exception:  # it is the user's class, or a number of more digits than Python writes
        return f"<{type(value).__name__}>"
    text = printable(" ".join(text.split()) if "\n" in text else text)
    is_cut = len(text) > MOST_QUOTED or (isinstance(value, str | bytes) and len(value) > MOST_QUOTED)
    return f"{text[: MOST_QUOTED - 2]}…{text[-1]}" if is_cut else text


def _length(value: Sized) -> int:
    try:
        return len(value)
    except Exception:  # the user's class, or a tensor without dimensions
        return 0


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Word the error for a name that does not exist, nearest names first."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name[:MOST_QUOTED], names, n=3, cutoff=0.5) if isinstance(name, str) else []
    hint = f"Did you mean {' or '.join(repr(n) for n in nearest)}? " if nearest else ""
    return UnknownNameError(
        f"The {kind} must be one that exists, but got {quoted(name)}. {hint}Known: {', '.join(names) or 'none'}."
    )


_Function = TypeVar("_Function", bound=Callable[..., Any])


class UserCode:
    """Code that the user wrote runs inside: whatever it raises is a failure of it, and never a signal to what runs around it.

    A StopIteration would end a loop without a word, a SystemExit the program with exit code 0; GeneratorExit, CancelledError and
    other exceptions that are no `Exception` pass by whoever keeps failures. They become a RuntimeError, chained to what was
    raised, as Python itself does it in generators (PEP 479). Ctrl-C, the end of the time, and what a signal's handler raises, stay
    as they are.
    """

    def __call__(self, function: _Function) -> _Function:
        """The function, run inside."""

        @functools.wraps(function)
        def within(*args: Any, **kwargs: Any) -> Any:
            try:  # costs nothing, as `with self` would: every step of a training is taken within
                return function(*args, **kwargs)
            except BaseException as error:
                self.__exit__(type(error), error, error.__traceback__)
                raise

        return cast("_Function", within)

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
    while isinstance(handler, functools.partial):
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


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:  # it is the user's class
        return f"(its text cannot be had: {type(another).__name__})"


_QUIT = "a breakpoint() was quit, or found no terminal to ask at; take it out, or set PYTHONBREAKPOINT=0"


def _in_one_line(error: BaseException) -> str:
    words = printable(" ".join(_words_of(error).split()))
    words = words or (_QUIT if isinstance(error, BdbQuit) else "")
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
