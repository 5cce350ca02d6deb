"""Where the best peak LR of a cyclic schedule lies: `python benchmarks/peaks.py [--jobs 2] [--report]`.

Trains tasks of the fitting sets under cyclic and other schedules at peaks from a tenth to thirty times the range test's suggestion, and
compares three peaks that a prior might be centred on: the suggestion, the curve's `bounds()`' max_lr, and the larger of the two.
What was trained is kept in peaks.json.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from search_curves import wanted
from tasks import TASKS

import lr_search as lrs

PATH = Path(__file__).with_name("peaks.json")
SCHEDULES = ("constant", "linear", "triangular2", "sgdr", "one_cycle")
OFFSETS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5)  # decades from the suggestion
SEEDS = 2
CENTRES = ("suggestion", "max_lr", "larger of both")


def measured(task: str) -> dict[str, Any]:
    """What each seed's range test tells, and the drop of the loss under each schedule at each peak."""
    torch.set_num_threads(1)
    workload = TASKS[task].make()
    curves = [workload.range_test(seed) for seed in range(SEEDS)]
    suggested = [curve.suggest().lr for curve in curves]
    return {
        "suggested": [float(f"{lr:.4g}") for lr in suggested],
        "max_lr": [float(f"{curve.bounds()[1]:.4g}") for curve in curves],
        "drops": {name: [drops(workload, name, lr, seed) for seed, lr in enumerate(suggested)] for name in SCHEDULES},
    }


def drops(workload: lrs.Workload, name: str, centre: float, seed: int) -> list[float]:
    """How far the loss falls at each peak, 0 where it rises or diverges, (offsets,)."""
    found = []
    for offset in OFFSETS:
        schedule = lrs.schedules.by_name(
            name, lr=centre * 10**offset, num_steps=workload.num_steps, steps_per_epoch=workload.steps_per_epoch
        )
        losses = [e.metrics["loss"] for e in lrs.train(workload, schedule, seed=seed)]
        found.append(float(f"{max(0.0, losses[0] - losses[-1]):.5g}") if np.isfinite(losses[-1]) else 0.0)
    return found


def row(kept: dict[str, dict[str, Any]], name: str) -> str:
    """The best peak's place, and the mean regret at each centre."""
    best, regrets = [], {centre: [] for centre in CENTRES}
    for entry in kept.values():
        for seed, found in enumerate(entry["drops"][name]):
            regret = 1 - np.array(found) / max(found)
            best.append(OFFSETS[int(regret.argmin())])
            over = float(np.log10(entry["max_lr"][seed] / entry["suggested"][seed]))
            places = {"suggestion": 0.0, "max_lr": over, "larger of both": max(0.0, over)}
            for centre, place in places.items():
                regrets[centre].append(float(np.interp(place, OFFSETS, regret)))
    numbers = "".join(f"{np.mean(regrets[centre]):>16.3f}" for centre in CENTRES)
    return f"{name:<14}{np.mean(best):>+8.2f}{np.median(best):>+8.2f}{numbers}"


def main() -> None:
    """Train what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="only print what is there")
    given = parser.parse_args()
    kept: dict[str, dict[str, Any]] = json.loads(PATH.read_text()) if PATH.exists() else {}
    tasks = [] if given.report else [task for task in wanted(["a", "b", "c"]) if task not in kept]
    with ProcessPoolExecutor(given.jobs) as pool:
        for task, entry in zip(tasks, pool.map(measured, tasks), strict=True):
            kept[task] = entry
            PATH.write_text("{\n" + ",\n".join(f"{json.dumps(t)}: {json.dumps(e)}" for t, e in kept.items()) + "\n}\n")
    print(
        f"{len(kept)} tasks, {SEEDS} seeds; the best peak in decades above the suggestion; mean regret at three centres"
    )
    print(f"{'':14}{'mean':>8}{'median':>8}" + "".join(f"{centre:>16}" for centre in CENTRES))
    for name in SCHEDULES:
        print(row(kept, name))


if __name__ == "__main__":
    main()
