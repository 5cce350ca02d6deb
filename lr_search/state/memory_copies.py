"""One copy of the memory behind tensors, however many of them share it; written back byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

_WITH_MEMORY = ("cpu", "cuda", "mps", "xpu")


class MemoryCopies:
    """Tensors are added, then copied all at once: places that several share, or that lie side by side, only once.

    A write back goes past the tensors: neither their version counters nor views of them notice. Tensors without plain memory
    of their own (sparse, distributed ones) are cloned one by one.
    """

    def __init__(self) -> None:
        self._spans: dict[int, tuple[str, torch.UntypedStorage, list[tuple[int, int]]]] = {}
        self._others: list[tuple[str, torch.Tensor]] = []
        self._copies: list[tuple[str, Callable[[], None]]] = []

    def add(self, tensor: torch.Tensor, name: str) -> None:
        """Copy its numbers as well."""
        if not has_memory(tensor):
            self._others.append((name, tensor))
        elif tensor.numel():
            storage, size = tensor.untyped_storage(), tensor.element_size()
            begin = tensor.storage_offset() * size
            reach = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
            _, _, spans = self._spans.setdefault(storage._cdata, (name, storage, []))
            spans.append((int(begin), int(begin + (1 + reach) * size)))

    @property
    def num_bytes(self) -> int:
        """What the copies of all that was added take."""
        in_spans = sum(end - begin for _, _, spans in self._spans.values() for begin, end in _merged(spans))
        return in_spans + sum(tensor.numel() * tensor.element_size() for _, tensor in self._others)

    def take(self) -> None:
        """Copy what was added."""
        self._copies = [
            (name, partial(_write, storage, span, storage.nbytes(), _bytes_of(storage, span).clone()))
            for name, storage, spans in self._spans.values()
            for span in _merged(spans)
        ]
        self._copies += [(name, partial(_copy, tensor, tensor.detach().clone())) for name, tensor in self._others]

    def restores(self) -> list[tuple[str, Callable[[], None]]]:
        """What writes everything back: each place by itself, with the name of the first tensor there."""
        return self._copies


def _write(storage: torch.UntypedStorage, span: tuple[int, int], whole: int, copied: torch.Tensor) -> None:
    if storage.nbytes() < span[1]:
        storage.resize_(whole)
    _bytes_of(storage, span).copy_(copied)


def _copy(tensor: torch.Tensor, copied: torch.Tensor) -> None:
    with torch.no_grad():
        tensor.copy_(copied)


def has_memory(tensor: torch.Tensor) -> bool:
    """Whether its numbers lie in one plain piece of memory."""
    plain = tensor.layout is torch.strided and tensor.device.type in _WITH_MEMORY
    return plain and not is_traceable_wrapper_subclass(tensor)


def _bytes_of(storage: torch.UntypedStorage, span: tuple[int, int]) -> torch.Tensor:
    begin, end = span
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage, begin, (end - begin,), (1,))


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes, in spans that neither overlap nor touch."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
