"""Trains the unseen tasks at many LRs: `python benchmarks/unseen_truth.py [--minutes 40]`.

For 1,000 and 3,000 steps under constant, wsd and cosine (that for 3,000 only), the two cheapest for 10,000 too; at LRs .35 decades apart
from 1.75 below the best of constant trainings of 300 steps to 1.05 above it, wider where the best of a schedule lies at an end; two seeds.
Results are in unseen.json, a line a task, written after each; a task that is there is left alone.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lr_grid import LRGrid, write_lines
from regret_waves import plain_wave
from unseen import TASKS

from lr_search import Workload
from lr_search.fused.support import Support, support_of

PATH = Path(__file__).with_name("unseen.json")
LENGTHS = (1000, 3000)
LONGER = dict.fromkeys(("finetune_mountain_car_momentum", "hamiltonian_nesterov"), 10_000)
SCOUT_STEPS = 300
SCOUTED = 10 ** np.arange(-6, 1.6, 0.5)


@dataclass
class Scouted:
    """A workload, and roughly where its best LR lies.

    Args:
        workload: of 3,000 steps.
        support: of its trainings.
        middle: log10 of the LR at place 0, the best of short constant trainings.
        seconds: of a processor, that finding that took.
    """

    workload: Workload
    support: Support
    middle: float
    seconds: float


def scouted(name: str) -> Scouted:
    """See the class."""
    begun, workload = time.process_time(), replace(TASKS[name].make(), num_steps=LENGTHS[-1])
    support = support_of(workload, 0)
    if not support.stacks:
        raise SystemExit(f"{name} must be trainable many at once, but: {support.reason or 'its optimizer is not'}")
    final = plain_wave(workload, support, "constant", SCOUTED.tolist(), SCOUT_STEPS, 0)[1]
    best = int(np.argmin([np.inf if loss is None else loss for loss in final]))
    return Scouted(workload, support, float(np.log10(SCOUTED[best])), time.process_time() - begun)


def entry(name: str, begin: Scouted) -> dict[str, Any]:
    """A task's line of the file."""
    begun = time.process_time()
    lengths = [*LENGTHS, *([LONGER[name]] if name in LONGER else [])]
    grid = LRGrid(begin.workload, begin.support, begin.middle, lengths, lengths[1:], least=lengths[0])
    losses = grid.trained()
    return {
        "initial": grid.initial,
        "steps_per_epoch": begin.workload.steps_per_epoch,
        "losses": losses,
        "cpu_seconds": round(begin.seconds + time.process_time() - begun, 1),
    }


def main() -> None:
    """Train what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40.0, help="no task is begun later")
    given = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    found: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {}
    begins = {name: scouted(name) for name in TASKS if name not in found}
    for name in sorted(begins, key=lambda name: begins[name].seconds):
        if time.perf_counter() - begun > 60 * given.minutes:
            break
        found[name] = entry(name, begins[name])
        write_lines(PATH, found, TASKS)
        print(f"{name:<40} {found[name]['cpu_seconds']:>7.1f} CPU s", flush=True)
    print(f"{len(found)} of {len(TASKS)} tasks; {time.perf_counter() - begun:.0f} s of wall in this call")


if __name__ == "__main__":
    main()
