"""Searches whose trainings are looked up in search_curves.json; everything else is lr_search's own: planning, budget, samplers, pruners."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from search_curves import EVALUATIONS, HIGH, LOW, evaluation_steps, looked_up, regret
from tasks import TASKS

import lr_search as lrs
from lr_search.executors import Executor
from lr_search.executors.progress import Progress
from lr_search.executors.solo_runs import run_trial
from lr_search.samplers import RangeTestSampler
from lr_search.samplers.strategies import Search, Strategy
from lr_search.samplers.strategy_names import resolve_strategies
from lr_search.storage.records import StudyRecord
from lr_search.studies.job import Job
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation

BUDGETS = (1, 2, 3, 4, 8, 16)
PRUNED_AT = 8
ALONE = ("grid", "random", "tpe", "gp", "range_test", "tpe+range_test", "probe", "one_epoch", "defaults")
PRUNED = ("grid", "random", "tpe", "range_test", "tpe+range_test", "probe")
TRIALS_OF_WRONG_PRIORS = 16
Found = dict[tuple[str, int], Outcome]


@dataclass(frozen=True)
class Run:
    """One search: what it picked and what it cost.

    Args:
        row: the strategy, and whether pruned.
        budget: in full trainings.
        seed: of the study.
        regret: of the best trial's LR, in the mean over seeds; 1 where all diverged.
        steps: charged, range tests included.
        trials: how many it began.
    """

    row: str
    budget: float
    seed: int
    regret: float
    steps: int
    trials: int


class LookupExecutor(Executor):
    """Ends each trial at once with the losses of a training at that LR that was done before; range tests and probes are run.

    Args:
        task: a task of search_curves.json.
        firsts: the range tests and probes that have been run; added to.
    """

    def __init__(self, task: str, firsts: Found) -> None:
        self._task, self._firsts = task, firsts

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        """See `Executor`."""
        for task in tasks:  # range tests and probes come before the studies that wait for them
            while (job := task.ask()) is not None:
                job.finish(self._trained(job) if job.spec.schedule is not None else self._first(job))

    def _first(self, job: Job) -> Outcome:
        key = str(job.spec.probe or job.spec.range_test), job.spec.seed
        if key not in self._firsts:
            self._firsts[key] = run_trial(job.workload, job.spec, lambda evaluation: False)
        return self._firsts[key]

    def _trained(self, job: Job) -> Outcome:
        assert isinstance(job.spec.schedule, lrs.schedules.Constant)
        lr, steps = job.spec.schedule.lr, evaluation_steps(job.workload.num_steps)
        outcome = Outcome(ended="finished", device="looked up")
        for step, loss in zip(steps, looked_up(self._task, job.spec.seed, lr).tolist(), strict=True):
            outcome.steps = step
            if not np.isfinite(loss):
                outcome.ended = "diverged"
                break
            outcome.evaluations.append(Evaluation(step, lr, loss, {"loss": loss}, False))
            if job.report(outcome.evaluations[-1]):
                outcome.ended = "pruned"
                break
        return outcome


def searched(
    task: str,
    strategies: Sequence[Any] | Mapping[str, Any],
    budget: float,
    seeds: int,
    firsts: Found,
    pruner: Any = None,
) -> list[StudyRecord]:
    """The studies of these strategies, a seed after the other."""
    workload = TASKS[task].make()
    workload = replace(workload, eval_every=workload.num_steps // EVALUATIONS)
    with contextlib.redirect_stdout(io.StringIO()):
        found = lrs.compare(
            workload, strategies=strategies, schedules=["constant"], lr_range=(LOW, HIGH), budget=budget, seeds=seeds,
            pruner=pruner, executor=LookupExecutor(task, firsts), storage=None, progress=False,
        )  # fmt: skip
    return [record for record in found.records if record.kind == "search"]


def run_of(task: str, record: StudyRecord, row: str, budget: float, first_steps: int) -> Run:
    """What a study picked: the LR of its best finished trial."""
    finished = [t for t in record.trials if t.state == "COMPLETE" and np.isfinite(t.value)]
    best = min(finished, key=lambda trial: trial.value, default=None)
    steps = first_steps + sum(trial.steps for trial in record.trials)
    return Run(
        row, budget, int(record.plan["seed"]), 1.0 if best is None else regret(task, best.lr), steps, len(record.trials)
    )


def runs_of_task(task: str, seeds: int) -> dict[str, Any]:
    """Every search of one task, with what the priors said."""
    torch.set_num_threads(1)
    firsts: Found = {}
    runs = [run for budget in BUDGETS for run in _at_budget(task, seeds, budget, firsts)]
    return {
        "runs": runs,
        "priors": _priors(task, seeds, firsts),
        "pruning": _as_many_trials(task, seeds, firsts),
        "wrong": _wrong_priors(task, seeds, firsts),
    }


def _at_budget(task: str, seeds: int, budget: float, firsts: Found) -> list[Run]:
    """All strategies that can run at that budget, without and with a pruner."""
    runs = []
    for names, pruner, suffix in ((ALONE, None, ""), (PRUNED, "auto", ", pruned")):
        for name in names:
            with contextlib.suppress(lrs.errors.InvalidInputError):  # the budget does not pay for one training
                records = searched(task, [name], budget, seeds, firsts, pruner)
                runs += [run_of(task, r, name + suffix, budget, _first_steps(r, firsts)) for r in records]
    return runs


def _first_steps(record: StudyRecord, firsts: Found) -> int:
    """Steps of the range test or probe that a study is charged."""
    if "waits_for" not in record.plan:
        return 0
    probe = "probe of" in record.plan["waits_for"]
    found = (
        o for (_, seed), o in firsts.items() if seed == int(record.plan["seed"]) and (o.probe is not None) == probe
    )
    return next(found).steps


def _as_many_trials(task: str, seeds: int, firsts: Found) -> list[tuple[str, int, Run, Run]]:
    """Each strategy at budget 8 without a pruner, and with one but no more trials: (row, seed, without, with)."""
    pairs = []
    for name in PRUNED:
        plain = searched(task, [name], PRUNED_AT, seeds, firsts)
        cut = {
            most: searched(task, [_at_most(most, {name: name})], PRUNED_AT, seeds, firsts, "auto")
            for most in {len(record.trials) for record in plain}
        }
        for place, record in enumerate(plain):
            both = record, cut[len(record.trials)][place]
            runs = [run_of(task, each, name, PRUNED_AT, _first_steps(each, firsts)) for each in both]
            pairs.append((name, int(record.plan["seed"]), *runs))
    return pairs


def _priors(task: str, seeds: int, firsts: Found) -> list[lrs.LRPrior]:
    return [r.prior for r in searched(task, ["range_test"], 2, seeds, firsts) if r.prior is not None]


def _wrong_priors(task: str, seeds: int, firsts: Found) -> list[Run]:
    """As many trials of random search, and of the range test with its prior's mode three decades too high or low."""
    shifted = {f"prior {decades:+d} decades": _shifted(decades) for decades in (-3, 3)}
    runs = []
    for name, strategy in {"random": "random", "range_test": "range_test", **shifted}.items():
        records = searched(
            task, [_at_most(TRIALS_OF_WRONG_PRIORS, {name: strategy})], TRIALS_OF_WRONG_PRIORS + 1, seeds, firsts
        )
        runs += [run_of(task, record, name, TRIALS_OF_WRONG_PRIORS, 0) for record in records]
    return runs


def _at_most(trials: int, named: Mapping[str, Any]) -> Strategy:
    return replace(resolve_strategies(named)[0], max_trials=trials)


def _shifted(decades: int) -> Strategy:
    def sampler(search: Search) -> RangeTestSampler:
        prior = search.prior
        assert prior is not None
        mode = float(np.clip(prior.mode * 10.0**decades, prior.low, prior.high))
        return RangeTestSampler(replace(prior, mode=mode), seed=search.seed)

    return Strategy("shifted", sampler, needs_curves=True, settings=str(decades))
