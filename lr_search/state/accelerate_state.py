"""What Accelerate keeps for a whole process, put back after a training; Accelerate itself is not imported."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SINGLETONS = ("GradientState", "AcceleratorState", "PartialState")


@contextmanager
def preserved_accelerate() -> Iterator[None]:
    """Leaves Accelerate's process-wide states as they were: accumulation, the loader that is walked through, device, precision.

    Where Accelerate was not loaded before, or no Accelerator was made, there is none afterwards.
    """
    before = {name: _copied(shared) for name, shared in _shared_states().items()}
    try:
        yield
    finally:
        for name, shared in _shared_states().items():
            shared.clear()
            shared.update(before.get(name, {}))


def _shared_states() -> dict[str, dict[str, Any]]:
    """By the singleton's name, the dictionary that all its instances share; empty where Accelerate is not loaded."""
    module = sys.modules.get("accelerate.state")
    kinds = {name: getattr(module, name, None) for name in SINGLETONS}
    return {name: kind._shared_state for name, kind in kinds.items() if kind is not None}


def _copied(shared: dict[str, Any]) -> dict[str, Any]:
    """A copy that keeps its containers, such as the settings of the accumulation, which are changed in place."""
    return {name: copy.copy(value) if isinstance(value, dict | list) else value for name, value in shared.items()}
