"""Batches for several models of different seeds, stacked; drawn once where they are the same for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from lr_search.rng import RNGState, seed_everything
from lr_search.workloads.batches import BatchWalk, tensors


class SeededWalks:
    """The batches that several seeds give, each drawn under the random state that its seed's training has.

    The global generators are moved; where they shall be left alone, the caller puts them back.

    Args:
        device: whose generator is drawn from, beside the CPU's.
        accumulate: batches a step, >= 1.
    """

    def __init__(self, device: torch.device, accumulate: int) -> None:
        self._device, self._accumulate = device, accumulate
        self._walks: list[_Seeded] = []
        self._shared: bool | None = None  # whether all seeds' batches are the first one's, as far as was drawn

    def add(self, batches: BatchWalk, seed: int) -> None:
        """The next model's batches, from the global random state as it is now: where its seed's training begins."""
        self._walks.append(_Seeded(batches, seed, self._device))

    def __getitem__(self, index: int) -> BatchWalk:
        """The batches of one of the seeds, as far as they were drawn."""
        return self._walks[0 if self._shared else index].walk

    def draw(self, steps: int) -> Iterator[list[Any]]:
        """The batches of so many steps: for each a list of as many as a step accumulates, stacked when it is its turn.

        What is the same for all seeds is drawn once: as long as neither opening the data nor drawing from them moves the random states.

        Raises:
            Exception: torch's `default_collate` cannot stack those of several seeds.
        """
        count = steps * self._accumulate
        if self._shared is None:
            self._shared = self._begin_alike()
        first, *others = self._walks
        self._shared = self._shared and first.ahead(count)
        drawn = [first.take(count)]
        for other in others:
            if self._shared:
                other.behind += count
            drawn.append(drawn[0] if self._shared else other.take(count))
        together = (default_collate(list(batches)) for batches in zip(*drawn, strict=True))
        return (list(islice(together, self._accumulate)) for _ in range(steps))

    def _begin_alike(self) -> bool:
        """Whether the first batches are equal, and nothing was drawn for them."""
        if not all(walk.opened_alike and walk.ahead(1) for walk in self._walks):
            return False
        first, *others = (list(tensors(walk.waiting[0])) for walk in self._walks)
        return all(
            len(other) == len(first) and all(torch.equal(*pair) for pair in zip(first, other, strict=True))
            for other in others
        )

    def close(self) -> None:
        """Let go of the data."""
        for walk in self._walks:
            walk.walk.close()


class _Seeded:
    """The batches of one seed, and its random state."""

    def __init__(self, walk: BatchWalk, seed: int, device: torch.device) -> None:
        self.walk, self._device = walk, device
        self._state = RNGState.capture(device)
        seed_everything(seed)
        self.opened_alike = self._state.same_as(RNGState.capture(device))
        self.waiting: deque[Any] = deque()  # drawn, and not taken yet
        self.behind = 0  # batches that another seed's walk has given in this one's place

    def ahead(self, count: int) -> bool:
        """Draw until so many wait. Returns: whether that moved no random state, but for numbers that nobody sees."""
        passes = self.walk.passes
        self._state.restore()
        self.waiting.extend(next(self.walk) for _ in range(count - len(self.waiting)))
        before, self._state = self._state, RNGState.capture(self._device)
        if _starts_by_drawing(self.walk.data):
            before.restore()
            for _ in range(self.walk.passes - passes):
                torch.empty((), dtype=torch.int64).random_()
            before = RNGState.capture(self._device)
        return before.same_as(self._state)

    def take(self, count: int) -> list[Any]:
        """The next batches."""
        for _ in range(self.behind):
            self.ahead(1)
            self.waiting.popleft()
        self.behind = 0
        self.ahead(count)
        return [self.waiting.popleft() for _ in range(count)]


def _starts_by_drawing(data: Any) -> bool:
    """Whether each pass begins by drawing a number for processes that a loader does not have."""
    return type(data) is DataLoader and data.num_workers == 0 and data.generator is None
