"""Tests that a GPU must pass: they run on the CPU too, where they can be tried; and steps during which nothing may wait for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
import torch

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
WARM_UPS = 2  # steps; what is set up once may wait


def on_device(value: Any, device: str) -> Any:
    """Tensors in lists and tuples, on the device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return type(value)(on_device(item, device) for item in value)


def bits(value: Any) -> Any:
    """The value with every tensor in it as its dtype, shape, device and bytes, to be compared."""
    if isinstance(value, torch.Tensor):
        held = value.detach().cpu().contiguous()
        return str(held.dtype), tuple(held.shape), value.device.type, held.numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bits(item) for item in value]
    return value


def drawn_from(device: str) -> tuple[bytes, bytes]:
    """torch's random states: the CPU's, and the device's."""
    states = torch.get_rng_state(), torch.cuda.get_rng_state() if device == "cuda" else torch.empty(0)
    return states[0].numpy().tobytes(), states[1].numpy().tobytes()


def forbid_waits(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, device: str) -> Callable[[], int]:
    """Whatever waits for the GPU within a method, from its third call on, raises.

    Returns:
        How many calls there were so far.
    """
    original = getattr(owner, method)
    calls = 0

    @wraps(original)
    def watched(*args: Any, **settings: Any) -> Any:
        nonlocal calls
        calls += 1
        if device != "cuda" or calls <= WARM_UPS:
            return original(*args, **settings)
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            return original(*args, **settings)
        finally:
            torch.cuda.set_sync_debug_mode(before)

    monkeypatch.setattr(owner, method, watched)
    return lambda: calls
