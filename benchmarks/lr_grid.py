"""One task at many LRs, under constant, wsd and cosine, several lengths and two seeds: transfer_older.py and unseen_truth.py train with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from regret_runs import short
from regret_waves import plain_wave, trunk_wave
from transfer_pilots import STEP

from lr_search import Workload
from lr_search.fused.support import Support

BELOW, ABOVE, WIDER, MOST_WIDENINGS = 5, 3, 3, 4  # LRs
SEEDS = 2

Kind = tuple[str, int]  # schedule, steps


@dataclass
class LRGrid:
    """What was trained of one task, at LRs .35 decades apart.

    Args:
        workload: of the task.
        support: of its trainings.
        middle: log10 of the LR at place 0.
        lengths: of trainings under constant and wsd, rising.
        cosine_lengths: likewise under cosine.
        least: steps of the trainings whose best LR must not lie at an end.
    """

    workload: Workload
    support: Support
    middle: float
    lengths: Sequence[int]
    cosine_lengths: Sequence[int]
    least: int
    initial: list[float | None] = field(default_factory=list)
    losses: dict[Kind, dict[int, dict[int, float | None]]] = field(
        default_factory=dict
    )  # kind -> place -> seed -> loss

    def trained(self) -> dict[str, Any]:
        """Train, with more LRs where a best lies at an end. Returns: schedule -> length -> LR -> a loss a seed."""
        places = self._widened()
        for seed in range(1, SEEDS):
            self._train(places, seed)
        written: dict[str, Any] = {}
        for (schedule, steps), of_place in self.losses.items():
            written.setdefault(schedule, {})[str(steps)] = {
                f"{self._lr(place):g}": [short(of_place[place][seed]) for seed in range(SEEDS)] for place in places
            }
        return written

    def _widened(self) -> list[int]:
        """Train the first seed until no best lies at an end. Returns: the places."""
        new = places = list(range(-BELOW, ABOVE + 1))
        for widening in range(MOST_WIDENINGS + 1):
            self._train(new, 0)
            best = self._best()
            down = list(range(places[0] - WIDER, places[0])) if places[0] in best else []
            up = list(range(places[-1] + 1, places[-1] + 1 + WIDER)) if places[-1] in best else []
            if widening == MOST_WIDENINGS or (not down and not up):
                break
            new, places = down + up, down + places + up
        return places

    def _train(self, places: list[int], seed: int) -> None:
        rates = [self._lr(place) for place in places]
        untrained, found, _ = trunk_wave(self.workload, self.support, rates, self.lengths, seed)
        if len(self.initial) <= seed:
            self.initial.append(short(untrained))
        for place, of_place in zip(places, found, strict=True):
            for schedule, of_schedule in of_place.items():
                for steps, loss in of_schedule.items():
                    self._keep((schedule, steps), place, seed, loss)
        for steps in self.cosine_lengths:
            final = plain_wave(self.workload, self.support, "cosine", rates, steps, seed)[1]
            for place, loss in zip(places, final, strict=True):
                self._keep(("cosine", steps), place, seed, loss)

    def _keep(self, kind: Kind, place: int, seed: int, loss: float | None) -> None:
        self.losses.setdefault(kind, {}).setdefault(place, {})[seed] = loss

    def _lr(self, place: int) -> float:
        return float(f"{10 ** (self.middle + STEP * place):.6g}")  # six significant digits

    def _best(self) -> set[int]:
        """The places of the first seed's best trainings of at least so many steps."""
        found = set()
        for (_, steps), places in self.losses.items():
            if steps >= self.least:
                losses = {place: np.inf if of_seed[0] is None else of_seed[0] for place, of_seed in places.items()}
                found.add(min(losses, key=lambda place: losses[place]))
        return found


def write_lines(path: Path, entries: Mapping[str, Any], order: Iterable[str]) -> None:
    """A line an entry, those that are there, in that order."""
    dense = partial(json.dumps, separators=(",", ":"))
    lines = ",\n".join(f"{json.dumps(name)}:{dense(entries[name])}" for name in order if name in entries)
    path.write_text(f"{{\n{lines}\n}}\n")
