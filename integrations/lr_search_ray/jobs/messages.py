"""What a driver sends a worker, and the names of what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray.cloudpickle as cloudpickle
from ray.tune import Checkpoint

from lr_search.executors.trial_run import Run
from lr_search.studies.trial import TrialSpec
from lr_search.training.evaluation import Evaluation

ASSIGNMENT = "assignment"  # the one entry of a trial's configuration
EVALUATION, OUTCOME, RAISED, CHARGED = "evaluation", "outcome", "raised", "steps_charged"  # of a result
OVER = "over"  # of a trial's result, where several are trained together: whether it was its last
TOGETHER = "together"  # of a result of trials that are trained together: (index, its own result) of those that have one
APART, HALVED = "apart", "halved"  # of their last result: why each must be trained by itself; that memory has run out


@dataclass(frozen=True)
class Assignment:
    """Trials for a worker: one, or several that it trains together.

    Args:
        name: of the first, for Ray's dashboard.
        trials: for each the name under which its workload was packed, and the pickled `TrialSpec`: schedules of the user's own may
            live in his script.
        resume: where an earlier worker got to, or None.
    """

    name: str
    trials: tuple[tuple[str, bytes], ...]
    resume: Checkpoint | None = None

    @classmethod
    def of(cls, name: str, trials: Sequence[tuple[str, TrialSpec]], resume: Checkpoint | None) -> Assignment:
        """Pack them."""
        return cls(name, tuple((optimizer, cloudpickle.dumps(spec)) for optimizer, spec in trials), resume)

    def __repr__(self) -> str:  # Tune makes names of it
        return self.name


def result_of(run: Run, evaluation: Evaluation | None) -> dict[str, Any]:
    """What a worker answers of a trial that has come to an evaluation, to its end, or on its way to one."""
    result: dict[str, Any] = {CHARGED: run.outcome.steps, "step": run.step, "seconds": run.outcome.seconds}
    if evaluation is not None:
        result[EVALUATION] = evaluation
    if run.over or len(run.outcome.evaluations) <= 1:  # a training function need not report at step 0
        result[OUTCOME] = replace(run.outcome, evaluations=[])  # the driver has them
    return result
