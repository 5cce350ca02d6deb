"""Trains the unseen tasks at many LRs: `python benchmarks/unseen_truth.py [--minutes 40]`.

For 1,000 and 3,000 steps under constant, wsd and cosine (that for 3,000 only), the two cheapest for 10,000 too; at LRs .35 decades apart
from 1.75 below the best of constant trainings of 300 steps to 1.05 above it, wider where the best of a schedule lies at an end; two seeds.
Results are in unseen.json, a line a task, written after each; a task that is there is left alone.
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
from regret_runs import short
from regret_waves import plain_wave, trunk_wave
from transfer_pilots import STEP
from unseen import TASKS

from lr_search import Workload
from lr_search.fused.support import Support, support_of

PATH = Path(__file__).with_name("unseen.json")
LENGTHS = (1000, 3000)
LONGER = dict.fromkeys(("finetune_mountain_car_momentum", "hamiltonian_nesterov"), 10_000)
BELOW, ABOVE, WIDER, MOST_WIDENINGS = 5, 3, 3, 4  # LRs
SEEDS = 2
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


@dataclass
class Trained:
    """What was trained of one task.

    Args:
        scouted: where to begin.
        lengths: of trainings, ascending.
    """

    scouted: Scouted
    lengths: list[int]
    initial: list[float | None] = field(default_factory=list)
    losses: dict[tuple[str, int], dict[int, dict[int, float | None]]] = field(
        default_factory=dict
    )  # schedule and steps -> place -> seed -> loss

    def train(self, places: list[int], seed: int) -> None:
        """Everything at these places."""
        workload, support = self.scouted.workload, self.scouted.support
        rates = [self.lr(place) for place in places]
        untrained, found, _ = trunk_wave(workload, support, rates, self.lengths, seed)
        if len(self.initial) <= seed:
            self.initial.append(short(untrained))
        for place, of_place in zip(places, found, strict=True):
            for schedule, of_schedule in of_place.items():
                for steps, loss in of_schedule.items():
                    self._keep(schedule, steps, place, seed, loss)
        for steps in self.lengths[1:]:
            final = plain_wave(workload, support, "cosine", rates, steps, seed)[1]
            for place, loss in zip(places, final, strict=True):
                self._keep("cosine", steps, place, seed, loss)

    def _keep(self, schedule: str, steps: int, place: int, seed: int, loss: float | None) -> None:
        self.losses.setdefault((schedule, steps), {}).setdefault(place, {})[seed] = loss

    def lr(self, place: int) -> float:
        """Six significant digits."""
        return float(f"{10 ** (self.scouted.middle + STEP * place):.6g}")

    def best(self) -> set[int]:
        """The places of the best trainings of the first seed, of each schedule and length."""
        known = [{place: of_seed[0] for place, of_seed in places.items()} for places in self.losses.values()]
        return {min(losses, key=lambda place: np.inf if losses[place] is None else losses[place]) for losses in known}

    def widened(self) -> list[int]:
        """Train the first seed until no best lies at an end. Returns: the places."""
        new = places = list(range(-BELOW, ABOVE + 1))
        for widening in range(MOST_WIDENINGS + 1):
            self.train(new, 0)
            best = self.best()
            down = list(range(places[0] - WIDER, places[0])) if places[0] in best else []
            up = list(range(places[-1] + 1, places[-1] + 1 + WIDER)) if places[-1] in best else []
            if widening == MOST_WIDENINGS or (not down and not up):
                break
            new, places = down + up, down + places + up
        return places

    def to_json(self, places: list[int]) -> dict[str, Any]:
        """Schedule -> length -> LR -> a loss a seed."""
        written: dict[str, Any] = {}
        for (schedule, steps), of_place in self.losses.items():
            written.setdefault(schedule, {})[str(steps)] = {
                f"{self.lr(place):g}": [short(of_place[place][seed]) for seed in range(SEEDS)] for place in places
            }
        return written


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
    trained = Trained(begin, [*LENGTHS, *([LONGER[name]] if name in LONGER else [])])
    places = trained.widened()
    for seed in range(1, SEEDS):
        trained.train(places, seed)
    return {
        "initial": trained.initial,
        "steps_per_epoch": begin.workload.steps_per_epoch,
        "losses": trained.to_json(places),
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
        dense = partial(json.dumps, separators=(",", ":"))
        lines = ",\n".join(f"{json.dumps(name)}:{dense(found[name])}" for name in TASKS if name in found)
        PATH.write_text(f"{{\n{lines}\n}}\n")
        print(f"{name:<40} {found[name]['cpu_seconds']:>7.1f} CPU s", flush=True)
    print(f"{len(found)} of {len(TASKS)} tasks; {time.perf_counter() - begun:.0f} s of wall in this call")


if __name__ == "__main__":
    main()
