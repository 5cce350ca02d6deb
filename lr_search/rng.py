"""The random states of Python, NumPy and torch: seeded, captured and put back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators (the CPU's and every GPU's, CUDA's or Apple's)."""
    seed = int(seed)  # Python's generator takes no number of NumPy's
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  the user's code may draw from the global generator
    # not torch.manual_seed: where there is no GPU it keeps a stack trace of every call for the day CUDA starts
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


def gpu_state(device: torch.device) -> torch.Tensor | None:
    """The random state of a GPU, CUDA's or Apple's (mps); None for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def set_gpu_state(state: torch.Tensor | None, device: torch.device) -> None:
    """Write it back; None: nothing."""
    if state is None:
        return
    if device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.cuda.set_rng_state(state, device)


@dataclass(frozen=True)
class RNGState:
    """The global random states of Python, NumPy and torch (the CPU's, and one GPU's where the training uses it)."""

    python: Any
    numpy: Any
    torch_cpu: torch.Tensor
    cuda: torch.Tensor | None  # or Apple's GPU's
    device: torch.device

    @classmethod
    def capture(cls, device: torch.device) -> RNGState:
        """Read them all."""
        numpy_state = np.random.get_state()  # noqa: NPY002
        return cls(random.getstate(), numpy_state, torch.get_rng_state(), gpu_state(device), device)

    def restore(self) -> None:
        """Write them all back."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.torch_cpu)
        set_gpu_state(self.cuda, self.device)

    def same_as(self, other: RNGState) -> bool:
        """Whether the same numbers would be drawn."""
        (name, keys, *rest), (other_name, other_keys, *other_rest) = self.numpy, other.numpy
        alike = (self.python, name, rest) == (other.python, other_name, other_rest)
        return alike and np.array_equal(keys, other_keys) and self._same_in_torch_as(other)

    def same_in_torch(self) -> bool:
        """Whether torch's generators are as they were."""
        return self._same_in_torch_as(RNGState.capture(self.device))

    def _same_in_torch_as(self, other: RNGState) -> bool:
        same = torch.equal(self.torch_cpu, other.torch_cpu)
        return same and (self.cuda is None or other.cuda is None or torch.equal(self.cuda, other.cuda))

    def plain(self) -> dict[str, Any]:
        """Plain containers, numbers and tensors: what `torch.load(weights_only=True)` takes."""
        name, keys, *rest = self.numpy
        numpy_state = (name, torch.from_numpy(keys.astype(np.int64)), *rest)
        return {"python": self.python, "numpy": numpy_state, "torch_cpu": self.torch_cpu, "cuda": self.cuda}

    @classmethod
    def from_plain(cls, state: dict[str, Any], device: torch.device) -> RNGState:
        """The state that `plain` gave, for a training on `device`."""
        name, keys, *rest = state["numpy"]
        cuda = state["cuda"].cpu() if state["cuda"] is not None and device.type in ("cuda", "mps") else None
        numpy_state = (name, keys.cpu().numpy().astype(np.uint32), *rest)
        return cls(state["python"], numpy_state, state["torch_cpu"].cpu(), cuda, device)


@contextmanager
def preserved_rng(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside leaves the global random states as they were, also after an exception."""
    state = RNGState.capture(device)
    try:
        yield
    finally:
        state.restore()
