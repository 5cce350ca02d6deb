"""What the driver of a comparison on Ray does for a report and for a trial: Tune's hooks, called as Tune calls them, without Ray."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import sqlalchemy
from optuna.storages import InMemoryStorage
from storage import NeverPrunes, workload

from lr_search.comparison.budget import Budget
from lr_search.comparison.plans import study_plans
from lr_search.comparison.question import question
from lr_search.executors.progress import Progress
from lr_search.executors.work import Work
from lr_search.storage.fingerprints.fingerprint import fingerprint
from lr_search.storage.open import open_storage, quiet_optuna
from lr_search.studies.opening import open_studies
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation
from lr_search_ray import OptunaPruningScheduler
from lr_search_ray.jobs.job_searcher import JobSearcher
from lr_search_ray.jobs.messages import CHARGED, EVALUATION, OUTCOME

REPORTS = 10  # a trial
AT_ONCE = 8  # trials on their way
PRUNERS = {"none": None, "median": NeverPrunes(n_startup_trials=2, n_warmup_steps=0)}
PARTS = {  # of Optuna's database: what belongs to a trial -> its columns beside trial_id
    "trial_user_attributes": "key, value_json",
    "trial_params": "param_name, param_value, distribution_json",
    "trial_values": "objective, value, value_type",
    "trial_intermediate_values": "step, intermediate_value, intermediate_value_type",
}
TRIAL = "number, state, datetime_start, datetime_complete"
COPIES = [
    f"INSERT INTO trials (trial_id, study_id, {TRIAL}) SELECT trial_id + :shift, :to, {TRIAL} FROM trials WHERE study_id = :from",
    *(
        f"INSERT INTO {part} (trial_id, {columns}) SELECT trial_id + :shift, {columns} FROM {part} "
        "WHERE trial_id IN (SELECT trial_id FROM trials WHERE study_id = :from)"
        for part, columns in PARTS.items()
    ),
]
Row = dict[str, Any]


@dataclass
class Costs:
    """Seconds in the hooks.

    Args:
        reports: of each report.
        trials: of each trial, reports apart: from what asks for it to what tells its study.
    """

    reports: list[float] = field(default_factory=list)
    trials: list[float] = field(default_factory=list)


class Driver:
    """Calls the hooks as Tune does, for trials that give made-up results."""

    def __init__(self, tasks: Sequence[StudyTask]) -> None:
        self._searcher = JobSearcher(Work(tasks), Progress(0, 0, shown=False), lambda: AT_ONCE, max_failures=0)
        self._scheduler = OptunaPruningScheduler(self._searcher)
        self._losses = np.random.default_rng(0)
        self._spent: dict[str, float] = {}  # in the trials on their way
        self.costs = Costs()

    def run(self) -> Costs:
        """Drain the studies: trials side by side, each a report after the other."""
        suggested, step = 0, dict[str, int]()
        while True:
            while len(step) < AT_ONCE and self._suggest(f"trial_{suggested}"):
                step[f"trial_{suggested}"] = 0
                suggested += 1
            if not step:
                break
            for trial_id in list(step):
                step[trial_id] += 1
                if step[trial_id] <= REPORTS:
                    self._report(trial_id, step[trial_id])
                else:
                    self._complete(trial_id, step.pop(trial_id))
        if self._searcher.stopped is not None:
            raise self._searcher.stopped
        return self.costs

    def _suggest(self, trial_id: str) -> bool:
        begun = time.perf_counter()
        suggested = isinstance(self._searcher.suggest(trial_id), dict)
        self._searcher.started(trial_id)
        self._spent[trial_id] = time.perf_counter() - begun
        return suggested

    def _report(self, trial_id: str, step: int) -> None:
        trial, result = _trial(trial_id), self._result(step)
        begun = time.perf_counter()
        self._scheduler.on_trial_result(None, trial, result)
        self.costs.reports.append(time.perf_counter() - begun)

    def _complete(self, trial_id: str, step: int) -> None:
        trial, result = _trial(trial_id), self._result(step)
        result[OUTCOME] = Outcome(
            ended="finished", steps=step, seconds=1.0, started="2026-01-01T00:00:00.000+00:00", device="none"
        )
        begun = time.perf_counter()
        self._scheduler.on_trial_complete(None, trial, result)
        self._searcher.on_trial_complete(trial_id, result)
        self.costs.trials.append(self._spent.pop(trial_id) + time.perf_counter() - begun)

    def _result(self, step: int) -> dict[str, Any]:
        evaluation = Evaluation(step, 1e-3, 0.5, {"loss": float(self._losses.random())})
        return {EVALUATION: evaluation, CHARGED: step, "seconds": 0.1 * step, "step": step, "done": step > REPORTS}


class Trial(SimpleNamespace):
    """What is read of Tune's trial, whose class goes by that name."""


