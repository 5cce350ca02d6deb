"""Everything that a training may change, found from its roots on, copied, and put back, each part by itself."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from lr_search.errors import InvalidInputError, RestoreError
from lr_search.rng import RNGState
from lr_search.state.holdings import GENERATORS, holdings, is_looked_into
from lr_search.state.memory_copies import MemoryCopies
from lr_search.state.places import StatePlace, places_of

MOST_OTHER_BYTES = 2**30  # of what is copied beside weights and optimizer state, more than these take
_BYTES_AN_ITEM = 8
_IMMUTABLE = (type(None), bool, int, float, str)
_KEPT = (torch.Tensor, np.ndarray, *GENERATORS)
_TOO_LARGE = (
    "What a training touches must be copied to be put back, up to {limit} beside the weights and the optimizer's state, but "
    "got {total}; the largest: {name} with {size}. Keep data out of the attributes of the model, the loss and the optimizer."
)


class Captured:
    """Objects and all that they hold; `restore` writes it back into the same objects and tensors, as often as need be.

    Memory: the numbers of each tensor and array once, however many hold them.
    """

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}
        self._places: list[tuple[str, StatePlace]] = []
        self._memory = MemoryCopies()
        # parameters of the loss's modules, which may be too large, with their versions
        self._frozen: list[tuple[str, torch.Tensor, int]] = []
        self._own = self._others = 0  # bytes: of weights and optimizer state, and of what are no tensors
        self._sizes: dict[str, int] = {}
        self._rng: list[RNGState] = []

    def add(self, name: str, root: Any, *, frozen_apart: bool = False, apart: Container[int] = ()) -> None:
        """Find all that a root holds.

        Args:
            name: of the root, for messages.
            root: an object, a container or a tensor.
            frozen_apart: whether parameters without a gradient are only watched where they are too large to copy.
            apart: identities of what is left out.

        Raises:
            InvalidInputError: something can be copied in no way.
        """
        waiting = [(name, root)]
        while waiting:
            place, value = waiting.pop()
            if type(value) in _IMMUTABLE or id(value) in self._seen or id(value) in apart:
                continue
            if not (isinstance(value, _KEPT) or is_looked_into(value)):
                continue
            self._seen[id(value)] = value
            try:
                self._places += [(place, each) for each in places_of(value)]
                waiting += [(place + words, each) for words, each in holdings(value)]
                self._count(place, value, frozen_apart)
            except Exception as error:
                kind = type(value).__name__
                raise InvalidInputError(
                    f"What a training touches must be one that can be copied and put back, but got {place}, a {kind}: {error}."
                ) from error

    def count_as_own(self) -> None:
        """What was found so far is weights and optimizer state, which are copied whatever their size."""
        self._own, self._others, self._sizes = self._memory.num_bytes, 0, {}

    def _count(self, place: str, value: Any, frozen_apart: bool) -> None:
        size = _BYTES_AN_ITEM * len(value) if isinstance(value, dict | list | set) else 0
        if isinstance(value, torch.Tensor):
            if torch.nn.parameter.is_lazy(value):
                return
            size = value.numel() * value.element_size()
            if frozen_apart and isinstance(value, torch.nn.Parameter) and not value.requires_grad:
                self._frozen.append((place, value, value._version))
            else:
                self._memory.add(value, place)
        else:
            size += value.nbytes if isinstance(value, np.ndarray) else 0
            self._others += size
        self._sizes[place] = size

    def take(self, devices: Sequence[torch.device] = ()) -> None:
        """Copy all that was found, and the random states.

        Args:
            devices: whose random states are put back.

        Raises:
            InvalidInputError: that would take too much memory.
        """
        most = MOST_OTHER_BYTES + self._own
        frozen = sum(value.numel() * value.element_size() for _, value, _ in self._frozen)
        others = self._memory.num_bytes - self._own + self._others
        if others > most:
            name = max(self._sizes, key=lambda place: self._sizes[place])
            size = _gigabytes(self._sizes[name])
            raise InvalidInputError(
                _TOO_LARGE.format(total=_gigabytes(others), limit=_gigabytes(most), name=name, size=size)
            )
        if others + frozen <= most:
            for place, value, _ in self._frozen:
                self._memory.add(value, place)
            self._frozen = []
        self._memory.take()
        self._rng = [RNGState.capture(device) for device in dict.fromkeys(devices)]

    @property
    def num_bytes(self) -> int:
        """What the copies of tensors and arrays take."""
        return self._memory.num_bytes + self._others

    def restore(self) -> None:
        """Write everything back; where a part fails, all others are written back nevertheless.

        Raises:
            RestoreError: it names the parts that are not as they were.
        """
        failures: list[str] = []
        interrupted: KeyboardInterrupt | None = None
        for name, restore in self._restores():
            try:
                try:
                    restore()
                except KeyboardInterrupt as error:  # once more: half a restored training is none
                    interrupted = error
                    restore()
            except Exception as error:
                failures.append(f"{name} ({type(error).__name__}: {' '.join(str(error).split())})")
        if failures:
            raise RestoreError(
                f"Everything must be as it was before, but these could not be put back: {'; '.join(failures)}. "
                "All else was. Load a checkpoint before you train on."
            )
        if interrupted is not None:
            raise interrupted

    def _restores(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield from ((name, place.restore) for name, place in self._places)
        yield from self._memory.restores()
        for name, value, version in self._frozen:
            yield name, lambda value=value, version=version: _require_untouched(value, version)  # type: ignore[misc]
        yield from (("the random states", state.restore) for state in self._rng)


def _require_untouched(value: torch.Tensor, version: int) -> None:
    if value._version != version:
        raise RuntimeError("it was written to, and is too large to have been copied")


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.2g} GiB" if size >= 2**27 else f"{size / 2**20:.2g} MiB"
