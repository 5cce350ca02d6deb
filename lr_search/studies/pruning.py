"""A study's pruner at work: what is reported to it, what it reads, and how its verdicts outlive a kill."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Container, Iterable, Mapping
from typing import Any, cast

import optuna
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from lr_search.errors import InvalidInputError, quoted, user_code
from lr_search.storage.keys import VERDICT
from lr_search.storage.working.working_storage import WorkingStorage

READING_SHARE = 1 / 50  # of the time between reports that may go into reading other trials
WORST = 1e100  # stands for inf and nan, which Optuna's pruners cannot reckon with


class Pruning:
    """A study's pruner, with the study as it sees it.

    Args:
        study: its pruner is replaced by a copy of `pruner`.
        pruner: as given. Some keep what they learn from the first trials they meet: with one for all studies, a study's
            verdicts would depend on which ran before it.

    Raises:
        InvalidInputError: it cannot be copied.
    """

    def __init__(self, study: optuna.Study, pruner: BasePruner) -> None:
        self._pruner = study.pruner = _copied(pruner)
        assert isinstance(study._storage, WorkingStorage)
        self._storage = _PrunerStorage(study._storage)
        self._study = copy.copy(study)
        self._study._storage = cast("BaseStorage", self._storage)

    def refresh(self) -> None:
        """Read anew the next time: a trial is about to be asked for."""
        self._storage.refresh()
        if isinstance(self._pruner, HyperbandPruner):
            # lays out its brackets, by which the sampler sees the study: after a restart not later than before it
            self._pruner.prune(self._study, create_trial(state=TrialState.RUNNING))

    def judge(self, trial: FrozenTrial) -> tuple[bool, dict[str, Any]]:
        """Ask the pruner, once for each report. Returns: whether to prune, and what it would write of the trial."""
        self._storage.hold(trial._trial_id)
        return self._pruner.prune(self._study, trial), self._storage.held


class Reports:
    """The reports of one trial to its study's pruner.

    A trial that is run again, after a kill, makes no report twice and gets no second verdict: at the steps before its last
    report the verdict was to go on; and a verdict to prune is written down before anything follows from it.

    Args:
        pruning: the study's pruner.
        trial: the trial that reports.
        again: whether it may have reported before.
    """

    def __init__(self, pruning: Pruning, trial: optuna.Trial, *, again: bool) -> None:
        self._pruning, self._trial = pruning, trial
        # the trial as the storage holds it; kept up to date here, since to read it at every report would cost more than the report
        self._known = copy.deepcopy(trial._cached_frozen_trial)
        self._verdict: dict[str, Any] | None = self._known.user_attrs.get(VERDICT) if again else None

    def make(self, value: float, step: int) -> None:
        """Report the objective at a step."""
        reported = self._known.intermediate_values
        if step not in reported:
            reported[step] = reckonable(value, self._trial.study.direction)
            self._trial.report(reported[step], step)

    def cut(self, value: float, step: int) -> bool:
        """Report the objective at a step, and ask the pruner for its verdict. Returns: whether to prune the trial here."""
        if self._verdict is None and all(step >= reported for reported in self._known.intermediate_values):
            self.make(value, step)
            self._ask_pruner(step)
        if self._verdict is None or step != self._verdict["step"]:
            return False
        self._write(self._verdict["written"])
        return True

    def _ask_pruner(self, step: int) -> None:
        prune, written = self._pruning.judge(copy.deepcopy(self._known))
        if prune:
            self._verdict = {"step": step, "written": written}
            self._trial.set_user_attr(VERDICT, self._verdict)
        else:
            self._write(written)

    def _write(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self._trial.storage.set_trial_system_attr(self._trial._trial_id, key, value)
            self._known.system_attrs[key] = value

    def lose(self, steps: Iterable[int]) -> None:
        """The training diverged: report the worst there is at those of `steps` that it did not come to."""
        for step in steps:
            self.make(math.nan, step)


def _copied(pruner: BasePruner) -> BasePruner:
    try:
        with user_code:
            return copy.deepcopy(pruner)
    except Exception as error:
        raise InvalidInputError(
            f"The pruner must be one that can be copied for each study, but {quoted(pruner)} cannot: {error}. "
            "Give it a method __deepcopy__ that says how."
        ) from error


def reckonable(value: float, direction: StudyDirection) -> float:
    """A number that pruners can take means, percentiles and differences of: inf and nan become very bad, or very good."""
    worst = -WORST if direction == StudyDirection.MAXIMIZE else WORST
    return worst if math.isnan(value) else min(max(float(value), -WORST), WORST)


class _PrunerStorage:
    """A storage as a pruner uses it; anything else is the storage's own.

    All trials are read again once 50 times as long has passed as reading them took, and after `refresh`: on a database a
    read at every report would cost more than the report. In a comparison that runs its trials one after the other nothing
    changes between, and what a pruner decides is the same. What it writes of the trial that it judges is held back.
    """

    def __init__(self, storage: WorkingStorage) -> None:
        self._storage = storage
        self._trials: list[FrozenTrial] = []
        self._good_until = -math.inf
        self._judged: int | None = None
        self.held: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def refresh(self) -> None:
        self._good_until = -math.inf

    def hold(self, trial_id: int) -> None:
        self._judged, self.held = trial_id, {}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if trial_id == self._judged:
            self.held[key] = value
        else:
            self._storage.set_trial_system_attr(trial_id, key, value)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        begun = time.perf_counter()
        if begun > self._good_until:
            self._trials = self._storage.refresh(study_id)
            ended = time.perf_counter()
            self._good_until = ended + (ended - begun) / READING_SHARE
        trials = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials
