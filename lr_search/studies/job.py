"""A trial that was asked for, as an executor holds it: an executor reports to it how far it is, and how it ended."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from lr_search.errors import StorageError, user_code
from lr_search.samplers.strategies import PARAM
from lr_search.storage.keys import RECORD
from lr_search.storage.open import storage_errors
from lr_search.storage.ownership import Claim
from lr_search.studies.pruning import Reports
from lr_search.studies.trial import Outcome, TrialSpec
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.subject import Subject

if TYPE_CHECKING:
    from lr_search.studies.study import StudyTask

_STATES = {  # Optuna's, by how a trial ended
    "finished": TrialState.COMPLETE,
    "diverged": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class Job:
    """One trial that was asked for. Pass each evaluation to `report`, and end it with `finish` or `release`."""

    def __init__(
        self, task: StudyTask, trial: optuna.Trial, claim: Claim, spec: TrialSpec, *, again: bool = False
    ) -> None:
        self.task, self.spec = task, spec
        self._trial, self._claim, self._storage = trial, claim, task.storage
        self._reports = None if task.pruning is None else Reports(task.pruning, trial, again=again)

    @property
    def workload(self) -> Subject:
        """What it trains."""
        return self.task.plan.workload

    @property
    def number(self) -> int:
        """The trial's number in its study."""
        return self._trial.number

    @property
    def lr(self) -> float | None:
        """The peak LR it trains at; None for a range test or probe."""
        return self._trial.params.get(PARAM)

    @property
    def name(self) -> str:
        """The study's name and the trial's number."""
        return f"{self.task.plan.name}/{self._trial.number}"

    def report(self, evaluation: Evaluation) -> bool:
        """Pass an evaluation to the pruner. Returns: whether to prune the trial here."""
        # the first shows nothing yet and the last has been paid for
        if self._reports is None or not 0 < evaluation.step < self.workload.num_steps:
            return False
        try:
            with storage_errors():
                return self._reports.cut(evaluation.metrics[self.workload.objective], evaluation.step)
        except UpdateFinishedTrialError:  # by another process, that took this one for lost
            return True

    def beat(self) -> None:
        """A sign of life in the storage; where the storage is away for a moment, the next one will do."""
        with contextlib.suppress(StorageError), storage_errors():
            self._storage.renew(self._trial._trial_id, self._claim)

    @user_code
    def finish(self, outcome: Outcome) -> None:
        """Store the outcome, then report it to the study. Raises: StorageError: the storage's file is lost."""
        # by another process, that took this one for lost
        with contextlib.suppress(UpdateFinishedTrialError), self._storage.together():
            if self._reports is not None and outcome.ended == "diverged":
                self._reports.lose(self.task.plan.report_steps())
            self._trial.set_user_attr(RECORD, outcome.record())
            self._tell(outcome)
        self._claim.drop()
        if self.task.require_file is not None:
            self.task.require_file()

    def _tell(self, outcome: Outcome) -> None:
        state = _STATES[outcome.ended]
        value = self._value(outcome) if state == TrialState.COMPLETE else None
        tell = self.task.study.tell
        try:
            tell(self._trial, value, state, skip_if_finished=True)
        except ValueError:  # it waits: taken for lost and put back
            if not self._storage.take_waiting(self._trial._trial_id, self._claim):
                raise
            tell(self._trial, value, state, skip_if_finished=True)

    def _value(self, outcome: Outcome) -> float:
        work = self.workload
        if outcome.curve is not None:
            return float(outcome.curve.smoothed.min())
        if outcome.probe is not None:
            return float(np.nanmin(outcome.probe.loss))
        if outcome.ended == "diverged":
            return math.inf if work.direction == "minimize" else -math.inf
        return outcome.evaluations[-1].metrics[work.objective]

    def release(self) -> None:
        """Put the trial back, to be run again under the same number and LR."""
        self._claim.drop()
        self._storage.put_back(self._trial._trial_id, self._claim.id)
