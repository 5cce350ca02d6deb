"""Tests that a GPU must pass: they run on the CPU too, where they can be tried; and steps during which nothing may wait for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def waits_raise() -> Iterator[None]:
    """Inside, whatever waits for the GPU raises, as far as torch sees it."""
    before = torch.cuda.get_sync_debug_mode()
    _set_sync_debug_mode(2)
    try:
        yield
    finally:
        _set_sync_debug_mode(before)


def _set_sync_debug_mode(mode: int) -> None:
    with warnings.catch_warnings(action="ignore"):  # it warns that it does not see everything
        torch.cuda.set_sync_debug_mode(mode)


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
        with waits_raise():
            return original(*args, **settings)

    monkeypatch.setattr(owner, method, watched)
    return lambda: calls
