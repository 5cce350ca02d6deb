"""What a function that the user passes must take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from lr_search.errors import InvalidInputError, quoted


def require_takes(name: str, function: Callable[..., Any] | None, *arguments: str, **named: object) -> None:
    """Raise `InvalidInputError` where a function cannot be called as it will be; one without a signature may be right.

    Args:
        name: of the argument that it is.
        function: of the user; None is left to whoever allows it.
        *arguments: what is passed by place, in words for the message.
        **named: what is passed by name.

    >>> require_takes("loss", lambda batch: 0.0, "model", "batch")
    Traceback (most recent call last):
    ...
    lr_search.errors.InvalidInputError: loss must be a function of (model, batch), but got <lambda>, which takes (batch).
    """
    if function is None:
        return
    wanted = ", ".join([*arguments, *(f"{each}=..." for each in named)])
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        if not isinstance(function, type):
            return
        raise InvalidInputError(f"{name} must be a function of ({wanted}), but got {quoted(function)}.") from None
    try:
        signature.bind(*arguments, **named)
    except TypeError:
        called = getattr(function, "__name__", None) or quoted(function)
        message = f"{name} must be a function of ({wanted}), but got {called}, which takes {signature}."
        raise InvalidInputError(message) from None


def require_runs(name: str, function: Callable[..., Any]) -> None:
    """Raise `InvalidInputError` where calling a function does not run what is written in it.

    Args:
        name: of the argument that it is.
        function: of the user.

    >>> async def train(run): ...
    >>> require_runs("train", train)
    Traceback (most recent call last):
    ...
    lr_search.errors.InvalidInputError: train must be a function that runs when it is called, but got train, which is async: a \
call runs nothing. Write it without async; what it awaits, by asyncio.run(...) inside.
    """
    rule = f"{name} must be a function that runs when it is called, but got {getattr(function, '__name__', None) or quoted(function)}"
    if isinstance(function, type):
        raise InvalidInputError(
            f"{rule}, which is a class: a call makes an object. Pass a function, or a method of an object."
        )
    called = [function, type(function).__call__]  # of an object, too
    if any(inspect.isgeneratorfunction(each) for each in called):
        raise InvalidInputError(f"{rule}, which yields: a call runs nothing. Write it without yield.")
    if any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in called):
        raise InvalidInputError(
            f"{rule}, which is async: a call runs nothing. Write it without async; what it awaits, by asyncio.run(...) inside."
        )
