"""A forward pass that is run once more, under the same random numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from lr_search.rng import RNGState, gpu_state, set_gpu_state


class ReplayedRNG:
    """The random states at the beginning of a forward pass, to run it again; NumPy's and Python's only where it moves them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._all: bool | None = None  # whether NumPy's and Python's states matter; decided in the first step
        self._full: RNGState | None = None
        self._torch: tuple[torch.Tensor, torch.Tensor | None] | None = None

    def mark(self) -> None:
        """The forward pass that may be run again begins here."""
        if self._all is False:
            self._torch = self._torch_states()
        else:
            self._full = RNGState.capture(self._device)

    def _torch_states(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        return torch.get_rng_state(), gpu_state(self._device)

    def _set(self, states: tuple[torch.Tensor, torch.Tensor | None]) -> None:
        torch.set_rng_state(states[0])
        set_gpu_state(states[1], self._device)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Inside, the random numbers of the marked pass come again; afterwards they go on from where they were."""
        if self._all is None:
            self._all = self._others_moved()
        if self._all:
            assert self._full is not None
            now = RNGState.capture(self._device)
            self._full.restore()
            try:
                yield
            finally:
                now.restore()
            return
        states = self._torch_states()
        marked = self._torch if self._torch is not None else (self._full.torch_cpu, self._full.cuda)  # type: ignore[union-attr]
        self._set(marked)
        try:
            yield
        finally:
            self._set(states)

    def _others_moved(self) -> bool:
        """Whether the first forward pass drew from NumPy's or Python's generator."""
        assert self._full is not None
        name, keys, *rest = np.random.get_state()  # noqa: NPY002
        was_name, was_keys, *was_rest = self._full.numpy
        numpy_same = (name, rest) == (was_name, was_rest) and np.array_equal(keys, was_keys)
        return not numpy_same or random.getstate() != self._full.python
