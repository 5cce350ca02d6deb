"""What memory a range test takes beyond a bare training step: `python benchmarks/range_test_memory.py`.

Models of 10 and 100 million parameters under Adam, on the CPU. Each case is a process of its own: two steps, so that the
optimizer's state is there; then the highest resident memory so far (VmHWM of Linux) is set back to the present one through
/proc/self/clear_refs, the case is run, and the peak is read. Told as multiples of the weights' size above the bare steps' peak.
The weights, Adam's two moments and the gradients take four together.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lr_search import range_test

SIZES = {"10M": 1000, "100M": 3162}  # the width of ten square layers
LAYERS, BATCH = 10, 8
CASES = {"bare": None, "range test, no gain ratio": False, "range test": None}


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    """The mean square of the outputs."""
    outputs: torch.Tensor = model(batch)
    return outputs.square().mean()


def peak_bytes() -> int:
    """The highest resident memory since it was last set back."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def ran(case: str, width: int) -> int:
    """The peak while the case runs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = [layer for _ in range(LAYERS) for layer in (nn.Linear(width, width, bias=False), nn.Tanh())]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    batches = [torch.randn(BATCH, width) for _ in range(4)]

    def steps(count: int) -> None:
        for number in range(count):
            optimizer.zero_grad()
            loss(model, batches[number % len(batches)]).backward()
            optimizer.step()

    steps(2)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    if case == "bare":
        steps(4)
    else:
        range_test(model, optimizer, batches, loss, end_lr=1e-4, num_steps=20, gain_ratio=CASES[case])
    return peak_bytes()


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    given = parser.parse_args()
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # what is freed goes back to the system at once, or it would count
    context = multiprocessing.get_context("spawn")
    for name in given.sizes:
        width = SIZES[name]
        weights = 4 * LAYERS * width**2
        bare = 0
        for case in CASES:
            with context.Pool(1) as pool:
                peak = pool.apply(ran, (case, width))
            bare = bare or peak
            print(
                f"{name} parameters ({weights / 2**20:.0f} MiB of weights)  {case:<26} peak {peak / 2**20:6.0f} MiB"
                f"   {(peak - bare) / weights:+.2f} times the weights",
                flush=True,
            )


if __name__ == "__main__":
    main()
