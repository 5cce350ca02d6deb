"""What a call of a training function begins with, and leaves as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lr_search.rng import preserved_rng, seed_everything
from lr_search.state.accelerate_state import preserved_accelerate


@contextmanager
def seeded_call(device: torch.device, seed: int) -> Iterator[None]:
    """Seeds the generators; afterwards these, and what Accelerate keeps for the process, are as before."""
    with preserved_rng(device), preserved_accelerate():
        seed_everything(seed)
        yield
