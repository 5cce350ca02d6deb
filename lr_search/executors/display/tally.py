"""How far several studies have come: counted as trials begin and end."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from lr_search.ramp.settings import RampSettings
from lr_search.samplers.strategies import PARAM
from lr_search.storage.foreign import own_record
from lr_search.studies.job import Job
from lr_search.studies.plan import FIRST
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Ended, Outcome
from lr_search.workloads.subject import Subject


@dataclass(frozen=True)
class Best:
    """The best trial so far.

    Args:
        value: its objective.
        lr: its LR, where that is one number.
        workload: what was trained.
    """

    value: float
    lr: float | None
    workload: Subject

    def beats(self, other: Best | None) -> bool:
        """Whether it is better than another, or there is none."""
        sign = 1 if self.workload.direction == "minimize" else -1
        return other is None or sign * self.value < sign * other.value

    def text(self) -> str:
        """Such as `best loss 0.0123 at LR 0.05`."""
        at = "" if self.lr is None else f" at LR {self.lr:.3g}"
        return f"best {self.workload.objective} {self.value:.4g}{at}"


class Tally:
    """What became of a study's trials.

    Args:
        task: the study; its storage is read once, for the trials that have ended.
        label: its name, as shown.

    Attributes:
        best: of those that have finished; a range test's loss is no result.
    """

    def __init__(self, task: StudyTask, label: str) -> None:
        self.label, self._task = label, task
        self.planned = task.plan.curves if task.plan.kind in FIRST else task.num_trials()
        self.running: set[int] = set()  # numbers of trials
        self.ended: Counter[Ended] = Counter()
        self._steps = task.range_test_steps()
        self.best: Best | None = None
        for trial in task.trials():
            if trial.state.is_finished():
                record = own_record(trial, task.plan.name)
                self._add(record["ended"], record["steps"], trial.value, trial.params.get(PARAM))

    @property
    def searches(self) -> bool:
        """Whether its trials are those of a search: the others are no answer, or are judged on other data."""
        return self._task.plan.kind == "search"

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
        if ended != "finished" or value is None or plan.kind in FIRST:
            return
        this = Best(value, lr, plan.workload)
        if this.beats(self.best):
            self.best = this

    def complete(self) -> bool:
        """Whether the budget has no room for another trial; one that runs, or was put back, had its room kept."""
        plan = self._task.plan
        if plan.kind in FIRST:
            return self.done - self.ended["failed"] >= plan.curves
        if self.done < self.planned:
            return False
        most = math.inf if plan.strategy is None or plan.strategy.max_trials is None else plan.strategy.max_trials
        return not plan.prunes or self.done >= most or self._steps + plan.trial_steps > plan.budget_steps

    def unspent(self) -> int:
        """Steps that were planned and that a pruner has left, once it is complete."""
        plan = self._task.plan
        if not plan.prunes:
            return 0
        if plan.strategy is None or plan.strategy.max_trials is None:
            return max(0, plan.budget_steps - self._steps)
        return max(0, self.planned * plan.trial_steps - (self._steps - self._task.range_test_steps()))

    def standing(self) -> str:
        """What of it runs and what came of the rest: `12/16, best 0.0123, 2 running, 3 pruned`."""
        planned = max(self.planned, self.done + len(self.running))  # pruned trials leave steps for more
        best = "" if self.best is None else f"best {self.best.value:.4g}"
        running = f"{len(self.running)} running" if self.running else ""
        return ", ".join(filter(None, [f"{self.done:>3}/{planned}", best, running, *_counts(self.ended, ["pruned"])]))

    def result(self) -> str:
        """What came of it: `grid/constant/SGD/seed 0: 16 trials, 3 pruned, best loss 0.0123 at LR 0.05`."""
        parts = [f"{self.done} trial{'s' if self.done != 1 else ''}"]
        parts += _counts(self.ended, ["diverged", "pruned", "failed"])
        if self.best is not None:
            parts.append(self.best.text())
        return f"{self.label}: {', '.join(parts)}"


class Overview:
    """The studies that are under way, and what became of their trials in this run.

    Attributes:
        running: how many trials run.
        open: the studies that are under way, by name, in the order in which they began.
        best: of the trials of the searches that were seen, and the label of its study.
    """

    def __init__(self) -> None:
        self.running = 0
        self.ended: Counter[Ended] = Counter()
        self.open: dict[str, Tally] = {}
        self.best: tuple[Best, str] | None = None

    def begin(self, job: Job, label: str) -> None:
        """A trial begins; the label is its study's."""
        name = job.task.plan.name
        if name not in self.open:
            self.open[name] = Tally(job.task, label)
            self._see_best(self.open[name])
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
        self._see_best(tally)
        return self.open.pop(job.task.plan.name) if tally.complete() else None

    def _see_best(self, tally: Tally) -> None:
        if tally.searches and tally.best is not None and tally.best.beats(self.best and self.best[0]):
            self.best = tally.best, tally.label

    def outcomes(self) -> list[str]:
        """How many were pruned, and how many failed, where any was."""
        return _counts(self.ended, ["pruned", "failed"])


def steps_spared(job: Job, outcome: Outcome) -> int:
    """Steps that were planned for a trial that has ended, and which neither it nor another will take; see `Tally.unspent`."""
    plan = job.task.plan
    if plan.kind in FIRST:
        again = outcome.ended == "failed"
        planned = (
            plan.ladder.most_steps(*plan.lr_range)
            if plan.ladder is not None
            else RampSettings(**plan.range_test).most_steps()
        )
    else:
        again, planned = plan.prunes, plan.trial_steps  # what a pruner leaves pays for other trials
    return 0 if again else max(0, planned - outcome.steps)


def _counts(ended: Counter[Ended], which: list[Ended]) -> list[str]:
    return [f"{ended[end]} {end}" for end in which if ended[end]]
