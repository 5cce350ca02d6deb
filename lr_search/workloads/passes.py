"""Passes over the user's batches: their end, told apart from a StopIteration of the code that makes them, and those made of the model."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import FunctionType
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from lr_search.errors import WorkloadError, quoted, user_code
from lr_search.rng import preserved_rng
from lr_search.state.capture import device_of, preserved_modes
from lr_search.state.forward_state import ForwardState
from lr_search.state.plain_state import Decoder, Encoder

MOST_MADE = 100_000  # batches of a pass that is made at once


class Reiterable(Protocol):
    """What can be walked through again and again."""

    def __iter__(self) -> Iterator[Any]: ...


END = object()
_FETCH = ("torch.utils.data._utils.fetch", "fetch")  # where a loader calls the data set and collate_fn
_WORKER_RAISED = ("torch._utils", "reraise")  # where it hands on what a worker raised


@dataclass(frozen=True)
class ModelBatches:
    """Batches that a function makes of the model as it is: a pass each time it is called."""

    make: Callable[[nn.Module], Iterable[Any]]

    def passed(self, model: nn.Module, name: str) -> list[Any]:
        """A whole pass, without gradients; of the training data in the mode that the model is in, else in eval mode.

        What it changes in the model and in the random states is kept of the training data, and undone of others.

        Args:
            model: as it is now.
            name: what the user calls the data.

        Raises:
            WorkloadError: the function returns no batches, or more than a pass may have.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(preserved_modes(model))
            if name != "train_data":
                stack.enter_context(ForwardState(model, [self.make]).preserved())
                stack.enter_context(preserved_rng(device_of(model)))
                model.eval()
            made = self.make(model)
            if not isinstance(made, Iterable) and not hasattr(made, "__getitem__"):
                raise WorkloadError(f"{name}(model) must return an iterable of batches, but got {type(made).__name__}.")
            batches = list(islice(one_pass(made, name), MOST_MADE + 1))
        if len(batches) > MOST_MADE:
            raise WorkloadError(
                f"{name}(model) must give at most {MOST_MADE:,} batches, but got more: a pass is made at once, and the next of the model "
                "as it is then. End it after some."
            )
        return batches


# a workload makes functions of no argument of them, or `ModelBatches`: `as_source`
BatchSource = Callable[[], Iterable[Any]] | Callable[[nn.Module], Iterable[Any]] | Reiterable | ModelBatches


class ModelPasses:
    """The passes of a training over `ModelBatches`: each is made of the model as it is when the pass begins.

    Args:
        source: makes them.
        name: what the user calls them.
        model: that is trained.
    """

    def __init__(self, source: ModelBatches, name: str, model: nn.Module) -> None:
        self._source, self._name, self._model = source, name, model
        self.batches: list[Any] = []  # of the present pass
        self._loaded = False

    def __iter__(self) -> Iterator[Any]:
        """A new pass; after `load` the one that was loaded."""
        if not self._loaded:
            self.batches = self._source.passed(self._model, self._name)
            for batch in self.batches:
                _require_plain(batch, self._name)
        self._loaded = False
        return iter(self.batches)

    def plain(self, device: torch.device) -> Any:
        """The present pass as plain containers, for another process: no other model would make it again."""
        return Encoder({}, device)(self.batches)

    def load(self, code: Any, device: torch.device) -> None:
        """Begin with a pass that `plain` gave."""
        self.batches, self._loaded = Decoder({}, device)(None, code, self._name), True


def _require_plain(value: Any, name: str) -> None:
    """Raises: WorkloadError: a batch holds something that another process could not go on with."""
    if type(value) in (list, tuple, dict):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            _require_plain(each, name)
    elif not (
        isinstance(value, torch.Tensor | bool | int | float | str | None)
        or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")
    ):
        raise WorkloadError(
            f"The batches of {name}(model) must be tensors, arrays of numbers, numbers, texts, and lists, tuples and dicts of them, but "
            f"got {quoted(value)}: a training that is interrupted is to go on with them."
        )


@user_code
def open_data(source: BatchSource, name: str, model: nn.Module | None = None) -> Iterable[Any]:
    """Call the source, and check that what it returns can be iterated over.

    Args:
        source: of the workload.
        name: what the user calls it: of others than train_data the model is in eval mode.
        model: whose batches they are, where it makes them of the model.
    """
    if isinstance(source, ModelBatches):
        assert model is not None
        return source.passed(model, name)
    data = source() if callable(source) else source  # type: ignore[call-arg]
    if not isinstance(data, Iterable) and not hasattr(data, "__getitem__"):
        raise WorkloadError(f"{name} must return an iterable of batches, but got {type(data).__name__}.")
    return data


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
