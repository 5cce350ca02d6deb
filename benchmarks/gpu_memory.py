"""The part of `gpu.py` that lets memory run out under a FusedExecutor: fewer trials at once must give the same answers.

On a GPU the process is allowed less memory than the widest wave needs; on a CPU the error is only played.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from fused_runs import SEED, fused
from gpu_part import Asked, Part, Row, emptied, mebibytes
from torch import nn

import lr_search as lrs
from lr_search.executors import fused_run
from lr_search.executors.executor import Executor
from lr_search.fused import trials as fused_trials
from lr_search.fused.support import support_of

MOST_APART = 1e-3  # of the losses at the end
FITS = 2  # the widest wave over one that fits


@dataclass(frozen=True)
class Plan:
    """A model of `hidden` units in each of two layers, `width` trials of `steps` steps at once."""

    hidden: int
    width: int
    steps: int


FULL, QUICK = Plan(2048, 16, 30), Plan(8, 8, 10)


def left_out(device: str) -> str:
    """Nothing keeps it from being asked."""
    return ""


def wide(hidden: int) -> nn.Module:
    """1-hidden-hidden-1 with Tanh."""
    return nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))


def sine() -> list[torch.Tensor]:
    """4 batches of 16 pairs."""
    inputs = torch.linspace(-1, 1, 64).reshape(16, 4).T[:, :, None]
    return list(torch.cat([inputs, torch.sin(3 * inputs)], dim=2))


def squared_error(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """Mean over the batch, (examples, 2)."""
    return ((model(batch[:, :1]) - batch[:, 1:]) ** 2).mean()


def workload(plan: Plan, device: str) -> lrs.Workload:
    """SGD with momentum."""
    return lrs.Workload(
        model=partial(wide, plan.hidden), optimizer=partial(torch.optim.SGD, momentum=0.9), loss=squared_error,
        train_data=sine, valid_data=sine, num_steps=plan.steps, eval_every=10, device=device,
    )  # fmt: skip


def rows(asked: Asked) -> Iterator[Row]:
    """One row."""
    plan, device = QUICK if asked.quick else FULL, asked.device
    work = workload(plan, device)
    expected, _ = compared(work, plan, lrs.LocalExecutor())
    peaks = [peak_bytes(work, plan.width // share) for share in (1, 2 * FITS)] if device == "cuda" else [None, None]
    begun = time.monotonic()
    with limited(plan, peaks, device) as limit:
        found, widths = compared(work, plan, lrs.FusedExecutor(width=plan.width))
    yield {
        "trials": plan.width,
        "peak_bytes": peaks[0],
        "limit_bytes": limit,
        "widths": widths,
        "finished": int((found["outcome"] == "finished").sum()),
        "apart": float(((found["loss"] - expected["loss"]) / expected["loss"]).abs().max()),
        "seconds": round(time.monotonic() - begun, 1),
    }


def compared(work: lrs.Workload, plan: Plan, executor: Executor) -> tuple[Any, list[int]]:
    """The trials of a grid, by LR; and how many were trained together, each time that some were."""
    with noted_widths() as widths, contextlib.redirect_stdout(io.StringIO()):
        found = lrs.compare(
            work, strategies=["grid"], schedules=["constant"], lr_range=(1e-5, 1e-3), budget=plan.width, seeds=1,
            executor=executor, storage=None, progress=False,
        )  # fmt: skip
    return found.trials.sort_values("lr", ignore_index=True), widths


@contextlib.contextmanager
def noted_widths() -> Iterator[list[int]]:
    """Inside, the width of every fused training is written down."""
    made, widths = fused_run.FusedTraining, []

    class Noted(made):  # type: ignore[misc, valid-type]
        def __init__(self, members: Any, *settings: Any) -> None:
            widths.append(len(members))
            super().__init__(members, *settings)

    fused_run.FusedTraining = Noted  # type: ignore[misc]
    try:
        yield widths
    finally:
        fused_run.FusedTraining = made  # type: ignore[misc]


def peak_bytes(work: lrs.Workload, width: int) -> int:
    """The most that torch's allocator asked the GPU for in a few steps of so many models."""
    emptied("cuda")
    training = fused(work, support_of(work, SEED), width)
    training.advance(3)
    training.close()
    return int(torch.cuda.max_memory_reserved())


@contextlib.contextmanager
def limited(plan: Plan, peaks: Sequence[int | None], device: str) -> Iterator[int | None]:
    """Inside, memory is short for the widest wave, and enough for one of half its width."""
    if device == "cuda":
        assert None not in peaks
        limit = sum(peak for peak in peaks if peak is not None) // 2  # of 16 and 4: that of 10
        emptied(device)
        torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory, 0)
        try:
            yield limit
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, 0)
        return
    plain = fused_trials.FusedLoss

    class Short(plain):  # type: ignore[misc, valid-type]
        def backward(self, batches: Any) -> torch.Tensor:
            if self._stack.width > plan.width // FITS:
                raise torch.OutOfMemoryError("out of memory, as it were")
            return super().backward(batches)

    fused_trials.FusedLoss = Short  # type: ignore[misc]
    try:
        yield None
    finally:
        fused_trials.FusedLoss = plain  # type: ignore[misc]


def cells(row: Row) -> Sequence[str]:
    """Of the table."""
    widths = ", ".join(map(str, row["widths"]))
    memory = [mebibytes(row["peak_bytes"]), mebibytes(row["limit_bytes"])]
    return [str(row["trials"]), *memory, widths, str(row["finished"]), f"{row['apart']:.0e}", f"{row['seconds']:.0f}"]


def wrong(row: Row) -> str:
    """It did not run out, or something was lost by it."""
    widths, told = row["widths"], []
    if widths[:1] != [row["trials"]] or len(widths) < 3:
        told.append(f"memory did not run out of {row['trials']} at once: trained together were {widths}")
    elif max(widths[1:]) > row["trials"] // 2:
        told.append(f"the width was not halved: {widths}")
    if row["finished"] != row["trials"]:
        told.append(f"{row['finished']} of {row['trials']} trials finished")
    if not row["apart"] <= MOST_APART:
        told.append(f"the losses are {row['apart']:.0e} from those of one by one")
    return "; ".join(told)


HEADS = ["trials", "they need, MiB", "allowed", "trained together", "finished", "apart", "seconds"]
PART = Part("Out of memory: the width is halved", 60.0, left_out, rows, HEADS, cells, wrong)
