"""Trainings to look up: `python benchmarks/search_curves.py [--sets judge] [--tasks NAME ...] [--seeds 10]`.

Trains tasks at constant LRs from 1e-5 to 10, four a decade, with several seeds, and keeps their validation losses at ten
evaluations in search_curves.json. A task whose best LR lies outside that range is left out. `looked_up(task, seed, lr)` is a
training at any LR of the range.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tasks import TASKS
from truth import truth

import lr_search as lrs

PATH = Path(__file__).with_name("search_curves.json")
LOW, HIGH = 1e-5, 10.0
GRID = [10 ** (power / 4) for power in range(-20, 5)]
EVALUATIONS = 10
FIRST_FIT_TASKS = 5  # of each fitting set, by how little time they take


def losses(task: str, seed: int, lr: float) -> list[float | None]:
    """The validation loss before the training and at ten evaluations; None from where it diverged."""
    made = TASKS[task].make()
    workload = replace(made, eval_every=made.num_steps // EVALUATIONS)
    found = [e.metrics["loss"] for e in lrs.train(workload, lrs.schedules.Constant(lr), seed=seed)]
    steps = len(evaluation_steps(made.num_steps))
    return [short5(loss) if np.isfinite(loss) else None for loss in found[:steps]] + [None] * (steps - len(found))


def evaluation_steps(num_steps: int) -> list[int]:
    """When a training of that length is evaluated."""
    every = num_steps // EVALUATIONS
    return sorted({*range(0, num_steps, every), num_steps})


def short5(value: float) -> float:
    """Five significant digits."""
    return float(f"{value:.5g}")


def measured(task: str, seeds: int) -> dict[str, Any]:
    """An entry of the file."""
    torch.set_num_threads(1)
    num_steps = TASKS[task].make().num_steps
    return {
        "set": TASKS[task].set,
        "num_steps": num_steps,
        "steps": evaluation_steps(num_steps),
        "losses": [[losses(task, seed, lr) for lr in GRID] for seed in range(seeds)],
    }


@cache
def kept() -> dict[str, dict[str, Any]]:
    """All that has been measured: task -> entry."""
    return json.loads(PATH.read_text()) if PATH.exists() else {}


@cache
def table(task: str, seed: int) -> np.ndarray:
    """(LRs, evaluations), inf where a training had diverged."""
    rows = kept()[task]["losses"][seed]
    return np.array([[np.inf if loss is None else loss for loss in row] for row in rows])


def looked_up(task: str, seed: int, lr: float) -> np.ndarray:
    """The losses of a training at that LR, (evaluations,): linear in log LR between its neighbours on the grid.

    Where one of them had diverged, the nearer one's.
    """
    place = float(np.clip(np.interp(np.log10(lr), np.log10(GRID), np.arange(len(GRID))), 0, len(GRID) - 1))
    below = min(int(place), len(GRID) - 2)
    share, rows = place - below, table(task, seed)
    low, high = rows[below], rows[below + 1]
    nearer = low if share < 0.5 else high
    both = np.isfinite(low) & np.isfinite(high)
    mixed = np.where(both, low, 0.0) * (1 - share) + np.where(both, high, 0.0) * share
    return np.where(both, mixed, nearer)


@cache
def regrets(task: str) -> np.ndarray:
    """The regret at each LR of the grid, (LRs,): 1 - drop / best drop of the loss, of means over the seeds."""
    drops = np.mean([drops_of(table(task, seed)) for seed in range(len(kept()[task]["losses"]))], axis=0)
    return np.asarray(1 - drops / drops.max())


def drops_of(rows: np.ndarray) -> np.ndarray:
    """How far the loss fell, 0 where it rose or diverged. (LRs, evaluations) -> (LRs,)."""
    return np.asarray(np.maximum(0.0, rows[:, 0] - np.where(np.isfinite(rows[:, -1]), rows[:, -1], np.inf)))


def regret(task: str, lr: float) -> float:
    """Of training at that LR, in the mean over seeds, linear in log LR: 0 as good as the best of the grid, 1 as not training."""
    return float(np.interp(np.log10(lr), np.log10(GRID), regrets(task)))


def wanted(sets: list[str]) -> list[str]:
    """The tasks of these sets whose best LR lies inside the range; of the fitting sets the quickest."""
    inside = [t for t, entry in truth().items() if entry["set"] in sets and LOW <= entry["best_lr"] <= HIGH]

    def seconds(task: str) -> float:
        return truth()[task]["seconds"] / sum(map(len, truth()[task]["final"]))

    chosen: list[str] = []
    for name in sets:
        of_set = sorted((t for t in inside if truth()[t]["set"] == name), key=seconds)
        chosen += of_set if name == "judge" else of_set[:FIRST_FIT_TASKS]
    return chosen


def save(found: dict[str, dict[str, Any]]) -> None:
    """A line a task."""
    dense = partial(json.dumps, separators=(",", ":"))
    lines = ",\n".join(f"{json.dumps(name)}: {dense(found[name])}" for name in TASKS if name in found)
    part = PATH.with_suffix(".part")
    part.write_text(f"{{\n{lines}\n}}\n")
    part.replace(PATH)


def main() -> None:
    """Train what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=["judge"])
    parser.add_argument("--tasks", nargs="+", default=None)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    found = dict(kept())
    tasks = [t for t in given.tasks or wanted(given.sets) if t not in found]
    with ProcessPoolExecutor(given.jobs) as pool:
        for task, entry in zip(tasks, pool.map(partial(measured, seeds=given.seeds), tasks), strict=True):
            found[task] = entry
            save(found)
            print(task, flush=True)


if __name__ == "__main__":
    main()
