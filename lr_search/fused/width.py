"""How many trainings to fuse: as many as are fastest, and fit into memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from lr_search.fused.support import Support
from lr_search.fused.training import FusedTraining, Member
from lr_search.schedules.constant import Constant
from lr_search.training import train
from lr_search.workload import Workload

WIDEST = 256
TIMED_STEPS, CHUNKS, WARM_STEPS = 2, 4, 2  # a chunk's steps are timed together; the fastest chunk counts
GAIN = 1.05  # how much faster than one by one it must be to be worth it, and a width than a smaller one
LR = 1e-9  # while it is measured: the weights stay where they are
MEMORY_SHARE = 0.5  # of what is free


def fastest_width(workload: Workload, seed: int, support: Support, most: int) -> int:
    """The width with the most model-steps a second, measured on a few steps at 1, 2, 4, ...; 1: one by one is faster.

    Args:
        workload: what is trained.
        seed: of the weights and batches.
        support: what is known of it.
        most: the widest to try.
    """
    workload = replace(workload, num_steps=max(workload.num_steps, WARM_STEPS + CHUNKS * TIMED_STEPS))
    best, best_rate, worse = 1, GAIN / _seconds_alone(workload, seed), 0
    width = 2
    while width <= most and worse < 2:
        try:
            rate = width / _seconds_fused(workload, seed, support, width)
        except Exception as error:
            if not out_of_memory(error):
                raise
            release_memory(workload.torch_device)
            break
        worse = 0 if rate > best_rate else worse + 1
        if rate > best_rate * (1.0 if best == 1 else GAIN):
            best, best_rate = width, rate
        width *= 2
    return best


def _seconds_alone(workload: Workload, seed: int) -> float:
    training = train(workload, Constant(LR), seed=seed)
    return _fastest(lambda steps: training.advance(training.step + steps), training.close, workload)


def _seconds_fused(workload: Workload, seed: int, support: Support, width: int) -> float:
    training = FusedTraining([Member(workload, Constant(LR))] * width, seed, [support] * width)
    return _fastest(training.advance, training.close, workload)


def _fastest(advance: Callable[[int], object], close: Callable[[], None], workload: Workload) -> float:
    """Seconds a step."""
    found = []
    try:
        advance(WARM_STEPS)
        for _ in range(CHUNKS):
            begun = time.perf_counter()
            advance(TIMED_STEPS)  # reads the losses, which waits for the device
            found.append(time.perf_counter() - begun)
    finally:
        close()
    return min(found) / TIMED_STEPS


def fitting_width(support: Support, device: torch.device) -> int:
    """How many models fit into half of the memory that is free, by what one of them takes; at least 1."""
    free = free_bytes(device)
    return WIDEST if free is None else max(1, int(MEMORY_SHARE * free // max(1, support.row_bytes)))


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on the device; None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return None


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an exception says."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def release_memory(device: torch.device) -> None:
    """Give back what is not used any more."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
