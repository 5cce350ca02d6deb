"""A study as an executor sees it: something to ask for trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import optuna
from optuna.trial import FrozenTrial, TrialState

from lr_search.curves.curve import LRCurve
from lr_search.curves.probe import Probe
from lr_search.errors import user_code
from lr_search.samplers.strategies import PARAM, PilotResult
from lr_search.schedules.layout import Range
from lr_search.storage.foreign import as_written, own_record, require_own_trials
from lr_search.storage.keys import OWNER
from lr_search.storage.ownership import Claim, at_work, claim_of
from lr_search.storage.working.working_storage import WorkingStorage
from lr_search.studies.job import Job
from lr_search.studies.plan import FIRST, StudyPlan
from lr_search.studies.pruning import Pruning
from lr_search.studies.search_inputs import pilot_result, search_for
from lr_search.studies.trial import TrialSpec, finding


class StudyTask:
    """A study and what is left to do in it.

    Args:
        plan: what it is for.
        study: Optuna's, in a storage as a process works on it.
        first: the study of the range tests, the probe or the pilots that it waits for, and is charged for with all that that one
            waited for.
    """

    def __init__(self, plan: StudyPlan, study: optuna.Study, first: StudyTask | None = None) -> None:
        self.plan, self.study, self._first = plan, study, first
        assert isinstance(study._storage, WorkingStorage)
        self.storage: WorkingStorage = study._storage
        self.pruning: Pruning | None = None
        self._first_round = 0
        self._findings: list[LRCurve | Probe] | None = None
        self._num_trials: int | None = None
        self._prepared = False
        self.require_file: Callable[[], None] | None = None  # raises where the storage's file is lost
        self.parallel = 1  # trials that may run at once whose points depend on results

    def trials(self) -> list[FrozenTrial]:
        """All trials, in the order of their numbers. Raises: StorageError: some are another program's."""
        return self._own(self.storage.refresh(self.study._study_id))

    def _own(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        require_own_trials(trials, self.plan.name)
        return trials

    def ready(self) -> bool:
        """Whether what it waits for is there."""
        return self._first is None or self._first.complete()

    @cached_property
    def before(self) -> list[StudyTask]:
        """What came before it, in the order in which it was run: range tests or a probe, then pilots."""
        return [] if self._first is None else [*self._first.before, self._first]

    def waits_for(self, other: StudyTask) -> bool:
        """Whether the other study is what it waits for."""
        return self._first is other

    @property
    def side_by_side(self) -> bool:
        """Whether all its trials may run at once, since no point depends on results."""
        return self.plan.strategy is None or self.plan.strategy.independent is None

    def complete(self) -> bool:
        """Whether nothing is left to run or running."""
        if self.plan.kind in FIRST:
            return len(self.findings()) >= self.plan.curves
        if not self.ready():
            return False
        trials = self.trials()
        return not any(t.state == TrialState.RUNNING for t in trials) and not self._fits(_next(trials), trials)

    def findings(self) -> list[LRCurve | Probe]:
        """What range tests or a probe found so far, in the order of the trials; read from the storage until all are there."""
        if self._findings is None or len(self._findings) < self.plan.curves:
            done = [t for t in self.trials() if t.state == TrialState.COMPLETE]
            with as_written(f"What {self.plan.name!r} found"):
                self._findings = [finding(own_record(t, self.plan.name)) for t in done[: self.plan.curves]]
        return self._findings

    def range_test_steps(self) -> int:
        """Steps of the range tests, the probe and the pilots that are charged to this study."""
        return sum(task._own_steps() for task in self.before)

    def _own_steps(self) -> int:
        """Steps of what was run for others, once it is complete."""
        if self.plan.kind in FIRST:
            return sum(result.steps_charged for result in self.findings())
        return sum(own_record(trial, self.plan.name)["steps"] for trial in self.trials())

    def pilots(self) -> list[PilotResult]:
        """What the pilots came to that were run before it; those that failed tell nothing."""
        return [
            pilot_result(trial, own_record(trial, task.plan.name), task.plan.workload)
            for task in self.before
            if task.plan.kind == "pilot"
            for trial in task.trials()
            if trial.state == TrialState.COMPLETE
        ]

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
        return next(iter(self.ask_several(1)), None)

    @user_code
    def ask_several(self, most: int) -> list[Job]:
        """The next trials that may run side by side, taken together.

        Args:
            most: how many, >= 1.
        """
        jobs: list[Job] | None = [] if not self.ready() else None
        while jobs is None:
            jobs = self._take(most)
        return jobs

    def _take(self, most: int) -> list[Job] | None:
        """Returns: None where another process was faster, so that it must be looked again."""
        trials = self._own(self.storage.before_taking(self.study._study_id))
        number = self._place(trials)
        if number is None:
            return []
        if number < len(trials):
            return self._take_waiting(trials[number]._trial_id)
        return self._take_new(number, most)

    def _place(self, trials: Sequence[FrozenTrial]) -> int | None:
        """The number of the trial that may begin now, if there is one."""
        number = _next(trials)
        if not self._fits(number, trials):
            return None
        if not self._prepared:
            self._prepare()
        if not self._begins(number, trials):
            return None
        if self.pruning is not None:
            self.pruning.refresh()
        return number

    def _take_waiting(self, trial_id: int) -> list[Job] | None:
        claim, taken, jobs = Claim(), False, list[Job]()
        try:
            taken = self.storage.take_waiting(trial_id, claim)
            if taken:
                trial = self._trial(trial_id)
                jobs.append(Job(self, trial, claim, self._spec(trial), again=True))
        finally:
            if not jobs:
                claim.drop()
            if taken and not jobs:
                self.storage.put_back(trial_id, claim.id)
        return jobs if taken else None

    def _trial(self, trial_id: int) -> optuna.Trial:
        self.study._thread_local.cached_all_trials = (
            None  # as `Study.ask` does, which cannot sign the trial that it takes
        )
        return optuna.Trial(self.study, trial_id)

    def _take_new(self, first: int, most: int) -> list[Job] | None:
        """Trials from that number on; in a database all are made at once, or none where another process has made one."""
        number: int | None = first
        claims, drafts, drawn = list[Claim](), list[int](), list[tuple[optuna.Trial, TrialSpec]]()
        begun: list[int] | None = None
        try:
            while number is not None and len(drawn) < most:
                claims.append(Claim())
                drafts.append(self.storage.draft(self.study._study_id, number, claims[-1]))
                trial = self._trial(drafts[-1])
                if trial.number > number and not self._has_place(trial.number):
                    self.storage.drop([drafts.pop()])
                    break
                drawn.append((trial, self._spec(trial)))
                number = self._place(self.storage.get_all_trials(self.study._study_id, deepcopy=False))
            begun = self.storage.begin(drafts) if drafts else []
        finally:
            for claim in claims[len(begun or ()) :]:
                claim.drop()
            if begun is None:
                self.storage.drop(drafts)
        if begun is None:
            return None
        for (trial, _), trial_id in zip(drawn, begun, strict=True):
            trial._trial_id = trial._cached_frozen_trial._trial_id = trial_id
        return [Job(self, trial, claim, spec) for (trial, spec), claim in zip(drawn, claims, strict=False)]

    def _has_place(self, number: int) -> bool:
        """Whether a trial that got a later number than was expected may run now: others may have taken what places there were."""
        trials = self.trials()
        return self._fits(number, trials) and self._begins(number, trials)

    def _fits(self, number: int, trials: Sequence[FrozenTrial]) -> bool:
        """Whether trial `number` fits into the budget beside all that come before it.

        Waiting ones included: so several processes come to one answer, whatever each takes at the same moment.
        """
        before = [t for t in trials if t.number < number]
        if self.plan.kind in FIRST:
            return sum(t.state != TrialState.FAIL for t in before) < self.plan.curves
        if not self.plan.prunes:
            return number < self.num_trials()
        most = self.plan.strategy.max_trials if self.plan.strategy is not None else None
        if most is not None and number >= most:
            return False
        return self._spent(before) + self.plan.trial_steps <= self.plan.budget_steps

    def _begins(self, number: int, trials: Sequence[FrozenTrial]) -> bool:
        """Whether trial `number` may begin now, while those before it that have not ended still run.

        After a strategy's first round, all of that must have ended.
        """
        if number < self._first_round:
            return True
        running = [t.number for t in trials[:number] if not t.state.is_finished()]
        if any(before < self._first_round for before in running):
            return False
        strategy = self.plan.strategy
        free = strategy is None or strategy.independent is None or number < strategy.independent
        return free or len(running) < self.parallel

    def _spent(self, trials: Sequence[FrozenTrial]) -> int:
        """Steps charged for these; a trial that waits or runs is charged in full, and refunded when it ends."""
        full = self.plan.trial_steps
        return self.range_test_steps() + sum(
            own_record(t, self.plan.name)["steps"] if t.state.is_finished() else full for t in trials
        )

    def _prepare(self) -> None:
        """Make the sampler and the pruner, before the first trial is asked for."""
        strategy, pruner = self.plan.strategy, self.plan.pruner
        if strategy is not None:
            findings = self.before[0].findings if self.before else None
            search = search_for(self.plan, self.study, strategy, self.num_trials, findings, self.pilots)
            self.study.sampler = strategy.sampler(search)
            pruner = pruner if strategy.pruner is None else strategy.pruner(search)
            self._first_round = 0 if strategy.first_round is None else strategy.first_round(search)
        self.pruning = None if pruner is None else Pruning(self.study, pruner)
        self._prepared = True

    def _spec(self, trial: optuna.Trial) -> TrialSpec:
        plan = self.plan
        if plan.kind == "probe":
            assert plan.ladder is not None
            return TrialSpec(plan.seed, probe=(plan.lr_range, plan.ladder))
        if plan.kind == "range_test":
            # the first curve's seed is the trials' own; the others' are spread far from it
            return TrialSpec(plan.seed + 1_000_003 * trial.number, range_test=dict(plan.range_test))
        low, high = plan.lr_range
        if plan.fixed_lr is not None:
            low, high = min(low, plan.fixed_lr), max(high, plan.fixed_lr)
        lr = trial.suggest_float(PARAM, low, high, log=True)
        assert plan.layout is not None
        shape = {name: suggested(trial, name, within) for name, within in plan.layout.ranges.items()}
        if plan.kind == "pilot":
            return TrialSpec(plan.seed, schedule=plan.layout(lr), num_steps=plan.workload.num_steps)
        return TrialSpec(
            plan.seed, schedule=plan.layout(lr, **shape), on_test_data=plan.kind == "confirm", snapshots=plan.snapshots
        )

    def sweep(self) -> int:
        """Put trials whose process is gone back to waiting. Returns: how many."""
        swept = 0
        for trial in self.trials():
            if trial.state != TrialState.RUNNING:
                continue
            if not at_work(trial):
                swept += self.storage.put_back(trial._trial_id, claim_of(trial.user_attrs.get(OWNER)))
        return swept


def _next(trials: Sequence[FrozenTrial]) -> int:
    """The number of the trial that would be taken next."""
    return next((t.number for t in trials if t.state == TrialState.WAITING), len(trials))


def suggested(trial: optuna.trial.BaseTrial, name: str, within: Range) -> float:
    """What the trial's sampler makes of one option of a schedule's shape."""
    if within.whole:
        return trial.suggest_int(name, int(within.low), int(within.high), log=within.log)
    return trial.suggest_float(name, within.low, within.high, log=within.log)
