"""Trains the older tasks for 3,000 steps, and pilots of that, for fit_transfer.py: `python benchmarks/transfer_older.py [--minutes 40]`.

Those whose trainings can be fused, under constant, wsd and cosine, at LRs .35 decades apart from 1.75 below the best of short trainings
(truth.json) to 1.05 above it, wider where the best lies at an end; two seeds. Their data are small: 3,000 steps are 10 to 1,500 passes,
where those of the lifelike tasks are mostly below 20. Beside it stands what the range test of seed 0 tells. Results are in
transfer_older.json, a line a task, written after each; a task that is there is left alone.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge_regrets import RegretCurve, regret_curve
from regret_runs import short
from regret_waves import plain_wave, trunk_wave
from tasks import TASKS
from transfer_pilots import STEP, pilot_lengths

from lr_search import LRPrior, Workload
from lr_search.fused.support import Support, support_of

PATH = Path(__file__).with_name("transfer_older.json")
TRUTH = Path(__file__).with_name("truth.json")
LENGTH = 3000
LENGTHS = [*pilot_lengths(LENGTH), LENGTH // 3, LENGTH]
BELOW, ABOVE, WIDER, MOST_WIDENINGS = 5, 3, 3, 4  # LRs
SEEDS = 2
SCHEDULES = ("constant", "cosine", "wsd")
DATA = ("digits", "teacher", "text", "spirals", "targets", "factors", "sparse", "small_loss", "raw", "sets", "bag")


@dataclass
class Measured:
    """What was trained of one task.

    Args:
        workload: of the task.
        support: of its trainings.
        middle: log10 of the LR at place 0.
    """

    workload: Workload
    support: Support
    middle: float
    initial: list[float | None] = field(default_factory=list)
    losses: dict[tuple[str, int, int, int], float | None] = field(
        default_factory=dict
    )  # schedule, steps, place, seed -> loss

    def train(self, places: list[int], seed: int) -> None:
        """Everything at these places."""
        rates = [self.lr(place) for place in places]
        untrained, found, _ = trunk_wave(self.workload, self.support, rates, LENGTHS, seed)
        if len(self.initial) <= seed:
            self.initial.append(short(untrained))
        for place, of_place in zip(places, found, strict=True):
            for schedule, of_schedule in of_place.items():
                self.losses |= {(schedule, steps, place, seed): loss for steps, loss in of_schedule.items()}
        for steps in LENGTHS:
            final = plain_wave(self.workload, self.support, "cosine", rates, steps, seed)[1]
            self.losses |= {("cosine", steps, place, seed): loss for place, loss in zip(places, final, strict=True)}

    def lr(self, place: int) -> float:
        """Six significant digits."""
        return float(f"{10 ** (self.middle + STEP * place):.6g}")

    def best(self, schedule: str, places: list[int]) -> int:
        """The place of the best full training of the first seed."""
        losses = {place: self.losses[schedule, LENGTH, place, 0] for place in places}
        return min(places, key=lambda place: np.inf if losses[place] is None else losses[place])

    def widened(self) -> list[int]:
        """Train the first seed until the best of no schedule lies at an end. Returns: the places."""
        new = places = list(range(-BELOW, ABOVE + 1))
        for _ in range(MOST_WIDENINGS + 1):
            self.train(new, 0)
            best = [self.best(schedule, places) for schedule in SCHEDULES]
            down = list(range(places[0] - WIDER, places[0])) if places[0] in best else []
            up = list(range(places[-1] + 1, places[-1] + 1 + WIDER)) if places[-1] in best else []
            if not down and not up:
                break
            new, places = down + up, down + places + up
        return sorted({place for _, _, place, _ in self.losses})

    def to_json(self, places: list[int]) -> dict[str, Any]:
        """Schedule -> length -> LR -> a loss a seed."""
        return {
            schedule: {
                str(steps): {
                    f"{self.lr(place):g}": [short(self.losses[schedule, steps, place, seed]) for seed in range(SEEDS)]
                    for place in places
                }
                for steps in LENGTHS
            }
            for schedule in SCHEDULES
        }


def data_of(name: str) -> str:
    """The word of an older task's name that tells its data, or all of it: tasks of the same are left out together."""
    return next((f"older: {data}" for data in DATA if data in name), f"older: {name}")


def older_truths() -> dict[str, list[RegretCurve]]:
    """Task -> what every LR loses in 3,000 steps, under each schedule."""
    return {
        name: [
            regret_curve(name, schedule, LENGTH, str(LENGTH), lengths[str(LENGTH)], entry["initial"])
            for schedule, lengths in entry["losses"].items()
        ]
        for name, entry in json.loads(PATH.read_text()).items()
        if "losses" in entry
    }


def measured(name: str, best_lr: float) -> dict[str, Any]:
    """The trainings of a task and its range test's priors."""
    begun, workload = time.process_time(), replace(TASKS[name].make(), num_steps=LENGTH)
    support = support_of(workload, 0)
    if not support.stacks:
        return {"skipped": support.reason or "the optimizer cannot step all models at once"}
    found = Measured(workload, support, float(np.log10(best_lr)))
    places = found.widened()
    for seed in range(1, SEEDS):
        found.train(places, seed)
    curve = workload.range_test(0, extend=True, num_steps=LENGTH // 32)
    priors = {
        f"{schedule} {LENGTH}": LRPrior.from_curves([curve], schedule=schedule, num_steps=LENGTH).to_json()
        for schedule in SCHEDULES
    }
    return {
        "initial": found.initial,
        "steps_per_epoch": workload.steps_per_epoch,
        "losses": found.to_json(places),
        "priors": priors,
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def main() -> None:
    """Train what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40.0, help="no task is begun later")
    given = parser.parse_args()
    torch.set_num_threads(1)
    truth, begun = json.loads(TRUTH.read_text()), time.perf_counter()
    found: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {}
    for name in sorted(set(TASKS) - set(found), key=lambda name: truth[name]["seconds"]):
        if time.perf_counter() - begun > 60 * given.minutes:
            break
        found[name] = measured(name, truth[name]["best_lr"])
        dense = partial(json.dumps, separators=(",", ":"))
        lines = ",\n".join(f"{json.dumps(name)}:{dense(found[name])}" for name in TASKS if name in found)
        PATH.write_text(f"{{\n{lines}\n}}\n")
        print(f"{name:<40} {found[name].get('cpu_seconds', 0):>7.1f} CPU s", flush=True)
    print(f"{len(found)} of {len(TASKS)} tasks; {time.perf_counter() - begun:.0f} s of wall in this call")


if __name__ == "__main__":
    main()
