"""What a driver sends a worker, and the names of what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ray.cloudpickle as cloudpickle
from ray.tune import Checkpoint

from lr_search.studies.trial import TrialSpec

ASSIGNMENT = "assignment"  # the one entry of a trial's configuration
EVALUATION, OUTCOME, RAISED, CHARGED = "evaluation", "outcome", "raised", "steps_charged"  # of a result
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
