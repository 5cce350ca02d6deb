"""The exceptions a user can meet, as a small tree, and `require`, which words them: the rule, what came, what to do."""

from __future__ import annotations

import difflib
import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path


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


class OutputError(LRSearchError):
    """A file or folder cannot be written."""


class TrialsFailedError(LRSearchError):
    """Three trials in a row ended with an exception in the user's code."""


class ClusterError(LRSearchError):
    """The Ray cluster does not answer, or cannot do what is asked."""


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


def error_text(error: BaseException) -> str:
    """An exception in one line, with the last place in the user's own code that it came through."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or isinstance(error, SyntaxError):  # a SyntaxError names its place itself
        return text
    package_folder = str(Path(__file__).parent)
    user_frames = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and not frame.filename.startswith(package_folder)
    ]
    frame = (user_frames or frames)[-1]
    return f"{text} ({Path(frame.filename).name}, line {frame.lineno})"
