"""How many trainings to fuse: as many as are fastest, and fit into memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lr_search.errors import LRSearchError, user_code
from lr_search.fused.lane import Member
from lr_search.fused.support import Support
from lr_search.fused.trials import FusedTraining
from lr_search.schedules.decay import Constant
from lr_search.training.training import train
from lr_search.workloads.workload import Workload

WIDEST = 256  # that is looked for
TIMED_STEPS, CHUNKS, WARM_STEPS = 2, 6, 2  # a chunk's steps are timed together; the fastest chunk counts
LONG_SECONDS = 0.1  # of a width's chunks: after so long, two are enough
TRIED_SHARE = 0.05  # of the time that all would take one by one: wider ones are not tried after that
SOME = 8  # up to so many are tried in any case
GAIN = 1.05  # how much faster than one by one it must be to be worth it, and a width than a smaller one
LR = 1e-9  # while it is measured: the weights stay where they are
MEMORY_SHARE = 0.5  # of what is free
MEMORY = Path("/proc/meminfo")


def fastest_width(workload: Workload, seeds: Sequence[int], support: Support) -> int:
    """The width with the most model-steps a second, measured on a few steps at 1 (one by one), 2, 4, ....

    Args:
        workload: what is trained.
        seeds: of those that would be trained, in the order in which they are taken; as many as the widest to try.
        support: what is known of it.
    """
    workload = replace(workload, num_steps=max(workload.num_steps, WARM_STEPS + CHUNKS * TIMED_STEPS))
    best, best_rate, worse, most = 1, 0.0, 0, len(seeds)
    begun, last, enough = time.perf_counter(), 0.0, 0.0
    width = 1
    while width <= most and (worse < 2 or width <= SOME):
        tried = time.perf_counter()
        if width > 2 and tried - begun + 2 * last > enough:
            break
        try:
            with user_code:
                alone = width == 1
                seconds = (
                    _seconds_alone(workload, seeds[0]) if alone else _seconds_fused(workload, seeds[:width], support)
                )
        except LRSearchError:
            raise
        except Exception:  # out of memory; or the user's code raises, which the trials will report
            release_memory(workload.torch_device)
            break
        rate = width / seconds
        worse = 0 if rate > best_rate else worse + 1
        if rate > best_rate * GAIN:
            best, best_rate = width, rate
        last = time.perf_counter() - tried
        enough = enough or TRIED_SHARE * seconds * most * workload.num_steps
        width *= 2
    return most if 1 < best <= most < 2 * best and worse == 0 else best


def _seconds_alone(workload: Workload, seed: int) -> float:
    training = train(workload, Constant(LR), seed=seed)
    return _fastest(lambda steps: training.advance(training.step + steps), training.close, workload)


def _seconds_fused(workload: Workload, seeds: Sequence[int], support: Support) -> float:
    training = FusedTraining([Member(workload, Constant(LR))] * len(seeds), seeds, [support] * len(seeds))
    return _fastest(training.advance, training.close, workload)


def _fastest(advance: Callable[[int], object], close: Callable[[], None], workload: Workload) -> float:
    """Seconds a step."""
    seconds: list[float] = []
    try:
        advance(WARM_STEPS)
        first = time.perf_counter()
        while len(seconds) < CHUNKS and (len(seconds) < 2 or time.perf_counter() - first < LONG_SECONDS):
            begun = time.perf_counter()
            advance(TIMED_STEPS)  # reads the losses, which waits for the device
            seconds.append(time.perf_counter() - begun)
    finally:
        close()
    return min(seconds) / TIMED_STEPS


def fitting_width(support: Support, device: torch.device, *, own_batches: bool = False) -> int:
    """How many models fit into half of the memory that is free, by what one of them takes; at least 1, and no bound where that is not known.

    Args:
        support: what is known of the workload.
        device: whose memory.
        own_batches: whether each model has a batch of its own: as it was drawn, and in the stack.
    """
    free = free_bytes(device)
    row_bytes = support.row_bytes + 2 * support.batch_bytes * own_batches
    return sys.maxsize if free is None else max(1, int(MEMORY_SHARE * free // max(1, row_bytes)))


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on the device; None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if not MEMORY.exists():  # no Linux
        return None
    lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def release_memory(device: torch.device) -> None:
    """Give back the device's memory that is not used any more."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
