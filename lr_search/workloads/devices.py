"""Where a workload is trained, by the name of the device, and its batches there."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, MutableMapping
from typing import Any

import torch

from lr_search.errors import MOST_QUOTED, require


def device_named(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA's where this machine has it, else Apple's (mps), else the CPU.

    Raises:
        InvalidInputError: torch knows no such device, or this machine has none.
    """
    if name == "auto":
        return torch.device(next((kind for kind in _AVAILABLE if is_available(kind)), "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        require(False, f"device must be 'auto' or a torch device ({str(error)[:MOST_QUOTED]})", device=name)
        raise
    require(is_available(device.type), "device must be one this machine has", "Use device='auto'.", device=name)
    return device


_AVAILABLE = {"cuda": lambda: torch.cuda.is_available(), "mps": lambda: torch.backends.mps.is_available()}  # best first


def is_available(kind: str) -> bool:
    """Whether this machine has a device of that kind; taken for granted of kinds other than cuda and mps."""
    return _AVAILABLE[kind]() if kind in _AVAILABLE else True


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on the device, in the same containers."""
    if isinstance(batch, torch.Tensor):
        return batch if batch.device == device else batch.to(device, non_blocking=True)
    if device.type == "cpu":
        return batch
    if hasattr(batch, "to"):  # a tokenizer's encoding, a graph, a packed sequence: it knows better than we do
        return batch.to(device)
    if isinstance(batch, Mapping):
        moved = {key: to_device(value, device) for key, value in batch.items()}
        if type(batch) is dict or not isinstance(batch, MutableMapping):
            return moved
        moved_batch = copy.copy(batch)
        moved_batch.update(moved)
        return moved_batch
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        names = [field.name for field in dataclasses.fields(batch) if field.init]
        return dataclasses.replace(batch, **{name: to_device(getattr(batch, name), device) for name in names})
    return batch
