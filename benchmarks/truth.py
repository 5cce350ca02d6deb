"""The tasks' true best learning rates: `python benchmarks/truth.py [--sets a b c judge] [--tasks NAME ...]`.

Trains every task at constant LRs from 1e-7 to 1e3: four a decade with three seeds wherever the regret is below a half,
two with one seed elsewhere. Adds what it finds to truth.json; a task that is there already is left alone, unless it is named by --tasks.
`regret(task, lr)` says how much worse than the best LR an LR is: 0 the same, 1 no better than not training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tasks import TASKS, Task

import lr_search as lrs

PATH = Path(__file__).with_name("truth.json")
GRID = [10 ** (power / 4) for power in range(-28, 13)]
MIDDLE = GRID.index(1e-2)
SEEDS = 3
BEYOND = 4  # scouted LRs in a row that must all be worse than not training before the search upwards ends: 1.5 decades
FLAT = 0.02  # of the best descent: below it, an LR has done nothing


def final_loss(workload: lrs.Workload, lr: float, seed: int) -> tuple[float, float | None]:
    """The validation loss before and after training at a constant LR; None after one that diverged."""
    training = lrs.train(workload, lrs.schedules.Constant(lr), seed=seed)
    losses = [evaluation.metrics["loss"] for evaluation in training]
    finite = training.stopped == "finished" and bool(np.isfinite(losses[-1]))
    return losses[0], losses[-1] if finite else None


def measure(task: Task) -> dict[str, Any]:
    """Scout with one seed, then train with all seeds wherever the scout did at least half as well as at its best."""
    begun, workload = time.perf_counter(), task.make()
    initial: dict[int, float] = {}
    final: dict[int, dict[int, float | None]] = {}

    def drop_at(place: int, seeds: range) -> float:
        """The mean drop of the loss."""
        known = final.setdefault(place, {})
        for seed in seeds:
            if seed not in known:
                initial[seed], known[seed] = final_loss(workload, GRID[place], seed)
        return mean_drop([initial[seed] for seed in seeds], [known[seed] for seed in seeds])

    scouted = scout(lambda place: drop_at(place, range(1)))
    least = 0.5 * max(scouted.values())
    good = [place for place, drop in scouted.items() if drop >= least]
    for place in range(max(0, min(good) - 2), min(len(GRID), max(good) + 3)):
        drop_at(place, range(SEEDS))
    places = sorted(final)
    entry = {
        "set": task.set,
        "num_steps": workload.num_steps,
        "initial": [short(initial[seed]) for seed in range(SEEDS)],
        "lrs": [short(GRID[place]) for place in places],
        "final": [[short(loss) for loss in final[place].values()] for place in places],
        "seconds": round(time.perf_counter() - begun, 1),
        "torch": torch.__version__,
    }
    return entry | {"best_lr": best_of(entry)[0]}


def scout(drop_at: Callable[[int], float]) -> dict[int, float]:
    """Two LRs a decade from the middle of the grid upwards until all is lost, then downwards until nothing moves.

    Returns: place in the grid -> drop of the loss.
    """
    found: dict[int, float] = {}
    lost = 0
    for place in range(MIDDLE, len(GRID), 2):
        found[place] = drop_at(place)
        lost = lost + 1 if found[place] <= 0 else 0
        if lost == BEYOND:
            break
    still = 0
    for place in range(MIDDLE - 2, -1, -2):
        found[place] = drop_at(place)
        best = max(found.values())
        # a best below what was seen is still to come where all that has been tried is lost
        still = still + 1 if best > 0 and found[place] < FLAT * best and found[place + 2] < best else 0
        if still == 2:
            break
    return found


def mean_drop(initial: list[float], final: list[float | None]) -> float:
    """The mean over seeds of how far the loss fell; 0 for one that diverged, or ended above the start."""
    drops = [0.0 if b is None else max(0.0, a - b) for a, b in zip(initial, final, strict=True)]
    return float(np.mean(drops))


def drops_of(entry: dict[str, Any]) -> np.ndarray:
    """The mean drop at each LR of the grid, (lrs,); far from the best, one seed stands for all."""
    return np.array([mean_drop(entry["initial"][: len(final)], final) for final in entry["final"]])


def best_of(entry: dict[str, Any]) -> tuple[float, float]:
    """The best LR on the grid, and its mean drop."""
    drops = drops_of(entry)
    return entry["lrs"][int(np.argmax(drops))], float(drops.max())


def short(value: float | None) -> float | None:
    """Six significant digits."""
    return None if value is None else float(f"{value:.6g}")


@cache
def truth() -> dict[str, dict[str, Any]]:
    """All that has been measured: task -> entry."""
    return json.loads(PATH.read_text()) if PATH.exists() else {}


@cache
def regrets(task: str) -> tuple[np.ndarray, np.ndarray]:
    """log10 of the LRs of the grid and the regret of each, (lrs,) and (lrs,).

    regret = (final loss - best final loss) / (initial loss - best final loss) = 1 - drop / best drop, in [0, 1], of means
    over seeds.
    """
    entry = truth()[task]
    drops = drops_of(entry)
    return np.log10(entry["lrs"]), 1 - drops / drops.max()


def regret(task: str, lr: float) -> float:
    """The regret of a constant LR, linear in log LR between those of the grid.

    Below the grid it is that of the lowest LR there, above the grid 1.
    """
    places, values = regrets(task)
    return float(np.interp(np.log10(lr), places, values, right=1.0))


def basin(task: str, within: float = 0.05) -> float:
    """Decades of LRs with a regret below `within`."""
    fine = np.linspace(-7, 3, 2001)
    return float(np.mean([regret(task, 10**place) < within for place in fine]) * 10)


def report(name: str) -> str:
    """A line on a task that has been measured."""
    entry = truth()[name]
    start = float(np.mean(entry["initial"]))
    best = start - best_of(entry)[1]
    at_best = entry["final"][entry["lrs"].index(entry["best_lr"])]
    deviation = float(np.std([start if loss is None else loss for loss in at_best]))
    return (
        f"{entry['set']:<6}{name:<34} best {entry['best_lr']:<9.2g} basin {basin(name):4.2f} decades   "
        f"loss {start:.4g} -> {best:.4g} (seeds {deviation:.1g})   "
        f"grid {entry['lrs'][0]:.0e}..{entry['lrs'][-1]:.0e}   {entry['seconds']:.0f} s"
    )


def main() -> None:
    """Measure what is not yet there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=["a", "b", "c", "judge"])
    parser.add_argument("--tasks", nargs="+", default=None, help="measure these again")
    parser.add_argument("--report", action="store_true", help="only print what is there")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = dict(truth())
    for task in TASKS.values():
        wanted = task.name in given.tasks if given.tasks else task.set in given.sets
        if wanted and not given.report and (given.tasks or task.name not in found):
            found[task.name] = measure(task)
            save({name: found[name] for name in TASKS if name in found})
            truth.cache_clear()
        if wanted and task.name in found:
            print(report(task.name), flush=True)


def save(found: dict[str, dict[str, Any]]) -> None:
    """A line a task."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items())
    part = PATH.with_suffix(".part")
    part.write_text(f"{{\n{lines}\n}}\n")
    part.replace(PATH)


if __name__ == "__main__":
    main()