def _trial(trial_id: str) -> Any:
    return Trial(trial_id=trial_id, checkpoint=None, error_file=None)


def studies(url: str | None, pruner: str, count: int, trials: int) -> list[StudyTask]:
    """So many studies of random search, a seed each, made as `compare()` makes them."""
    work = replace(workload(), num_steps=REPORTS + 1)
    asked = question(
        work, name="scale", strategies=["random"], schedules=["constant"], optimizers=None, lr_range=(1e-5, 0.1),
        range_test=None, budget=trials, seeds=count, pruner=PRUNERS[pruner],
    )  # fmt: skip
    start = fingerprint(work, 0)
    return open_studies(
        open_storage(url), "scale", study_plans(Budget(asked)), {("SGD", seed): start for seed in asked.seeds}
    )


def copied(first: StudyTask, others: Sequence[StudyTask]) -> None:
    """Finish studies by copies of the first one's trials."""
    storage = first.storage.inner
    if isinstance(storage, InMemoryStorage):
        for other in others:
            for trial in first.trials():
                storage.create_new_trial(other.study._study_id, trial)
        return
    with storage._backend.engine.begin() as connection:
        (last,) = connection.execute(sqlalchemy.text("SELECT max(trial_id) FROM trials")).one()
        for place, other in enumerate(others, start=1):
            given = {"shift": place * last, "from": first.study._study_id, "to": other.study._study_id}
            for statement in COPIES:
                connection.execute(sqlalchemy.text(statement), given)


def measured(storage: str, pruner: str, counts: Sequence[int], trials: int, say: Callable[[str], None]) -> list[Row]:
    """What the last of so many studies costs, when the others are finished.

    Args:
        storage: memory or SQLite.
        pruner: none or median.
        counts: of studies, rising.
        trials: in each study.
        say: is told of each row.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder, quiet_optuna():
        tasks = studies(None if storage == "memory" else f"sqlite:///{folder}/scale.db", pruner, max(counts), trials)
        finished = 0
        for count in counts:
            copied(tasks[0], tasks[finished : count - 1])
            costs = Driver(tasks[:count]).run()
            assert len(costs.trials) == trials
            assert all(task.complete() for task in tasks[:count])
            finished = count
            rows.append(
                {"storage": storage, "pruner": pruner, "studies": count, "trials": count * trials, **_ms(costs)}
            )
            say(
                "{storage:<7} pruner {pruner:<7}{trials:>7} trials   {report:6.3f} ms a report   {trial:6.2f} ms a trial".format(
                    **rows[-1]
                )
            )
    return rows


def _ms(costs: Costs) -> dict[str, float]:
    """Medians in ms; `_first` and `_last`: of the first and the last tenth."""
    found = {}
    for name, seconds in (("report", costs.reports), ("trial", costs.trials)):
        tenth = max(1, len(seconds) // 10)
        for part, some in (("", seconds), ("_first", seconds[:tenth]), ("_last", seconds[-tenth:])):
            found[name + part] = round(1000 * statistics.median(some), 4)
    return found
