"""Models that several processes train together: copies of them, or weights split as DTensors by FSDP2 or tensor parallelism."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel")


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether it is a DTensor: one process holds a part of it, or one of its copies."""
    return _is_of(tensor, "torch.distributed.tensor", "DTensor")


def in_one_piece(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in one piece, the same in every process: all of them must ask for it."""
    holder: Any = tensor
    result: torch.Tensor = holder.full_tensor() if is_sharded(tensor) else tensor
    return result


def reshard(modules: Iterable[nn.Module]) -> None:
    """Let every FSDP2 module hold its shards again: a pass without gradients leaves those of the root gathered."""
    if "torch.distributed.fsdp" not in sys.modules:  # asked at every step of a range test
        return
    for module in modules:
        if _is_of(module, "torch.distributed.fsdp", "FSDPModule"):
            holder: Any = module
            holder.reshard()


def shared_between_processes(model: nn.Module) -> bool:
    """Whether several processes train the model together."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    if any(type(module).__name__ in _WRAPPERS for module in model.modules()):
        return True
    return any(is_sharded(parameter) and _mesh_size(parameter) > 1 for parameter in model.parameters())


def _mesh_size(tensor: Any) -> int:
    return int(tensor.device_mesh.size())


def _is_of(value: object, package: str, name: str) -> bool:
    """Whether it is of that class; where its package was not imported, there can be none."""
    kind = getattr(sys.modules.get(package), name, None)
    return kind is not None and isinstance(value, kind)
