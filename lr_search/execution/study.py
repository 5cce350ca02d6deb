"""A study as an executor sees it: it asks it for trials, and tells it what became of them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from lr_search.curve import LRCurve
from lr_search.evaluation import Evaluation
from lr_search.execution.ownership import is_alive, owner
from lr_search.execution.plan import FIRST, RECORD, StudyPlan
from lr_search.execution.pruning import FewerReads
from lr_search.execution.trial import Outcome, TrialSpec, finding
from lr_search.ladder import Probe
from lr_search.prior import LRPrior
from lr_search.samplers.strategies import PARAM, Search
from lr_search.schedules.shape import Range
from lr_search.workload import Workload

OWNER = "owner"


class Job:
    """One trial that was asked for. Tell it each evaluation with `report`, and end it with `finish` or `release`."""

    def __init__(self, task: StudyTask, trial: optuna.Trial, spec: TrialSpec, *, again: bool = False) -> None:
        self.task, self.spec = task, spec
        self._trial = trial
        # a trial that is run again has reported before
        frozen = task.study._storage.get_trial(trial._trial_id) if again and task.plan.pruner is not None else None
        self._reported = set() if frozen is None else set(frozen.intermediate_values)

    @property
    def workload(self) -> Workload:
        """What it trains."""
        return self.task.plan.workload

    def report(self, evaluation: Evaluation) -> bool:
        """Pass an evaluation to the pruner. Returns: whether to prune the trial here."""
        plan = self.task.plan
        # the first shows nothing yet and the last has been paid for
        if plan.pruner is None or not 0 < evaluation.step < plan.workload.num_steps:
            return False
        if evaluation.step not in self._reported:
            self._trial.report(evaluation.metrics[plan.workload.objective], evaluation.step)
        return self._trial.should_prune()

    def beat(self) -> None:
        """A sign of life in the storage."""
        self._trial.set_user_attr(OWNER, owner())

    def finish(self, outcome: Outcome) -> None:
        """Store the outcome, then tell the study."""
        self._trial.set_user_attr(RECORD, outcome.record())
        study = self.task.study
        if outcome.ended == "failed":
            study.tell(self._trial, state=TrialState.FAIL)
        elif outcome.ended == "pruned":
            study.tell(self._trial, state=TrialState.PRUNED)
        else:
            study.tell(self._trial, self._value(outcome))

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
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # interrupted just after it was told
            self.task.study._storage.set_trial_state_values(self._trial._trial_id, TrialState.WAITING)


class StudyTask:
    """A study and what is left to do in it.

    Args:
        plan: what it is for.
        study: Optuna's.
        first: the study of the range tests or the probe that it waits for and is charged for.
    """

    def __init__(self, plan: StudyPlan, study: optuna.Study, first: StudyTask | None = None) -> None:
        self.plan, self.study, self._first = plan, study, first
        self._reads = None if plan.pruner is None else FewerReads(study)
        self._findings: list[LRCurve | Probe] | None = None
        self._num_trials: int | None = None
        self._has_sampler = False

    def trials(self) -> list[FrozenTrial]:
        """All trials, in the order of their numbers."""
        return self.study._storage.get_all_trials(self.study._study_id, deepcopy=False)

    def ready(self) -> bool:
        """Whether what it waits for is there."""
        return self._first is None or self._first.complete()

    def complete(self) -> bool:
        """Whether nothing is left to run or running."""
        if self.plan.kind in FIRST:
            return len(self.findings()) >= self.plan.curves
        if not self.ready():
            return False
        trials = self.trials()
        return not any(t.state == TrialState.RUNNING for t in trials) and not self._has_room(trials)

    def findings(self) -> list[LRCurve | Probe]:
        """What range tests or a probe found so far, in the order of the trials; read from the storage until all are there."""
        if self._findings is None or len(self._findings) < self.plan.curves:
            done = [t for t in self.trials() if t.state == TrialState.COMPLETE]
            self._findings = [finding(t.user_attrs[RECORD]) for t in done[: self.plan.curves]]
        return self._findings

    def range_test_steps(self) -> int:
        """Steps of the range tests or the probe that are charged to this study."""
        return 0 if self._first is None else sum(found.steps_charged for found in self._first.findings())

    def num_trials(self) -> int:
        """How many full trainings the budget pays for."""
        if self._num_trials is None:
            left = self.plan.budget_steps - self.range_test_steps()
            most = self.plan.strategy.max_trials if self.plan.strategy is not None else None
            count = left // self.plan.trial_steps
            self._num_trials = count if most is None else min(count, most)
        return self._num_trials

    def ask(self) -> Job | None:
        """The next trial to run, or None where there is none at present."""
        if not self.ready():
            return None
        before = self.trials()
        if not self._has_room(before):
            return None
        if self.plan.strategy is not None and not self._has_sampler:
            self.study.sampler, self._has_sampler = self._sampler(), True
        if self._reads is not None:
            self._reads.refresh()
        trial = self.study.ask()
        trial.set_user_attr(OWNER, owner())
        # another process may have taken the last place meanwhile
        if trial.number != len(before) and not self._fits(trial.number):
            Job(self, trial, TrialSpec(0)).release()
            return None
        return Job(self, trial, self._spec(trial), again=trial.number < len(before))

    def _has_room(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether one more trial fits into the budget."""
        begun = [t for t in trials if t.state != TrialState.WAITING]
        if self.plan.kind in FIRST:
            return sum(t.state != TrialState.FAIL for t in begun) < self.plan.curves
        most = self.plan.strategy.max_trials if self.plan.strategy is not None else None
        if self.plan.pruner is None or (most is not None and len(begun) >= most):
            return len(begun) < self.num_trials()
        return self._spent(begun) + self.plan.trial_steps <= self.plan.budget_steps

    def _fits(self, number: int) -> bool:
        before = [t for t in self.trials() if t.number < number]
        return self._has_room(before)

    def _spent(self, begun: Sequence[FrozenTrial]) -> int:
        """Steps charged so far; a trial that runs is charged in full, and refunded when it ends."""
        full = self.plan.trial_steps
        return self.range_test_steps() + sum(
            t.user_attrs[RECORD]["steps"] if t.state.is_finished() else full for t in begun
        )

    def _sampler(self) -> optuna.samplers.BaseSampler:
        assert self.plan.strategy is not None
        prior = self._prior() if self.plan.strategy.needs_curves else None
        largest_lr = None if self.plan.strategy.probe is None else self._kept("largest_lr", self._largest_lr)
        # a larger budget extends a grid rather than moving it: its first size is kept
        num_trials = self._kept("num_trials", lambda: max(1, self.num_trials()))
        return self.plan.strategy.sampler(Search(self.plan.seed, num_trials, prior, largest_lr, self.plan.default_lr))

    def _prior(self) -> LRPrior:
        def made() -> dict[str, float]:
            assert self._first is not None
            curves = [found for found in self._first.findings() if isinstance(found, LRCurve)]
            return LRPrior.from_curves(curves, schedule=self.plan.schedule, lr_range=self.plan.lr_range).to_json()

        return LRPrior.from_json(self._kept("prior", made))

    def _largest_lr(self) -> float | None:
        assert self._first is not None
        return next(found.largest_lr for found in self._first.findings() if isinstance(found, Probe))

    def _kept(self, key: str, make: Callable[[], Any]) -> Any:
        """A value made once for the study, whoever works on it."""
        attributes = self.study.user_attrs
        if key not in attributes:
            self.study.set_user_attr(key, make())
            attributes = self.study.user_attrs
        return attributes[key]

    def _spec(self, trial: optuna.Trial) -> TrialSpec:
        plan = self.plan
        if plan.kind == "probe":
            assert plan.ladder is not None
            return TrialSpec(plan.seed, probe=(plan.lr_range, plan.ladder))
        if plan.kind == "range_test":
            earlier = [t for t in self.trials() if t.number < trial.number and t.state != TrialState.FAIL]
            # the first curve's seed is the trials' own; the others' are spread far from it
            return TrialSpec(plan.seed + 1_000_003 * len(earlier), range_test=dict(plan.range_test))
        low, high = plan.lr_range
        if plan.fixed_lr is not None:
            low, high = min(low, plan.fixed_lr), max(high, plan.fixed_lr)
        lr = trial.suggest_float(PARAM, low, high, log=True)
        assert plan.layout is not None
        shape = {name: _suggested(trial, name, each) for name, each in plan.layout.ranges.items()}
        return TrialSpec(
            plan.seed, schedule=plan.layout(lr, **shape), on_test_data=plan.kind == "confirm", snapshots=plan.snapshots
        )

    def sweep(self) -> int:
        """Put trials whose process is gone back to waiting. Returns: how many."""
        swept = 0
        for trial in self.trials():
            if trial.state != TrialState.RUNNING:
                continue
            started = trial.datetime_start.timestamp() if trial.datetime_start is not None else 0.0
            if not is_alive(trial.user_attrs.get(OWNER), started, time.time()):
                self.study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
                swept += 1
        return swept


def _suggested(trial: optuna.Trial, name: str, within: Range) -> float:
    if within.whole:
        return trial.suggest_int(name, int(within.low), int(within.high), log=within.log)
    return trial.suggest_float(name, within.low, within.high, log=within.log)
