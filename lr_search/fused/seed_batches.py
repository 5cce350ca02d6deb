"""Batches for several models of different seeds, stacked."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import default_collate

from lr_search.rng import RNGState
from lr_search.workloads.batches import BatchWalk


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

    def add(self, batches: BatchWalk) -> None:
        """The next model's batches, from the global random state as it is now: where its seed's training begins."""
        self._walks.append(batches)
        self._states.append(RNGState.capture(self._device))

    def __getitem__(self, index: int) -> BatchWalk:
        """The batches of one of the seeds."""
        return self._walks[index]

    def draw(self, steps: int) -> list[list[Any]]:
        """The stacked batches of so many steps: for each a list of as many as a step accumulates.

        Raises:
            Exception: torch's `default_collate` cannot stack those of several seeds.
        """
        drawn: list[list[Any]] = []
        for index, walk in enumerate(self._walks):
            self._states[index].restore()
            drawn.append([next(walk) for _ in range(steps * self._accumulate)])
            self._states[index] = RNGState.capture(self._device)
        together = [default_collate(list(batches)) for batches in zip(*drawn, strict=True)]
        return [together[begin : begin + self._accumulate] for begin in range(0, len(together), self._accumulate)]

    def close(self) -> None:
        """Let go of the data."""
        for walk in self._walks:
            walk.close()
