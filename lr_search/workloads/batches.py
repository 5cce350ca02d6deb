"""Batches: an endless walk over what the user gave, that can be saved, and what is read off one batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import nn
from torch.utils.data import DataLoader

from lr_search.errors import WorkloadError, user_code
from lr_search.rng import RNGState
from lr_search.workloads.devices import to_device as to_device
from lr_search.workloads.passes import END, ModelBatches, ModelPasses, next_batch, one_pass
from lr_search.workloads.passes import BatchSource as BatchSource
from lr_search.workloads.passes import length as length
from lr_search.workloads.passes import open_data as open_data

_EMPTY = "{name} must give batches, but got none. Check the data set's length, batch_size and drop_last."
_SINGLE = (
    "{name} must give at least 2 batches a pass, but got 1: a learning rate found on one batch is not the data's. "
    "Make batch_size smaller; for full-batch training, give the batch twice: [batch, batch]."
)


class Draw(NamedTuple):
    """Where a batch came from: enough to come by it again.

    Attributes:
        pass_start: the random states that its pass began with: the global ones, and the loader's own.
        pass_number: which pass over the data, from 1.
        number: which batch of that pass, from 1.
    """

    pass_start: tuple[RNGState, list[torch.Tensor]]
    pass_number: int
    number: int


class BatchWalk:
    """Batches without end: passes over the source one after the other, each drawn from the global RNG as it comes.

    A loader's own generators are put back after each batch, so that walks over one loader do not disturb each other.

    Args:
        source: makes the iterable; called again where that is a bare iterator and has run out.
        name: what the user calls it, for messages.
        device: where the tensors of each batch are put.
        model: that is trained, where the source makes its batches of it.
        rewound: whether a loader's own generators begin at their seed, as in every training, or as they stand.
    """

    def __init__(
        self,
        source: BatchSource,
        name: str,
        device: torch.device,
        *,
        model: nn.Module | None = None,
        rewound: bool = True,
    ) -> None:
        self._source, self.name, self._device, self._model = source, name, device, model
        self.data = self._opened()  # what is walked through
        size = length(self.data)
        if size is not None and size < 2:
            raise WorkloadError((_EMPTY if size == 0 else _SINGLE).format(name=name))
        with preserved_generators(self.data) as loader_generators:
            if rewound:
                rewind(loader_generators)
            self._own = [generator.get_state() for generator in loader_generators]
        self._iterator: Iterator[Any] | None = None
        self._workers: Any = None  # the iterator of a DataLoader with persistent workers
        self.passes = 0  # passes begun
        self._drawn = 0  # batches drawn in this pass
        self._pass_start: tuple[RNGState, list[torch.Tensor]] | None = None
        self._newest: deque[Draw] = deque(maxlen=0)
        self.total = 0  # batches drawn since the walk was made

    def _opened(self) -> Iterable[Any]:
        if isinstance(self._source, ModelBatches) and self._model is not None:
            return ModelPasses(self._source, self.name, self._model)
        return open_data(self._source, self.name)

    def __iter__(self) -> Iterator[Any]:
        """The walk itself, which is its own iterator."""
        return self

    @user_code
    def __next__(self) -> Any:
        """The next batch, on the device."""
        if self._own:
            batch = self._next_of_own()
        else:
            batch = self._next()
        self._drawn += 1
        self.total += 1
        assert self._pass_start is not None
        self._newest.append(Draw(self._pass_start, self.passes, self._drawn))
        return to_device(batch, self._device)

    def remember(self, count: int) -> None:
        """Know of the newest `count` batches where they came from."""
        self._newest = deque(maxlen=count)

    def again(self, number: int) -> tuple[Draw, Any] | None:
        """The batch that was drawn as number `number` in all, from 1, by replaying its pass; the global random states are moved.

        Returns: where it came from, and the batch; None where it is not remembered.
        """
        back = self.total - number
        if not 0 <= back < len(self._newest):
            return None
        draw = self._newest[-1 - back]
        if isinstance(self._source, ModelBatches):  # no model is as it was when an earlier pass was made
            made = self.data.batches if isinstance(self.data, ModelPasses) and draw.pass_number == self.passes else []
            return (draw, to_device(made[draw.number - 1], self._device)) if made else None
        walk = BatchWalk(self._source, self.name, self._device, rewound=False)
        try:
            walk._go_to(draw.pass_start, draw.pass_number, draw.number - 1)
            return draw, next(walk)
        finally:
            walk.close()

    def _next_of_own(self) -> Any:
        with preserved_generators(self.data) as loader_generators:
            for generator, state in zip(loader_generators, self._own, strict=True):
                generator.set_state(state)
            batch = self._next()
            self._own = [generator.get_state() for generator in loader_generators]
        return batch

    def _next(self) -> Any:
        if self._iterator is None:
            self._iterator = self._begun()
        batch = next_batch(self._iterator, self.data, self._drawn, self.name)
        if batch is END:
            if self._drawn < 2:
                raise WorkloadError((_SINGLE if self._drawn else _EMPTY).format(name=self.name))
            self._iterator = self._begun()
            batch = next_batch(self._iterator, self.data, 0, self.name)
        if batch is END:
            raise WorkloadError(
                f"{self.name} must give batches on every pass, but got none on a later one. "
                "Return a new iterator on each call."
            )
        return batch

    def _begun(self) -> Iterator[Any]:
        """A new pass. What its order is drawn from is kept first, so that it can be replayed."""
        self._pass_start = (RNGState.capture(self._device), [g.get_state() for g in generators(self.data)])
        self.passes += 1
        self._drawn = 0
        iterator = self._iter()
        if iterator is self.data and self.passes > 1:  # a bare iterator, used up
            self.data = self._opened()
            iterator = iter(self.data)
        return iterator

    def _iter(self) -> Iterator[Any]:
        iterator = aside(self.data, self._workers)
        if _persistent(self.data):
            self._workers = iterator
        return iterator

    def close(self) -> None:
        """Let go of the data, and of a loader's workers."""
        self.data, self._own, self._iterator, self._workers = (), [], None, None

    def state_dict(self) -> dict[str, Any]:
        """Where the walk is: how the present pass began, and how many batches of it were drawn."""
        start = None
        if self._pass_start is not None:
            start = {"rng": self._pass_start[0].plain(), "generators": list(self._pass_start[1])}
        made = self.data.plain(self._device) if isinstance(self.data, ModelPasses) else None
        return {"pass_start": start, "passes": self.passes, "drawn": self._drawn, "made": made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go there by replaying the present pass, on a walk that has not begun; the caller sets the RNG afterwards."""
        start = state["pass_start"]
        if start is not None:
            if isinstance(self.data, ModelPasses):
                self.data.load(state["made"], self._device)
            pass_start = RNGState.from_plain(start["rng"], self._device), [saved.cpu() for saved in start["generators"]]
            self._go_to(pass_start, state["passes"], state["drawn"])

    def _go_to(self, pass_start: tuple[RNGState, list[torch.Tensor]], passes: int, drawn: int) -> None:
        """Replay so many batches of the pass that began so."""
        if passes > 1 and _persistent(self.data):
            self._iter()  # a later pass draws fewer numbers than the one that starts the workers
        rng, own = pass_start
        rng.restore()
        self._own = list(own)
        self.passes = passes - 1
        for _ in range(drawn):
            next(self)


def aside(data: Iterable[Any], workers: Any = None) -> Iterator[Any]:
    """A pass that leaves others alone: a loader with persistent workers has but one iterator, and keeps it.

    Args:
        data: a loader or another iterable.
        workers: the iterator of an earlier pass of this kind, whose workers are taken; default: new ones.
    """
    if not _persistent(data):
        return iter(data)
    loader_workers, data._iterator = data._iterator, workers
    try:
        return iter(data)
    finally:
        data._iterator = loader_workers


def _persistent(data: Any) -> TypeGuard[DataLoader[Any]]:
    return isinstance(data, DataLoader) and data.persistent_workers


def generators(data: Any) -> list[torch.Generator]:
    """The random generators that a loader holds: of itself and of its samplers."""
    if isinstance(data, Iterator):  # made anew for each pass, and its generators with it
        return []
    owners = [data, getattr(data, "sampler", None), getattr(data, "batch_sampler", None)]
    owners.append(getattr(owners[2], "sampler", None))
    held = [getattr(owner, "generator", None) for owner in owners]
    by_identity = {id(generator): generator for generator in held if isinstance(generator, torch.Generator)}
    return list(by_identity.values())


@contextmanager
def preserved_generators(data: Any) -> Iterator[list[torch.Generator]]:
    """Whatever is drawn from a loader's own generators inside leaves them as they were, also after an exception."""
    loader_generators = generators(data)
    states = [generator.get_state() for generator in loader_generators]
    try:
        yield loader_generators
    finally:
        for generator, state in zip(loader_generators, states, strict=True):
            generator.set_state(state)


def first_batches(data: Iterable[Any], name: str, count: int) -> list[Any]:
    """The first `count` batches of a pass of their own, or all there are; draws nothing from a loader's own generators."""
    with preserved_generators(data):
        return list(islice(one_pass(data, name, aside(data)), count))


def rewind(loader_generators: Iterable[torch.Generator]) -> None:
    """Set each generator back to the seed it was given last."""
    for generator in loader_generators:
        generator.manual_seed(generator.initial_seed())


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
