"""From the arguments of `compare` to a list of studies, with the errors a user can make on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import optuna

from lr_search import plugins
from lr_search.errors import InvalidInputError, require
from lr_search.execution.study import StudyPlan
from lr_search.ladder import Ladder
from lr_search.optim import OptimizerFactory
from lr_search.ramp import ramp_lrs
from lr_search.samplers.strategies import Strategy, resolve
from lr_search.schedules import Schedule, by_name
from lr_search.workload import Workload

Layout = Callable[[float], Schedule]
RANGE_TEST: dict[str, Any] = {"num_steps": 100, "curves": 1}


@dataclass(frozen=True)
class Question:
    """What is compared: `compare`'s arguments, checked.

    Args:
        name: of the comparison.
        workloads: optimizer's name -> the workload with that optimizer.
        strategies: how to search.
        layouts: schedule's name -> (peak LR -> Schedule).
        lr_range: (low, high).
        range_test: arguments of a range test.
        curves: range tests an optimizer and seed.
        budget: full trainings a study may spend.
        seeds: of weights and batches.
        pruner: Optuna's, or None.
    """

    name: str
    workloads: Mapping[str, Workload]
    strategies: Sequence[Strategy]
    layouts: Mapping[str, Layout]
    lr_range: tuple[float, float]
    range_test: Mapping[str, Any]
    curves: int
    budget: float
    seeds: Sequence[int]
    pruner: optuna.pruners.BasePruner | None

    @property
    def workload(self) -> Workload:
        """With the first optimizer."""
        return next(iter(self.workloads.values()))

    @property
    def budget_steps(self) -> int:
        """Steps a study may spend."""
        return math.floor(self.budget * self.workload.num_steps + 1e-9)

    @property
    def num_studies(self) -> int:
        """Searches, without the range tests they share."""
        return len(self.strategies) * len(self.layouts) * len(self.workloads) * len(self.seeds)

    @property
    def range_test_steps(self) -> int:
        """Steps the range tests of one optimizer and seed are charged at most, if their ramp is not extended."""
        num_steps, measured = int(self.range_test["num_steps"]), self.range_test.get("gain_ratio") is not False
        forwards = (num_steps + 1 if measured else 0) + num_steps * int(self.range_test.get("valid_batches", 0))
        return self.curves * (num_steps + math.ceil(forwards / 3))

    def first_steps(self, strategy: Strategy) -> int:
        """Steps that range tests or a probe take at most before a study of that strategy trains."""
        if strategy.probe is not None:
            return strategy.probe.most_steps(*self.lr_range)
        return self.range_test_steps if strategy.needs_curves else 0

    @property
    def ladders(self) -> list[Ladder]:
        """The ladders that are probed for each optimizer and seed: strategies with the same one share it."""
        return list(dict.fromkeys(strategy.probe for strategy in self.strategies if strategy.probe is not None))

    def _shared(self) -> tuple[int, int]:
        """Trials and steps of the range tests and probes of one optimizer and seed."""
        trials, steps = len(self.ladders), sum(ladder.most_steps(*self.lr_range) for ladder in self.ladders)
        if any(strategy.needs_curves for strategy in self.strategies):
            trials, steps = trials + self.curves, steps + self.range_test_steps
        return trials, steps

    def planned_trials(self, strategy: Strategy) -> int:
        """Full trainings a study of that strategy pays for, if its range tests or probe run to their end."""
        left = self.budget_steps - self.first_steps(strategy)
        count = max(0, left // self.workload.num_steps)
        return count if strategy.max_trials is None else min(count, strategy.max_trials)

    def planned_steps(self) -> int:
        """Steps that are taken in all, at most: a range test or probe that studies share is taken once."""
        per_seed = sum(self.planned_trials(s) for s in self.strategies) * len(self.layouts) * self.workload.num_steps
        return (per_seed + self._shared()[1]) * len(self.workloads) * len(self.seeds)

    def planned_total_trials(self) -> int:
        """Trials that are run in all, range tests and probes included."""
        per_seed = sum(self.planned_trials(s) for s in self.strategies) * len(self.layouts)
        return (per_seed + self._shared()[0]) * len(self.workloads) * len(self.seeds)


def question(
    workload: Workload,
    *,
    name: str,
    strategies: Any,
    schedules: Any,
    optimizers: Mapping[str, OptimizerFactory] | None,
    lr_range: tuple[float, float],
    range_test: Mapping[str, Any] | None,
    budget: float,
    seeds: int | Sequence[int],
    pruner: optuna.pruners.BasePruner | None,
) -> Question:
    """Check what the user asked for. Raises: InvalidInputError, UnknownNameError: it breaks a rule."""
    require(isinstance(name, str) and bool(name), "name must be a text that is not empty", name=name)
    low, high = _lr_range(lr_range)
    settings, curves = _range_test(range_test, low, high)
    is_pruner = pruner is None or isinstance(pruner, optuna.pruners.BasePruner)
    require(is_pruner, "pruner must be an Optuna pruner, or None", pruner=pruner)
    asked = Question(
        name=name,
        workloads=_workloads(workload, optimizers),
        strategies=resolve(strategies),
        layouts=_layouts(schedules, workload),
        lr_range=(low, high),
        range_test=settings,
        curves=curves,
        budget=budget,
        seeds=_seeds(seeds),
        pruner=pruner,
    )
    _require_budget(asked)
    return asked


def _require_budget(asked: Question) -> None:
    require(math.isfinite(asked.budget) and asked.budget > 0, "budget must be a positive number", budget=asked.budget)
    for strategy in asked.strategies:
        if asked.planned_trials(strategy) >= 1:
            continue
        full = asked.workload.num_steps
        need = (full + asked.first_steps(strategy)) / full
        first = (
            "its probe and " if strategy.probe is not None else "its range test and " if strategy.needs_curves else ""
        )
        what = f"{first}one full training"
        raise InvalidInputError(
            f"budget must pay for {what} of {full} steps in {strategy.name!r}, but got budget={asked.budget:g}. "
            f"Give at least {math.ceil(need * 100) / 100:g}."
        )


def _lr_range(lr_range: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(lr) for lr in lr_range)
    except (TypeError, ValueError):
        raise InvalidInputError(f"lr_range must be a pair (low, high), but got {lr_range!r}.") from None
    require(0 < low < high < math.inf, "lr_range must be (low, high) with 0 < low < high", lr_range=lr_range)
    return low, high


def _range_test(given: Mapping[str, Any] | None, low: float, high: float) -> tuple[dict[str, Any], int]:
    """The arguments of a range test over the range that is searched, and how many curves."""
    settings = {**RANGE_TEST, "start_lr": low, "end_lr": high, "ramp": "exponential", **(given or {})}
    curves = settings.pop("curves")
    known = {"num_steps", "start_lr", "end_lr", "ramp", "extend", "gain_ratio", "valid_batches"}
    extra = sorted(settings.keys() - known)
    require(not extra, f"range_test may hold {', '.join(sorted(known | {'curves'}))}", got=extra)
    require(isinstance(curves, int) and curves >= 1, "range_test's curves must be at least 1", curves=curves)
    ramp_lrs(*(settings[name] for name in ("start_lr", "end_lr", "num_steps", "ramp")))  # its own rules
    return settings, curves


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    found = list(range(int(seeds))) if isinstance(seeds, int | np.integer) else list(seeds)
    whole = all(isinstance(seed, int | np.integer) and seed >= 0 for seed in found)
    good = len(found) > 0 and whole and len(set(found)) == len(found)
    require(good, "seeds must be how many (at least 1), or which (different whole numbers from 0)", seeds=seeds)
    return [int(seed) for seed in found]


def _workloads(workload: Workload, optimizers: Mapping[str, OptimizerFactory] | None) -> dict[str, Workload]:
    if optimizers is None:
        return {optimizer_name(workload.optimizer): workload}
    right = isinstance(optimizers, Mapping) and len(optimizers) > 0 and all(callable(o) for o in optimizers.values())
    require(right, "optimizers must map names to (params, lr=...) -> Optimizer, or be None", optimizers=optimizers)
    return {str(name): replace(workload, optimizer=optimizer) for name, optimizer in optimizers.items()}


def optimizer_name(optimizer: OptimizerFactory) -> str:
    """What a table calls an optimizer: the class's or function's name."""
    inner = optimizer
    while isinstance(inner, partial):
        inner = inner.func
    name = getattr(inner, "__name__", type(inner).__name__)
    return "optimizer" if name == "<lambda>" else str(name)


def _layouts(schedules: Any, workload: Workload) -> dict[str, Layout]:
    if isinstance(schedules, str):
        schedules = [schedules]
    named = schedules if isinstance(schedules, Mapping) else {name: name for name in schedules}
    require(len(named) > 0, "schedules must name at least one", schedules=schedules)
    duplicates = not isinstance(schedules, Mapping) and len(named) != len(list(schedules))
    require(not duplicates, "schedules must differ in name", schedules=schedules)
    layouts: dict[str, Layout] = {}
    for name, value in named.items():
        if not callable(value):
            plugins.load(plugins.SCHEDULES, value)
            value = partial(_laid_out, value, workload.num_steps, workload.steps_per_epoch)
        layouts[str(name)] = value
        schedule = value(0.1)  # too short a training is better told before anything runs
        require(isinstance(schedule, Schedule), f"the schedule {name!r} must map a peak LR to a Schedule", got=schedule)
    return layouts


def _laid_out(name: str, num_steps: int, steps_per_epoch: float | None, lr: float) -> Schedule:
    return by_name(name, lr, num_steps, steps_per_epoch)


def study_plans(asked: Question) -> list[StudyPlan]:
    """Every study of the question, seed by seed, range tests and probes before the searches that wait for them."""
    plans: list[StudyPlan] = []
    for seed in asked.seeds:
        for optimizer, workload in asked.workloads.items():
            common: dict[str, Any] = {"workload": workload, "optimizer": optimizer, "seed": seed}
            common |= {"budget_steps": asked.budget_steps, "lr_range": asked.lr_range}
            firsts = _first_plans(asked, common)
            plans += firsts.values()
            for strategy in asked.strategies:
                first = firsts.get(strategy.probe or strategy.needs_curves)
                for schedule, layout in asked.layouts.items():
                    plans.append(
                        StudyPlan(
                            name=f"{asked.name}/{strategy.name}/{schedule}/{optimizer}/seed {seed}",
                            kind="search",
                            strategy=strategy,
                            schedule=schedule,
                            layout=layout,
                            pruner=asked.pruner,
                            waits_for="" if first is None else first.name,
                            **common,
                        )
                    )
    return plans


def _first_plans(asked: Question, common: Mapping[str, Any]) -> dict[Ladder | bool, StudyPlan]:
    """What searches wait for, of one optimizer and seed: the range tests under True, a probe under its ladder."""
    place = f"{common['optimizer']}/seed {common['seed']}"
    plans: dict[Ladder | bool, StudyPlan] = {}
    if any(strategy.needs_curves for strategy in asked.strategies):
        plans[True] = StudyPlan(
            name=f"{asked.name}/range test/{place}",
            kind="range_test",
            curves=asked.curves,
            range_test=asked.range_test,
            **common,
        )
    for ladder in asked.ladders:
        name = f"{asked.name}/probe of {ladder.describe()}/{place}"
        plans[ladder] = StudyPlan(name=name, kind="probe", curves=1, ladder=ladder, **common)
    return plans
