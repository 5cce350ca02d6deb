"""The trainings that a task's truth is read off: one constant trunk with the wsd branches at each length, and the others by themselves."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from lifelike.task import LifelikeTask

import lr_search as lrs

SHORT = {"cosine": (300, 1000), "one_cycle": (300, 1000)}  # trained at these of the task's lengths
SCOUT_STEPS = 300
Losses = dict[int, float | None]  # length -> final validation loss, None where it diverged


@dataclass
class Runs:
    """The trainings of one task by kind, place on the grid and seed; each is kept in a file as it ends, and not run again.

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

    def initial(self, seed: int) -> float:
        """The validation loss before the first step."""
        return float(self.kept["initial"][str(seed)])

    def lengths(self, kind: str) -> list[int]:
        """Those of the task that a kind of training is run for."""
        return [length for length in self.task.lengths if length in SHORT.get(kind, self.task.lengths)]

    def trunk(self, lr: float, seed: int) -> dict[str, Losses]:
        """The constant LR and wsd at every length."""
        return self._run("trunk", lr, seed)

    def alone(self, schedule: str, lr: float, seed: int) -> dict[str, Losses]:
        """One schedule at each of its lengths."""
        return self._run(schedule, lr, seed)

    def scout(self, lr: float) -> float | None:
        """The constant LR for a few steps, one seed."""
        return self._run("scout", lr, 0)["scout"][SCOUT_STEPS]

    def _run(self, kind: str, lr: float, seed: int) -> dict[str, Losses]:
        key = f"{kind} {lr:.6g} {seed}"
        if key not in self.kept["runs"]:
            begun = time.process_time()
            self.kept["runs"][key] = self._trained(kind, lr, seed)
            self.kept["cpu_seconds"] += time.process_time() - begun
            self._save()
        found = self.kept["runs"][key]
        return {schedule: {int(length): loss for length, loss in losses.items()} for schedule, losses in found.items()}

    def _trained(self, kind: str, lr: float, seed: int) -> dict[str, Losses]:
        if kind == "trunk":
            return self._branched(lr, seed)
        if kind == "scout":
            return {kind: {SCOUT_STEPS: self._final("constant", lr, seed, SCOUT_STEPS)}}
        return {kind: {length: self._final(kind, lr, seed, length) for length in self.lengths(kind)}}

    def _branched(self, lr: float, seed: int) -> dict[str, Losses]:
        """One constant training to the longest length, with wsd's cooldowns at each."""
        workload = replace(self._workload, eval_every=max(self.task.lengths))
        found: dict[str, Losses] = {"constant": {}, "wsd": {}}
        branches = lrs.branches(workload, lr, self.task.lengths, seed=seed, stable=True)
        for branch in branches:
            self._begins(seed, branch.evaluations[0].metrics["loss"])
            found["constant"][branch.num_steps] = (
                None if branch.stable is None else short(branch.stable.metrics["loss"])
            )
            ended = branch.stopped == "finished"
            found["wsd"][branch.num_steps] = short(branch.evaluations[-1].metrics["loss"]) if ended else None
        self.kept["steps"] += branches.steps
        return found

    def _final(self, schedule: str, lr: float, seed: int, length: int) -> float | None:
        """The final validation loss of a training of that length."""
        workload = replace(self._workload, num_steps=length, eval_every=length)
        plan = lrs.schedules.by_name(schedule, lr=lr, num_steps=length, steps_per_epoch=workload.steps_per_epoch)
        training = lrs.train(workload, plan, seed=seed)
        losses = [evaluation.metrics["loss"] for evaluation in training]
        training.close()
        self.kept["steps"] += training.step
        self._begins(seed, losses[0])
        return short(losses[-1]) if training.stopped == "finished" else None

    def _begins(self, seed: int, loss: float) -> None:
        self.kept["initial"].setdefault(str(seed), short(loss))

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.kept))
        part.replace(self.path)


def short(loss: float) -> float | None:
    """Six significant digits; None of what is not finite."""
    return float(f"{loss:.6g}") if np.isfinite(loss) else None
