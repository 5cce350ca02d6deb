"""The trainings that a task's truth is read off: constant trunks with the wsd branches at each length, and the others by themselves."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from lifelike.task import LifelikeTask
from regret_waves import Losses, plain_wave, trunk_wave

import lr_search as lrs
from lr_search.fused.support import Support, support_of

SHORT = {"cosine": (300, 1000), "one_cycle": (300, 1000)}  # trained at these of the task's lengths
SCOUT_STEPS = 300


@dataclass
class Runs:
    """The trainings of one task by kind, LR and seed; each is kept in a file as it ends, and not run again.

    Those of one seed are trained together where the optimizer can step them as one (`fused`).

    Args:
        task: what is trained.
        path: of that file; one of other code is begun anew.
        code: the task's fingerprint.
    """

    task: LifelikeTask
    path: Path
    code: str
    kept: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = json.loads(self.path.read_text()) if self.path.exists() else {}
        same = found.get("code") == self.code
        self.kept = found if same else {"code": self.code, "runs": {}, "initial": {}, "cpu_seconds": 0.0, "steps": 0}
        self._workload = self.task.make()

    @cached_property
    def fused(self) -> Support | None:
        """What is known of the workload, where its trainings go together."""
        found = support_of(self._workload, 0)
        return found if found.stacks else None

    def initial(self, seed: int) -> float:
        """The validation loss before the first step."""
        return float(self.kept["initial"][str(seed)])

    def lengths(self, kind: str) -> list[int]:
        """Those of the task that a kind of training is run for."""
        if kind == "scout":
            return [SCOUT_STEPS]
        return [length for length in self.task.lengths if length in SHORT.get(kind, self.task.lengths)]

    def train(self, kind: str, rates: Sequence[float], seed: int) -> None:
        """Train what is not there yet of these LRs: a "trunk" (constant and wsd), "cosine", "one_cycle", or a short "scout"."""
        missing = [lr for lr in rates if self._key(kind, lr, seed) not in self.kept["runs"]]
        waves = [missing] if self.fused and len(missing) > 1 else [[lr] for lr in missing]
        for wave in waves:
            begun = time.process_time()
            results = self._trained(kind, wave, seed)
            self.kept["cpu_seconds"] += time.process_time() - begun
            for lr, losses in zip(wave, results, strict=True):
                self.kept["runs"][self._key(kind, lr, seed)] = losses
            self._save()

    def losses(self, kind: str, lr: float, seed: int) -> dict[str, Losses]:
        """Schedule -> length -> final validation loss; trained now if it was not yet."""
        self.train(kind, [lr], seed)
        found = self.kept["runs"][self._key(kind, lr, seed)]
        return {schedule: {int(length): loss for length, loss in losses.items()} for schedule, losses in found.items()}

    def _key(self, kind: str, lr: float, seed: int) -> str:
        return f"{kind} {lr:.6g} {seed}"

    def _trained(self, kind: str, rates: Sequence[float], seed: int) -> list[dict[str, Losses]]:
        if kind == "trunk":
            found = self._wave(rates, seed) if len(rates) > 1 else [self._branched(rates[0], seed)]
        else:
            schedule = "constant" if kind == "scout" else kind
            by_length = {length: self._finals(schedule, rates, seed, length) for length in self.lengths(kind)}
            found = [{kind: {length: finals[row] for length, finals in by_length.items()}} for row in range(len(rates))]
        return [
            {name: {n: short(loss) for n, loss in losses.items()} for name, losses in each.items()} for each in found
        ]

    def _wave(self, rates: Sequence[float], seed: int) -> list[dict[str, Losses]]:
        assert self.fused is not None
        initial, found, steps = trunk_wave(self._workload, self.fused, rates, self.task.lengths, seed)
        self._count(seed, initial, steps)
        return found

    def _branched(self, lr: float, seed: int) -> dict[str, Losses]:
        """One constant training to the longest length, with wsd's cooldowns at each."""
        workload = replace(self._workload, eval_every=max(self.task.lengths))
        found: dict[str, Losses] = {"constant": {}, "wsd": {}}
        branches = lrs.branches(workload, lr, self.task.lengths, seed=seed, stable=True)
        for branch in branches:
            found["constant"][branch.num_steps] = None if branch.stable is None else branch.stable.metrics["loss"]
            ended = branch.stopped == "finished"
            found["wsd"][branch.num_steps] = branch.evaluations[-1].metrics["loss"] if ended else None
        self._count(seed, branch.evaluations[0].metrics["loss"], branches.steps)
        return found

    def _finals(self, schedule: str, rates: Sequence[float], seed: int, length: int) -> list[float | None]:
        """The final validation loss of trainings of that length."""
        if len(rates) > 1:
            assert self.fused is not None
            initial, final, steps = plain_wave(self._workload, self.fused, schedule, rates, length, seed)
            self._count(seed, initial, steps)
            return final
        workload = replace(self._workload, num_steps=length, eval_every=length)
        plan = lrs.schedules.by_name(schedule, lr=rates[0], num_steps=length, steps_per_epoch=workload.steps_per_epoch)
        training = lrs.train(workload, plan, seed=seed)
        losses = [evaluation.metrics["loss"] for evaluation in training]
        training.close()
        self._count(seed, losses[0], training.step)
        return [losses[-1] if training.stopped == "finished" else None]

    def _count(self, seed: int, initial: float | None, steps: int) -> None:
        self.kept["steps"] += steps
        self.kept["initial"].setdefault(str(seed), short(initial))

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.kept))
        part.replace(self.path)


def short(loss: float | None) -> float | None:
    """Six significant digits; None of what is not finite."""
    return float(f"{loss:.6g}") if loss is not None and np.isfinite(loss) else None
