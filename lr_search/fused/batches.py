"""Batches for several models of different seeds, stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lr_search._data import BatchWalk
from lr_search.optim import RNGState, seed_everything
from lr_search.workload import Workload


class NotAlikeError(ValueError):
    """The batches of several seeds differ in shape, or are not made of tensors."""


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
            NotAlikeError: those of several seeds cannot be stacked.
        """
        drawn: list[list[Any]] = []
        for index, walk in enumerate(self._walks):
            self._states[index].restore()
            drawn.append([next(walk) for _ in range(steps * self._accumulate)])
            self._states[index] = RNGState.capture(self._device)
        together = [stacked(batches) for batches in zip(*drawn, strict=True)]
        return [together[begin : begin + self._accumulate] for begin in range(0, len(together), self._accumulate)]

    def close(self) -> None:
        """Let go of the data."""
        for walk in self._walks:
            walk.close()


def stacked(batches: Sequence[Any]) -> Any:
    """Batches of one form as one, whose tensors have one more dimension in front.

    Raises:
        NotAlikeError: they differ in form, or hold something else than tensors.
    """
    first = batches[0]
    if isinstance(first, torch.Tensor):
        if any(other.shape != first.shape or other.dtype != first.dtype for other in batches):
            raise NotAlikeError("the batches of several seeds differ in shape")
        return torch.stack(list(batches))
    if isinstance(first, Mapping) and type(first) is dict:
        return {key: stacked([batch[key] for batch in batches]) for key in first}
    if type(first) in (list, tuple) or hasattr(first, "_fields"):
        parts = [stacked(parts) for parts in zip(*batches, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    raise NotAlikeError(f"the batches hold {type(first).__name__}, which cannot be stacked")
