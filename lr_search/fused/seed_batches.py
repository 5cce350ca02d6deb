"""Batches for several models of different seeds, stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import default_collate

from lr_search.rng import RNGState, seed_everything
from lr_search.workloads.batches import BatchWalk
from lr_search.workloads.workload import Workload


class SeededWalks:
    """The batches that several seeds give, each drawn under the random state that its seed's training has.

    The global generators are moved; where they shall be left alone, the caller puts them back.

    Args:
        workload: whose training data.
        seeds: one for each model.
    """

    def __init__(self, workload: Workload, seeds: Sequence[int]) -> None:
        self._device, self._accumulate = workload.torch_device, workload.accumulate
        self._walks: list[BatchWalk] = []
        self._states: list[RNGState] = []
        for seed in seeds:
            seed_everything(seed)
            self._walks.append(BatchWalk(workload.train_data, "train_data", self._device))
            self._states.append(RNGState.capture(self._device))

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
