"""Batches for several models of different seeds, stacked; drawn once where they are the same for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.data import DataLoader

from lr_search.rng import RNGState, seed_everything
from lr_search.workloads.batches import BatchWalk, tensors

HELD_BYTES = 2**24  # of batches that are drawn ahead, of all seeds


class SeedsApartError(RuntimeError):
    """What the seeds give differs in more than numbers: their models must be trained seed by seed."""


class SeededWalks:
    """The batches that several seeds give, each drawn under the random state that its seed's training has.

    What is the same for all seeds is drawn once: as long as neither opening the data nor drawing from them moves the random states.
    The global generators are moved; where they shall be left alone, the caller puts them back.

    Args:
        device: whose generator is drawn from, beside the CPU's.
        accumulate: batches a step, >= 1.
    """

    def __init__(self, device: torch.device, accumulate: int) -> None:
        self._device, self._accumulate = device, accumulate
        self._walks: list[_Seeded] = []
        self._shared: bool | None = None  # whether all seeds' batches are the first one's, as far as was drawn
        self._ahead: deque[list[list[Any]]] = deque()  # steps that are drawn; of each, a seed's batches
        self._most_ahead = 1

    def add(self, batches: BatchWalk, seed: int) -> None:
        """The next model's batches, from the global random state as it is now: where its seed's training begins."""
        self._walks.append(_Seeded(batches, seed, self._device))

    def __getitem__(self, index: int) -> BatchWalk:
        """The batches of one of the seeds, as far as they were drawn."""
        return self._walks[0 if self._shared else index].walk

    def restore(self, index: int) -> None:
        """Put back the random state that the training of one of the seeds begins with, before anything is drawn."""
        self._walks[index].state.restore()

    def only(self) -> Iterator[list[Any]]:
        """The batches of each step where there is one seed, drawn from the global random state as it comes."""
        while True:
            yield [next(self._walks[0].walk) for _ in range(self._accumulate)]

    def first(self) -> list[Any]:
        """The first batch that each seed's training sees next."""
        if not self._ahead:
            self._draw(1)
        return [batches[0] for batches in self._ahead[0]]

    def stacked(self, steps: int, rows: Sequence[int]) -> Iterator[list[Any]]:
        """The stacked batches of so many steps: for each a list of as many as a step accumulates.

        Args:
            steps: how many; they are drawn a few at a time.
            rows: of the stack: which of the seeds each is of.

        Raises:
            SeedsApartError: those of several seeds cannot be stacked.
        """
        for left in range(steps, 0, -1):
            if not self._ahead:
                self._draw(min(left, self._most_ahead))
            drawn = self._ahead.popleft()
            yield [stack_batches([batches[place] for batches in drawn], rows) for place in range(self._accumulate)]

    def _draw(self, steps: int) -> None:
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
        for begin in range(0, count, self._accumulate):
            self._ahead.append([batches[begin : begin + self._accumulate] for batches in drawn])
        self._most_ahead = max(1, HELD_BYTES // max(1, num_bytes(self._ahead[-1])))

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
        self._ahead.clear()
        for walk in self._walks:
            walk.walk.close()


class _Seeded:
    """The batches of one seed, and its random state."""

    def __init__(self, walk: BatchWalk, seed: int, device: torch.device) -> None:
        self.walk, self._device = walk, device
        self.state = RNGState.capture(device)
        seed_everything(seed)
        self.opened_alike = self.state.same_as(RNGState.capture(device))
        self.state.restore()
        self.waiting: deque[Any] = deque()  # drawn, and not taken yet
        self.behind = 0  # batches that another seed's walk has given in this one's place

    def ahead(self, count: int) -> bool:
        """Draw until so many wait. Returns: whether that moved no random state, but for numbers that nobody sees."""
        passes = self.walk.passes
        self.state.restore()
        self.waiting.extend(next(self.walk) for _ in range(count - len(self.waiting)))
        before, self.state = self.state, RNGState.capture(self._device)
        if _starts_by_drawing(self.walk.data):
            before.restore()
            for _ in range(self.walk.passes - passes):
                torch.empty((), dtype=torch.int64).random_()
            before = RNGState.capture(self._device)
        return before.same_as(self.state)

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


def num_bytes(batch: Any) -> int:
    """What the tensors of a batch, or of several in lists, take of memory."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(batch))


def stack_batches(batches: Sequence[Any], rows: Sequence[int]) -> Any:
    """The batches of several seeds as one, their tensors stacked.

    Args:
        batches: a seed's each.
        rows: of the stack: which of them each is.

    Raises:
        SeedsApartError: they hold more than tensors and numbers, or tensors of several shapes.
    """
    leaves, forms = zip(*(tree_flatten(batch) for batch in batches), strict=True)
    if any(form != forms[0] for form in forms):
        raise SeedsApartError("batches of one structure under every seed")
    return tree_unflatten([_stacked(same, rows) for same in zip(*leaves, strict=True)], forms[0])


def _stacked(leaves: Sequence[Any], rows: Sequence[int]) -> torch.Tensor:
    first = leaves[0]
    if all(type(leaf) is type(first) for leaf in leaves) and isinstance(first, int | float):
        return torch.tensor([leaves[seed] for seed in rows], dtype=torch.float64 if isinstance(first, float) else None)
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor) or leaf.shape != first.shape or leaf.dtype != first.dtype:
            raise SeedsApartError("batches of numbers, and of tensors that have one shape and dtype, under every seed")
    return torch.stack([leaves[seed] for seed in rows])
