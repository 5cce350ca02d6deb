"""Prints of data: short records by which batches and weights of any form are known again, on other machines too.

What is counted (whole numbers, text, shapes, names) must come out the same; floats may differ by rounding, since other thread
counts and processors round otherwise.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from lr_search.rng import seed_everything
from lr_search.state.sharding import in_one_piece
from lr_search.workloads.batches import BatchSource, aside, length, open_data, preserved_generators, rewind
from lr_search.workloads.passes import END, one_pass

FEWEST = 4  # batches that are looked at, however long they take
_DENSE, _MOST = 16, 256  # every batch up to here, then those at powers of two and the last; no further than that
_APART = 4  # float tensors of a batch that have a sketch of their own; the rest share one
_DEEPEST = 8  # containers within each other
_TABLE = 1 << 16


def pass_print(
    source: BatchSource, name: str, seed: int, seconds: float, model: nn.Module | None = None
) -> dict[str, Any]:
    """What one pass over data looks like, as a training or evaluation of that seed begins it; moves the global generators.

    Args:
        source: makes the iterable.
        name: what the user calls it, for messages.
        seed: of what it draws.
        seconds: after which no further batch is drawn, beyond the first 4.
        model: untrained, for a source that makes its batches of it.

    Returns:
        What JSON takes: `batches` and `examples` in a pass, where known; `prints`, the batch's place -> its print.
    """
    seed_everything(seed)
    data = open_data(source, name, model)
    with preserved_generators(data) as loader_generators:
        rewind(loader_generators)
        prints, ended = _walked(data, name, seconds)
    known = ended if length(data) is None else length(data)
    return {"batches": known, "examples": length(getattr(data, "dataset", None)), "prints": prints}


def _walked(data: Any, name: str, seconds: float) -> tuple[dict[str, Any], int | None]:
    """The prints, and how many batches there were where the pass was walked to its end."""
    prints: dict[str, Any] = {}
    begun, place, batch = time.monotonic(), 0, None
    batches = one_pass(data, name, aside(data))
    while place < FEWEST or (place < _MOST and time.monotonic() - begun < seconds):
        following = next(batches, END)
        if following is END:
            if place:
                prints[str(place - 1)] = value_print(batch)
            return prints, place
        batch = following
        if place < _DENSE or place & (place - 1) == 0:
            prints[str(place)] = value_print(batch)
        place += 1
    return prints, None


def value_print(value: Any) -> list[Any]:
    """A value's print: a hash of what is counted in it, then (direction, size) of its floats, tensor by tensor.

    size = |x|,   direction = sum_i cos(i) x_i / |x|

    Args:
        value: tensors, arrays, numbers, text, and containers and objects of them.

    >>> value_print([torch.tensor([3.0, 4.0]), "label"])[1:]
    [[1.0322418, 5.0]]
    """
    counted = hashlib.sha256()
    floats: list[tuple[float, float]] = []
    _walk(value, counted, floats, _DEEPEST)
    apart, rest = floats[:_APART], floats[_APART:]
    if rest:
        total = sum(math.cos(place) * along for place, (along, _) in enumerate(rest))
        apart.append((total, math.hypot(*(size for _, size in rest))))
    return [
        counted.hexdigest()[:8],
        *([_rounded(along / size if size else 0.0), _rounded(size)] for along, size in apart),
    ]


def _walk(value: Any, counted: Any, floats: list[tuple[float, float]], deepest: int) -> None:
    if isinstance(value, torch.Tensor):
        for tensor in _strided(value):
            _walk_tensor(tensor, counted, floats)
    elif isinstance(value, np.ndarray | np.generic):
        _walk_array(np.asarray(value), counted, floats, deepest)
    elif isinstance(value, float):
        counted.update(f"{value:.5g}".encode())
    elif value is None or isinstance(value, bool | int | str | bytes | complex):
        counted.update(repr(value).encode())
    elif deepest:
        _walk_container(value, counted, floats, deepest - 1)


def _walk_container(value: Any, counted: Any, floats: list[tuple[float, float]], deepest: int) -> None:
    held: Any = value
    if isinstance(value, set | frozenset):
        held = sorted(value, key=repr)
    elif hasattr(value, "__array__") or hasattr(value, "__array_interface__"):  # a picture
        held = [np.asarray(value)]
    elif not isinstance(value, Mapping | list | tuple):
        held = getattr(value, "__dict__", {})  # a data class, a graph, a padded sequence
    counted.update(f"{type(value).__name__} {len(held)}".encode())
    for key, each in held.items() if isinstance(held, Mapping) else enumerate(held):
        counted.update(repr(key).encode() if isinstance(key, str | int) else b"")
        _walk(each, counted, floats, deepest)


def _walk_array(array: np.ndarray[Any, Any], counted: Any, floats: list[tuple[float, float]], deepest: int) -> None:
    if array.dtype.kind in "fc":
        wide = np.complex128 if array.dtype.kind == "c" else np.float64
        _walk_tensor(torch.from_numpy(array.astype(wide)), counted, floats)
    elif array.dtype.kind == "O":
        _walk(array.tolist(), counted, floats, deepest)
    else:
        counted.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())


def _walk_tensor(tensor: torch.Tensor, counted: Any, floats: list[tuple[float, float]]) -> None:
    counted.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    held = in_one_piece(tensor.detach()).cpu().contiguous()
    if held.is_complex():
        held = torch.view_as_real(held.resolve_conj())
    if not held.is_floating_point():
        counted.update(held.reshape(-1).view(torch.uint8).numpy().tobytes() if held.numel() else b"")
        return
    along, size, bad = _sketch(held.reshape(-1))
    if bad:
        counted.update(f"{bad} not finite".encode())
    floats.append((along, size))


def _sketch(values: torch.Tensor) -> tuple[float, float, int]:
    """(sum_i cos(i) x_i, |x|, how many are not finite), block by block, for weights may be many."""
    along, squares, bad = 0.0, 0.0, 0
    for place, start in enumerate(range(0, len(values), _TABLE)):
        block = values[start : start + _TABLE].double()
        square = float(block @ block)
        if not math.isfinite(square):
            finite = block.isfinite()
            bad += int((~finite).sum())
            block = block.where(finite, 0.0)
            square = float(block @ block)
        along += math.cos(place) * float(block @ _cosines()[: len(block)])
        squares += square
    return along, math.sqrt(squares), bad


@lru_cache(maxsize=1)
def _cosines() -> torch.Tensor:
    return torch.arange(_TABLE, dtype=torch.float64).cos()


def _strided(tensor: torch.Tensor) -> list[torch.Tensor]:
    """A tensor of any layout as plain ones."""
    if tensor.is_nested:
        return list(tensor.unbind())
    if tensor.is_quantized:
        return [tensor.dequantize()]
    if tensor.layout is not torch.strided:
        entries = (tensor if tensor.layout is torch.sparse_coo else tensor.to_sparse()).coalesce()
        return [entries.indices(), entries.values()]
    return [tensor]


def _rounded(number: float) -> float:
    return float(f"{number:.8g}")
