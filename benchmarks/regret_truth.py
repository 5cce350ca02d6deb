"""How good every learning rate is, at several lengths and schedules: `python benchmarks/regret_truth.py --side fit [--jobs 2]`.

Each task is trained at seven LRs over 2.5 decades around its best: at a constant LR for 3,000 steps, read at 300, 1,000 and 3,000, with
wsd's cooldowns branched off at each; under cosine at 300 and 1,000; under one_cycle too, on a third of the tasks. Two seeds everywhere,
four at the best LR and at the two above it. Where the best lies at the range's end the range is widened, and marked censored if that
does not help. What has been trained is kept, run by run, in benchmarks/data/regret: a second call goes on. Complete tasks are
written to regret_fit.json or regret_judge.json; a task that is there already is left alone unless --tasks names it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lifelike import TASKS
from lifelike.fingerprint import fingerprint
from lifelike.sources import FOLDER, MissingDataError
from regret_runs import Runs

STEP = 2.5 / 6  # decades between two LRs
LOWEST, HIGHEST = -17, 5  # places on the grid: 8e-8 to 120
WINDOW = 3  # places to each side of the best
MOST_WIDENINGS = 4
SEEDS, MORE_SEEDS = 2, 4  # everywhere; at the best and the two above it
ABOVE = 2
BEYOND = (
    2  # scouted LRs in a row that are worse than not training, upwards, or do little, downwards, before the search ends
)
LITTLE = 0.3  # of the best scouted descent; after so many LRs below it the search downwards ends


def lr_at(place: int) -> float:
    """The LR of a place on the grid, with six significant digits."""
    return float(f"{10 ** (STEP * place):.6g}")


def path_of(side: str) -> Path:
    """The file of a side."""
    return Path(__file__).with_name(f"regret_{side}.json")


@dataclass
class Measure:
    """Trains what one task's truth needs.

    Args:
        runs: the task's trainings.
        cyclic: whether one_cycle is among them.
    """

    runs: Runs
    cyclic: bool

    def entry(self) -> dict[str, Any]:
        """The task's truth."""
        middle = self._scouted()
        for kind in ("trunk", "cosine", *(["one_cycle"] if self.cyclic else [])):
            if self.runs.lengths(kind):
                self._measured(kind, middle)
        return self._entry()

    def _drop(self, losses: Sequence[float | None]) -> float:
        """The mean fall of the validation loss over the first seeds; 0 where it diverged or rose."""
        falls = [0.0 if loss is None else max(0.0, self.runs.initial(seed) - loss) for seed, loss in enumerate(losses)]
        return float(np.mean(falls))

    def _scouted(self) -> int:
        """The place of the best LR of short trainings at every other place, from the middle upwards and downwards."""
        found: dict[int, float] = {}

        def look(place: int) -> float:
            (loss,) = self.runs.losses("scout", lr_at(place), 0)["scout"].values()
            found[place] = self._drop([loss])
            return found[place]

        lost = 0
        for place in range(-5, HIGHEST + 1, 2):
            lost = lost + 1 if look(place) <= 0 else 0
            if lost == BEYOND and max(found.values()) > 0:
                break
        still = 0  # scouted LRs in a row that do little
        for place in range(-7, LOWEST - 1, -2):
            still = still + 1 if look(place) < LITTLE * max(found.values()) else 0
            if still == BEYOND:
                break
        return max(found, key=lambda place: found[place])

    def _measured(self, kind: str, middle: int) -> None:
        """The window, wider where a best lies at its end, with one seed; then two, and more at the best and above."""
        low, high = max(LOWEST, middle - WINDOW), min(HIGHEST, middle + WINDOW)
        for _ in range(MOST_WIDENINGS + 1):
            bests = self._bests(kind, dict.fromkeys(range(low, high + 1), 1), self.runs.lengths(kind))
            if (low < min(bests) or low == LOWEST) and (max(bests) < high or high == HIGHEST):
                break
            low, high = max(LOWEST, low - (min(bests) == low)), min(HIGHEST, high + (max(bests) == high))
        seeds = dict.fromkeys(range(low, high + 1), SEEDS)
        while True:  # with more seeds the best may be another
            bests = self._bests(kind, seeds, self.runs.lengths(kind)[-1:])
            close = [place for best in bests for place in range(best, min(HIGHEST, best + ABOVE) + 1)]
            if all(seeds.get(place) == MORE_SEEDS for place in close):
                return
            seeds |= dict.fromkeys(close, MORE_SEEDS)

    def _bests(self, kind: str, seeds: Mapping[int, int], lengths: Sequence[int]) -> list[int]:
        """The place of the best LR for each schedule of a kind and each of these lengths, with so many seeds at each place."""
        for seed in range(max(seeds.values())):
            self.runs.train(kind, [lr_at(place) for place, count in seeds.items() if count > seed], seed)
        found = {
            place: [self.runs.losses(kind, lr_at(place), seed) for seed in range(count)]
            for place, count in seeds.items()
        }
        names = next(iter(found.values()))[0]
        return [
            max(found, key=lambda place: self._drop([losses[name][length] for losses in found[place]]))
            for name in names
            for length in lengths
        ]

    def _entry(self) -> dict[str, Any]:
        losses: dict[str, dict[str, dict[str, dict[int, float | None]]]] = {}
        for key, found in self.runs.kept["runs"].items():
            kind, lr, seed = key.split()
            for schedule, by_length in found.items() if kind != "scout" else ():
                for length, loss in by_length.items():
                    of_length = losses.setdefault(schedule, {}).setdefault(str(length), {})
                    of_length.setdefault(lr, {})[int(seed)] = loss
        ordered = {
            schedule: {
                length: {
                    lr: [seeds[seed] for seed in sorted(seeds)]
                    for lr, seeds in sorted(of_lr.items(), key=lambda p: float(p[0]))
                }
                for length, of_lr in by_length.items()
            }
            for schedule, by_length in losses.items()
        }
        return {
            "code": self.runs.code,
            "torch": torch.__version__.partition("+")[0],
            "initial": [self.runs.initial(seed) for seed in range(len(self.runs.kept["initial"]))],
            "losses": ordered,
            "steps": self.runs.kept["steps"],
            "cpu_seconds": round(self.runs.kept["cpu_seconds"], 1),
        }


