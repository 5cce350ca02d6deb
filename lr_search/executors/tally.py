"""How far several studies have come whose trials run side by side: counted as trials begin and end."""

from __future__ import annotations

import math
from collections import Counter

from lr_search.samplers.strategies import PARAM
from lr_search.storage.foreign import own_record
from lr_search.studies.job import Job
from lr_search.studies.plan import FIRST
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Ended, Outcome


class Tally:
    """What became of a study's trials.

    Args:
        task: the study; its storage is read once, for the trials that have ended.
        label: its name, as shown.
    """

    def __init__(self, task: StudyTask, label: str) -> None:
        self.label, self._task = label, task
        self.planned = task.plan.curves if task.plan.kind in FIRST else task.num_trials()
        self.running: set[int] = set()  # numbers of trials
        self.ended: Counter[Ended] = Counter()
        self._steps = task.range_test_steps()
        self._best: tuple[float, float | None] | None = None  # objective, and its LR
        for trial in task.trials():
            if trial.state.is_finished():
                record = own_record(trial, task.plan.name)
                self._add(record["ended"], record["steps"], trial.value, trial.params.get(PARAM))

    @property
    def done(self) -> int:
        """Trials that have ended."""
        return self.ended.total()

    def end(self, job: Job, outcome: Outcome) -> None:
        """A trial has ended, and does not run any more."""
        finished = outcome.ended == "finished" and outcome.evaluations
        value = outcome.evaluations[-1].metrics[job.workload.objective] if finished else None
        self._add(outcome.ended, outcome.steps, value, job.lr)

    def _add(self, ended: Ended, steps: int, value: float | None, lr: float | None) -> None:
        self.ended[ended] += 1
        self._steps += steps
        plan = self._task.plan
        if ended != "finished" or value is None or plan.kind in FIRST:  # a range test's loss is no result
            return
        sign = 1 if plan.workload.direction == "minimize" else -1
        if self._best is None or sign * value < sign * self._best[0]:
            self._best = value, lr

    def complete(self) -> bool:
        """Whether the budget has no room for another trial; one that runs, or was put back, had its room kept."""
        plan = self._task.plan
        if plan.kind in FIRST:
            return self.done - self.ended["failed"] >= plan.curves
        if self.done < self.planned:
            return False
        most = math.inf if plan.strategy is None or plan.strategy.max_trials is None else plan.strategy.max_trials
        return not plan.prunes or self.done >= most or self._steps + plan.trial_steps > plan.budget_steps

    def standing(self) -> str:
        """What of it runs and what came of the rest: `12/16, best 0.0123, 2 running, 3 pruned`."""
        planned = max(self.planned, self.done + len(self.running))  # pruned trials leave steps for more
        best = "" if self._best is None else f"best {self._best[0]:.4g}"
        running = f"{len(self.running)} running" if self.running else ""
        return ", ".join(filter(None, [f"{self.done:>3}/{planned}", best, running, *_counts(self.ended, ["pruned"])]))

    def result(self) -> str:
        """What came of it: `grid/constant/SGD/seed 0: 16 trials, 3 pruned, best loss 0.0123 at LR 0.05`."""
        parts = [f"{self.done} trial{'s' if self.done != 1 else ''}"]
        parts += _counts(self.ended, ["diverged", "pruned", "failed"])
        if self._best is not None:
            value, lr = self._best
            at = "" if lr is None else f" at LR {lr:.3g}"
            parts.append(f"best {self._task.plan.workload.objective} {value:.4g}{at}")
        return f"{self.label}: {', '.join(parts)}"


class Overview:
    """The studies that are under way, and what became of their trials in this run.

    Args:
        unit: of what a trial takes up: GPU, CPU.
        total: how many of them there are.
        per_trial: how many a trial takes up; may be a fraction.
    """

    def __init__(self, unit: str, total: float, per_trial: float) -> None:
        self.unit, self.total, self.per_trial = unit, total, per_trial
        self.running = 0
        self.ended: Counter[Ended] = Counter()
        self.open: dict[str, Tally] = {}  # name of a study -> how far it has come; in the order in which they began

    def begin(self, job: Job, label: str) -> None:
        """A trial begins; the label is its study's."""
        name = job.task.plan.name
        if name not in self.open:
            self.open[name] = Tally(job.task, label)
        self.running += job.number not in self.open[name].running
        self.open[name].running.add(job.number)

    def put_back(self, job: Job) -> None:
        """A trial that was begun does not run any more, and has not ended."""
        running = self.open[job.task.plan.name].running
        self.running -= job.number in running
        running.discard(job.number)

    def end(self, job: Job, outcome: Outcome) -> Tally | None:
        """A trial that was begun has ended. Returns: its study's, where that is complete now."""
        tally = self.open[job.task.plan.name]
        self.put_back(job)
        self.ended[outcome.ended] += 1
        tally.end(job, outcome)
        return self.open.pop(job.task.plan.name) if tally.complete() else None

    def text(self) -> str:
        """All at a glance: `4 running, 3 pruned, 1 failed, GPUs busy 3.5/4`."""
        busy = f"{self.unit}s busy {self.running * self.per_trial:g}/{self.total:g}"
        return ", ".join([f"{self.running} running", *self.outcomes(), busy])

    def outcomes(self) -> list[str]:
        """How many were pruned, and how many failed, where any was."""
        return _counts(self.ended, ["pruned", "failed"])


def _counts(ended: Counter[Ended], which: list[Ended]) -> list[str]:
    return [f"{ended[end]} {end}" for end in which if ended[end]]
