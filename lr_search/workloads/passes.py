"""The end of a pass over the user's batches, told apart from a StopIteration of the code that makes them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any, Protocol

from torch.utils.data import DataLoader


class Reiterable(Protocol):
    """What can be walked through again and again."""

    def __iter__(self) -> Iterator[Any]: ...


BatchSource = Callable[[], Iterable[Any]] | Reiterable  # a workload makes functions of them all: `as_source`
END = object()
_FETCH = ("torch.utils.data._utils.fetch", "fetch")  # where a loader calls the data set and collate_fn
_WORKER_RAISED = ("torch._utils", "reraise")  # where it hands on what a worker raised


def length(data: Any) -> int | None:
    """How many batches a pass has, or None where that is not known."""
    try:
        return len(data)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def one_pass(data: Iterable[Any], name: str, iterator: Iterator[Any] | None = None) -> Iterator[Any]:
    """Every batch of one pass.

    Args:
        data: the batches.
        name: what the user calls them, for messages.
        iterator: over them; default: a new one.

    Raises:
        RuntimeError: the pass ended early.
    """
    iterator, drawn = iter(data) if iterator is None else iterator, 0
    while (batch := next_batch(iterator, data, drawn, name)) is not END:
        yield batch
        drawn += 1


def next_batch(iterator: Iterator[Any], data: Iterable[Any], drawn: int, name: str) -> Any:
    """The next batch of a pass, or END.

    Args:
        iterator: over the data.
        data: what it walks through.
        drawn: how many batches of this pass came before.
        name: what the user calls the data, for messages.

    Raises:
        RuntimeError: the pass ended early: code that it called raised StopIteration, or `len(data)` says that there is more.
    """
    try:
        return next(iterator)
    except StopIteration as error:
        if _raised_on_the_way(iterator, error):
            raise RuntimeError(f"{name} must raise no StopIteration of its own, but batch {drawn} did.") from error
        size = _promised(data)
        if size is not None and drawn < size:
            raise RuntimeError(
                f"{name} must give as many batches a pass as its len() says, but got {drawn} of {size}. A StopIteration or "
                "IndexError that is raised on the way to a batch ends a pass without a word. Mend that, or __len__."
            ) from error
        return END


def _promised(data: Any) -> int | None:
    """How many batches a pass is known to have: not for an iterator, which may have been begun, nor for a loader, whose len is torch's guess."""
    return None if isinstance(data, Iterator | DataLoader) else length(data)


def _raised_on_the_way(iterator: Iterator[Any], error: StopIteration) -> bool:
    """Whether a StopIteration came from a function that makes batches, such as map's, a data set's, or collate_fn: not from an end.

    Args:
        iterator: whose `next` has just raised it.
        error: the StopIteration.
    """
    calls = not isinstance(type(iterator).__next__, FunctionType)  # map, zip: what they call in turn is seen first
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in frames[1:]:  # from the iterator on inwards
        place = frame.f_globals.get("__name__"), frame.f_code.co_name
        if place == _WORKER_RAISED or (calls and place[1] != "__next__"):
            return True
        calls = place == _FETCH
    return False