def measured(name: str, cyclic: bool, folder: Path) -> dict[str, Any]:
    """The truth of one task."""
    torch.set_num_threads(1)
    task = TASKS[name]
    return Measure(Runs(task, folder / f"{name}.json", fingerprint(task)), cyclic).entry()


def read(side: str) -> dict[str, dict[str, Any]]:
    """All that is known of a side: task -> entry."""
    path = path_of(side)
    return json.loads(path.read_text()) if path.exists() else {}


def save(side: str, found: dict[str, dict[str, Any]]) -> None:
    """A line a task, in the tasks' order."""
    dense = partial(json.dumps, separators=(",", ":"))
    lines = ",\n".join(f"{json.dumps(name)}:{dense(found[name])}" for name in TASKS if name in found)
    part = path_of(side).with_suffix(".part")
    part.write_text(f"{{\n{lines}\n}}\n")
    part.replace(path_of(side))


def cyclic_tasks(side: str) -> set[str]:
    """Every third task of a side, which one_cycle is trained on."""
    return set([name for name, task in TASKS.items() if task.side == side][::3])


def main() -> None:
    """Measure what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--side", choices=["fit", "judge"], required=True)
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="only these, and again if they are there")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    of_side = [name for name, task in TASKS.items() if task.side == given.side]
    unknown = [name for name in given.tasks or () if name not in of_side]
    if unknown:
        parser.error(
            f"--tasks must name tasks of side {given.side}, but got {' '.join(unknown)}; there are {', '.join(of_side)}"
        )
    found, begun = read(given.side), time.perf_counter()
    wanted = given.tasks or [name for name in of_side if name not in found]
    folder, cyclic = FOLDER / "regret", cyclic_tasks(given.side)
    with ProcessPoolExecutor(given.jobs) as pool:
        futures = {pool.submit(measured, name, name in cyclic, folder): name for name in wanted}
        try:
            for future in as_completed(futures):
                name = futures[future]
                found[name] = future.result()
                save(given.side, found)
                print(
                    f"{name:<40} {found[name]['steps']:>8,} steps {found[name]['cpu_seconds']:>7.0f} CPU s", flush=True
                )
        except MissingDataError as error:
            pool.shutdown(cancel_futures=True)
            sys.exit(str(error))
    total = sum(entry["cpu_seconds"] for entry in found.values())
    print(
        f"{len(found)} of {len(of_side)} tasks, {total / 3600:.2f} CPU hours; {time.perf_counter() - begun:.0f} s of wall in this call"
    )


if __name__ == "__main__":
    main()
