"""Batches: an endless walk over what the user gave, that can be saved, and what is read off one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from lr_search.errors import WorkloadError
from lr_search.optim import RNGState

BatchSource = Callable[[], Iterable[Any]]

_END = object()
_EMPTY = "{name} must give batches, but got none. Check the data set's length, batch_size and drop_last."
_SINGLE = (
    "{name} must give at least 2 batches a pass, but got 1: a learning rate found on one batch is not the data's. "
    "Make batch_size smaller; for full-batch training, give the batch twice: [batch, batch]."
)


class BatchWalk:
    """Batches without end: passes over the source one after the other, each drawn from the global RNG as it comes.

    Args:
        source: makes the iterable; called again where that is a bare iterator and has run out.
        name: what the user calls it, for messages.
        device: where the tensors of each batch are put.
    """

    def __init__(self, source: BatchSource, name: str, device: torch.device) -> None:
        self._source, self._name, self._device = source, name, device
        self._data = self._made()
        size = length(self._data)
        if size is not None and size < 2:
            raise WorkloadError((_EMPTY if size == 0 else _SINGLE).format(name=name))
        self._iterator: Iterator[Any] | None = None
        self._passes = 0  # passes begun
        self._drawn = 0  # batches drawn in this pass
        self._pass_start: tuple[RNGState, list[torch.Tensor]] | None = None

    def _made(self) -> Iterable[Any]:
        return made(self._source, self._name)

    def __iter__(self) -> Iterator[Any]:
        """Itself."""
        return self

    def __next__(self) -> Any:
        """The next batch, on the device."""
        if self._iterator is None:
            self._iterator = self._begun()
        batch = next(self._iterator, _END)
        if batch is _END:
            if self._drawn < 2:
                raise WorkloadError((_SINGLE if self._drawn else _EMPTY).format(name=self._name))
            self._iterator = self._begun()
            batch = next(self._iterator, _END)
        if batch is _END:
            raise WorkloadError(
                f"{self._name} must give batches on every pass, but got none on a later one. "
                "Return a new iterator on each call."
            )
        self._drawn += 1
        return to_device(batch, self._device)

    def _begun(self) -> Iterator[Any]:
        """A new pass. What its order is drawn from is kept first, so that it can be replayed."""
        self._pass_start = (RNGState.capture(self._device), [g.get_state() for g in generators(self._data)])
        self._passes += 1
        self._drawn = 0
        iterator = iter(self._data)
        if iterator is self._data and self._passes > 1:  # a bare iterator, used up
            self._data = self._made()
            iterator = iter(self._data)
        return iterator

    def state_dict(self) -> dict[str, Any]:
        """Where the walk is: how the present pass began, and how many batches of it were drawn."""
        return {"pass_start": self._pass_start, "passes": self._passes, "drawn": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go there by replaying the present pass, on a walk that has not begun; the caller sets the RNG afterwards."""
        if state["pass_start"] is None:
            return
        rng, states = state["pass_start"]
        rng.restore()
        for generator, saved in zip(generators(self._data), states, strict=True):
            generator.set_state(saved)
        self._passes = state["passes"] - 1
        self._iterator = self._begun()
        for _ in range(state["drawn"]):
            next(self)


def made(source: BatchSource, name: str) -> Iterable[Any]:
    """Call the source, and check that what it returns can be iterated over."""
    data = source()
    if not isinstance(data, Iterable) and not hasattr(data, "__getitem__"):
        raise WorkloadError(f"{name} must return an iterable of batches, but got {type(data).__name__}.")
    return data


def length(data: Any) -> int | None:
    """How many batches a pass has, or None where that is not known."""
    try:
        return len(data)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def generators(data: Any) -> list[torch.Generator]:
    """The random generators of a loader's own: of itself and of its samplers."""
    owners = [data, getattr(data, "sampler", None), getattr(data, "batch_sampler", None)]
    owners.append(getattr(owners[2], "sampler", None))
    found = {
        id(g): g for g in (getattr(owner, "generator", None) for owner in owners) if isinstance(g, torch.Generator)
    }
    return list(found.values())


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on the device, in the same containers."""
    if isinstance(batch, torch.Tensor):
        return batch if batch.device == device else batch.to(device, non_blocking=True)
    if device.type == "cpu":
        return batch
    if isinstance(batch, Mapping):
        moved = {key: to_device(value, device) for key, value in batch.items()}
        return moved if type(batch) is dict else _rebuilt(batch, moved)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch.to(device) if hasattr(batch, "to") else batch


def _rebuilt(batch: Any, moved: dict[Any, Any]) -> Any:
    """A mapping of the batch's own type (a tokenizer's BatchEncoding, say) where it can be made from a dict."""
    if hasattr(batch, "to"):
        return batch.to(next(v for v in moved.values() if isinstance(v, torch.Tensor)).device)
    return type(batch)(moved)


def tensors(batch: Any) -> Iterator[torch.Tensor]:
    """Every tensor in a batch, in order."""
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from tensors(value)
    elif isinstance(batch, list | tuple):
        for value in batch:
            yield from tensors(value)
    elif hasattr(batch, "__dict__"):  # a data class, a graph, a padded sequence
        for value in vars(batch).values():
            if isinstance(value, torch.Tensor):
                yield value


def batch_length(batch: Any) -> int:
    """The first dimension of the batch's first tensor; 1 where it has none."""
    for tensor in tensors(batch):
        if tensor.ndim:
            return int(tensor.shape[0])
    return 1
