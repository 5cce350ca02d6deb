"""Where a workload is trained, by the name of the device."""

from __future__ import annotations

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
