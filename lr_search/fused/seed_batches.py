"""Batches for several models of different seeds, stacked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from lr_search.rng import RNGState
from lr_search.workloads.batches import BatchWalk, tensors

HELD_BYTES = 2**24  # of batches that are drawn ahead, of all seeds


class SeedsApartError(RuntimeError):
    """What the seeds give differs in more than numbers: their models must be trained seed by seed."""


class SeededWalks:
    """The batches that several seeds give, each drawn under the random state that its seed's training has.

    The global generators are moved; where they shall be left alone, the caller puts them back.

    Args:
        device: whose generator is drawn from, beside the CPU's.
        accumulate: batches a step, >= 1.
    """

    def __init__(self, device: torch.device, accumulate: int) -> None:
        self._device, self._accumulate = device, accumulate
        self._walks: list[BatchWalk] = []
        self._states: list[RNGState] = []
        self._ahead: deque[list[list[Any]]] = deque()  # steps that are drawn; of each, a seed's batches
        self._most_ahead = 1

    def add(self, batches: BatchWalk) -> None:
        """The next model's batches, from the global random state as it is now: where its seed's training begins."""
        self._walks.append(batches)
        self._states.append(RNGState.capture(self._device))

    def __getitem__(self, index: int) -> BatchWalk:
        """The batches of one of the seeds."""
        return self._walks[index]

    def restore(self, index: int) -> None:
        """Put back the random state that the training of one of the seeds has."""
        self._states[index].restore()

    def only(self) -> Iterator[list[Any]]:
        """The batches of each step where there is one seed, drawn from the global random state as it comes."""
        while True:
            yield [next(self._walks[0]) for _ in range(self._accumulate)]

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
        drawn: list[list[list[Any]]] = [[] for _ in range(steps)]
        for index, walk in enumerate(self._walks):
            self.restore(index)
            for step in drawn:
                step.append([next(walk) for _ in range(self._accumulate)])
            self._states[index] = RNGState.capture(self._device)
        self._ahead.extend(drawn)
        self._most_ahead = max(1, HELD_BYTES // max(1, num_bytes(drawn[0])))

    def close(self) -> None:
        """Let go of the data."""
        self._ahead.clear()
        for walk in self._walks:
            walk.close()


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
