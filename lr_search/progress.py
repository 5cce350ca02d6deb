"""Progress bars: trials and steps, with the time left; silent where nobody looks at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tqdm import tqdm

from lr_search.evaluation import Evaluation

if TYPE_CHECKING:
    from lr_search.execution.study import Job
    from lr_search.execution.trial import Outcome


class Progress:
    """Two bars on standard error: trials, and steps.

    Args:
        trials: how many there are to run.
        steps: how many there are to take.
        shown: False for no bars; by default they show on a terminal only.
    """

    def __init__(self, trials: int, steps: int, *, shown: bool = True) -> None:
        quiet = None if shown else True  # None: tqdm looks whether it is a terminal
        self._trials = tqdm(total=trials, desc="trials", unit="trial", disable=quiet, position=0, dynamic_ncols=True)
        self._steps = tqdm(total=steps, desc="steps ", unit="step", unit_scale=True, disable=quiet, position=1)
        self._seen = 0

    def begin(self, job: Job) -> None:
        """A trial begins."""
        self._seen = 0
        self._trials.set_postfix_str(job.task.plan.name.partition("/")[2], refresh=True)

    def evaluated(self, evaluation: Evaluation) -> None:
        """A trial has come so far."""
        self._steps.update(evaluation.step - self._seen)
        self._seen = evaluation.step

    def end(self, outcome: Outcome) -> None:
        """A trial is over."""
        self._steps.update(max(0, outcome.steps - self._seen))
        self._trials.update(1)

    def close(self) -> None:
        """Take the bars away."""
        self._steps.close()
        self._trials.close()
