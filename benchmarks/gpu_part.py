"""What the parts of `gpu.py` have in common."""

from __future__ import annotations

import gc
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Row = Mapping[str, Any]  # what JSON can hold


@dataclass(frozen=True)
class Asked:
    """How a part is to be run.

    Args:
        device: "cuda" or "cpu".
        quick: as little as shows that it works.
        until: when it is to begin nothing more, by `time.monotonic`.
    """

    device: str
    quick: bool
    until: float

    @property
    def seconds_left(self) -> float:
        """Until then."""
        return self.until - time.monotonic()


@dataclass(frozen=True)
class Part:
    """A question to the GPU.

    Args:
        about: its table's title.
        seconds: that it may take.
        left_out: device -> why it cannot be asked here; "" where it can.
        rows: finds the answer, a row at a time.
        heads: of the table.
        cells: of a row in it.
        wrong: what is wrong in a row; "" where it is as it should be.
    """

    about: str
    seconds: float
    left_out: Callable[[str], str]
    rows: Callable[[Asked], Iterator[Row]]
    heads: Sequence[str]
    cells: Callable[[Row], Sequence[str]]
    wrong: Callable[[Row], str]


def missing(package: str, module: str) -> str:
    """A sentence, where a package is not installed; "" where it is."""
    return "" if importlib.util.find_spec(module) is not None else f"{package} is not installed"


def synchronized(device: str) -> None:
    """Wait for what the GPU still has to do."""
    if device == "cuda":
        torch.cuda.synchronize()


def emptied(device: str) -> None:
    """Give back the memory that nothing holds any more, and count its peak from here on."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def mebibytes(number: float | None) -> str:
    """A number of bytes; "" for none."""
    return "" if number is None else f"{number / 2**20:,.1f}"
