"""What Tune runs: one trial of a study, or several that are trained together; and what is known of each."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ray.tune import Checkpoint

from lr_search.studies.study import Job
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation
from lr_search_ray.jobs.messages import CHARGED, EVALUATION, OUTCOME, Assignment


@dataclass
class Part:
    """One trial.

    Args:
        job: the trial.
        outcome: as far as it is known: the evaluations, and what the last result told.
        cut: whether the pruner has cut it.
        over: whether its study has been told.
    """

    job: Job
    outcome: Outcome = field(default_factory=Outcome)
    cut: bool = False
    over: bool = False

    def hear(self, result: Mapping[str, Any]) -> Evaluation | None:
        """Take over what a result tells. Returns: its evaluation."""
        evaluation: Evaluation | None = result.get(EVALUATION)
        known = self.outcome.evaluations
        if OUTCOME in result:
            self.outcome = replace(result[OUTCOME], evaluations=known)
        self.outcome.steps, self.outcome.seconds = result[CHARGED], result["seconds"]
        if evaluation is not None:  # after a loss, what lay behind the checkpoint comes again
            self.outcome.evaluations = [each for each in known if each.step < evaluation.step] + [evaluation]
        return evaluation


@dataclass
class Assigned:
    """What Tune runs as one trial of its own, or will again.

    Args:
        parts: the trials; several are trained together.
        checkpoint: the newest, of whichever worker; of one trial.
        failures: why it was lost or failed so far.
        runs: whether a worker is at it.
        error: of the last loss, as Ray words it; the first line says when it was.
    """

    parts: list[Part]
    checkpoint: Checkpoint | None = None
    failures: list[str] = field(default_factory=list)
    runs: bool = False
    error: str = ""

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Assigned:
        """Trials that nothing is known of."""
        return cls([Part(job) for job in jobs])

    @property
    def left(self) -> list[Part]:
        """Those whose study has not been told."""
        return [part for part in self.parts if not part.over]

    def assignment(self) -> Assignment:
        """For a worker: what is left; this forgets the parts that are over."""
        self.parts = self.left
        jobs = [part.job for part in self.parts]
        name = jobs[0].name if len(jobs) == 1 else f"{jobs[0].name} and {len(jobs) - 1} more"
        return Assignment.of(name, [(job.task.plan.optimizer, job.spec) for job in jobs], self.checkpoint)

    def delete_checkpoint(self) -> None:
        """It has ended: each is as large as a model and its optimizer."""
        if self.checkpoint is not None and self.checkpoint.filesystem is not None:
            with contextlib.suppress(OSError):
                self.checkpoint.filesystem.delete_dir(self.checkpoint.path)
