"""What Tune runs as one trial of its own: a trial of a study, or several that a worker trains together."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ray.tune import Checkpoint

from lr_search.studies.job import Job
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation
from lr_search_ray.jobs.messages import CHARGED, EVALUATION, OUTCOME, Assignment


@dataclass
class RemoteJob:
    """A trial of a study that is trained on a worker, as far as the driver knows it.

    Args:
        job: the trial.
        outcome: as far as it is known: the evaluations, and what the last result said.
        cut: whether the pruner has cut it.
        over: whether its study knows how it ended.
    """

    job: Job
    outcome: Outcome = field(default_factory=Outcome)
    cut: bool = False
    over: bool = False

    def hear(self, result: Mapping[str, Any]) -> Evaluation | None:
        """Take over what a result says. Returns: its evaluation."""
        evaluation: Evaluation | None = result.get(EVALUATION)
        known = self.outcome.evaluations
        if OUTCOME in result:
            self.outcome = replace(result[OUTCOME], evaluations=known)
        self.outcome.steps, self.outcome.seconds = result[CHARGED], result["seconds"]
        if evaluation is not None:  # after a loss, what lay behind the checkpoint comes again
            self.outcome.evaluations = [earlier for earlier in known if earlier.step < evaluation.step] + [evaluation]
        return evaluation


@dataclass
class TuneTrial:
    """What Tune runs as one trial of its own, or will again.

    Args:
        jobs: the studies' trials; several are trained together.
        checkpoint: the newest, of whichever worker; of one trial.
        failures: why it was lost or failed so far.
        runs: whether a worker is at it.
        error: of the last loss, as Ray words it; the first line says when it was.
    """

    jobs: list[RemoteJob]
    checkpoint: Checkpoint | None = None
    failures: list[str] = field(default_factory=list)
    runs: bool = False
    error: str = ""

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> TuneTrial:
        """Trials that nothing is known of."""
        return cls([RemoteJob(job) for job in jobs])

    @property
    def left(self) -> list[RemoteJob]:
        """Those whose study does not know yet how they ended."""
        return [remote for remote in self.jobs if not remote.over]

    def assignment(self) -> Assignment:
        """For a worker: what is left; this forgets the jobs that are over."""
        self.jobs = self.left
        jobs = [remote.job for remote in self.jobs]
        name = jobs[0].name if len(jobs) == 1 else f"{jobs[0].name} and {len(jobs) - 1} more"
        return Assignment.of(name, [(job.task.plan.optimizer, job.spec) for job in jobs], self.checkpoint)

    def delete_checkpoint(self) -> None:
        """It has ended: each is as large as a model and its optimizer."""
        if self.checkpoint is not None and self.checkpoint.filesystem is not None:
            with contextlib.suppress(OSError):
                self.checkpoint.filesystem.delete_dir(self.checkpoint.path)
