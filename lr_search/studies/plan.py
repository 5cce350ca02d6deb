"""What a study is for, and what the storage records of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import optuna

from lr_search.curves.probe import Ladder
from lr_search.samplers.strategies import Strategy
from lr_search.samplers.strategy_names import settings_of
from lr_search.schedules.base import Schedule
from lr_search.schedules.layout import Range
from lr_search.studies.schedule_layout import PEAK, ScheduleLayout
from lr_search.training.controller import Controller, first_schedule
from lr_search.training.course import checkpoints
from lr_search.workloads.subject import Subject

StudyKind = Literal["search", "range_test", "probe", "pilot", "confirm", "today"]
FIRST = ("range_test", "probe")  # what searches wait for


@dataclass(frozen=True)
class StudyPlan:
    """What a study is for.

    Args:
        name: of the study in the storage.
        kind: a search, the range tests, probe or pilots that searches wait for, the confirmation of a result, or a training with
            what is used today.
        workload: what is trained, with this study's optimizer.
        optimizer: its name.
        seed: of weights and batches.
        budget_steps: optimizer steps the study may spend.
        strategy: how it searches; of a search or of pilots.
        schedule: its name; of a search, pilots or a confirmation.
        layout: peak LR -> Schedule or Controller, and what is searched beside the LR; of a search, pilots or a confirmation.
        lr_range: (low, high) of the search.
        curves: how many range tests (or probes: 1); of a range test or probe.
        range_test: the arguments of the range tests; of a range test.
        ladder: which LRs are probed; of a probe.
        waits_for: the name of the study whose range tests, probe or pilots come first; of a search or of pilots.
        pruner: Optuna's, or None; where the strategy has one of its own, that is made when the study begins.
        snapshots: how many of a training's last cycle ends are judged together; changes no training, so that a study may go
            on with another number.
        default_lr: the optimizer's own; of a search whose strategy needs it.
        target_steps: of the full training that pilots are for; of pilots, whose workload is shorter.
    """

    name: str
    kind: StudyKind
    workload: Subject
    optimizer: str
    seed: int
    budget_steps: int
    strategy: Strategy | None = None
    schedule: str = ""
    layout: ScheduleLayout | None = None
    lr_range: tuple[float, float] = (1e-5, 10.0)
    curves: int = 0
    range_test: Mapping[str, Any] = field(default_factory=dict)
    ladder: Ladder | None = None
    waits_for: str = ""
    pruner: optuna.pruners.BasePruner | None = None
    snapshots: int = 0
    default_lr: float | None = None
    target_steps: int = 0

    @property
    def fixed_lr(self) -> float | None:
        """The one LR that is tried, where that is so."""
        if self.strategy is None:
            return None
        return self.default_lr if self.strategy.needs_default else self.strategy.fixed_lr

    @cached_property
    def scheduled(self) -> bool:
        """Whether its trials are trainings whose LR depends on nothing but the step and their own evaluations."""
        schedule = None if self.layout is None else self.layout(PEAK)
        return isinstance(schedule, Schedule) or (
            isinstance(schedule, Controller) and schedule.by_evaluations(self.workload) is not None
        )

    @property
    def prunes(self) -> bool:
        """Whether trials may be cut."""
        return self.pruner is not None or (self.strategy is not None and self.strategy.pruner is not None)

    @property
    def trial_steps(self) -> int:
        """What a full training is charged at most."""
        return self.workload.num_steps if self.layout is None else self.layout.training_steps(self.workload.num_steps)

    def report_steps(self) -> list[int]:
        """The steps at which its trials report to a pruner: where they are evaluated, but for the first and the last."""
        assert self.layout is not None
        return report_steps(self.workload, first_schedule(self.layout(PEAK)))

    def epoch_end(self) -> int | None:
        """The first step at which its trials report after a pass over the data (after a step where that has no known end), or None."""
        steps_per_epoch = self.workload.steps_per_epoch or 1
        return next((step for step in self.report_steps() if step >= steps_per_epoch), None)

    def steps_at(self, step: int) -> int:
        """What a training is charged at most that ends at the evaluation at that step, before the last."""
        assert self.layout is not None
        # a controller's range test at that step comes before the pruner is asked
        return self.layout.training_steps(step + 1) - 1

    def _pruner_text(self) -> str:
        if self.strategy is not None and self.strategy.pruner is not None:
            return "the strategy's own"
        return "" if self.pruner is None else _settings(self.pruner)

    def attribute(self) -> dict[str, Any]:
        """What the storage records of it: enough to report without the workload."""
        layout = "" if self.layout is None else self.layout(1.0).describe()
        ladder = self.ladder if self.strategy is None else self.strategy.probe
        return {
            "kind": self.kind,
            "strategy": "" if self.strategy is None else self.strategy.name,
            "strategy_settings": "" if self.strategy is None else settings_of(self.strategy),
            "schedule": self.schedule,
            "schedule_shape": layout,
            "optimizer": self.optimizer,
            "seed": self.seed,
            "lr_range": list(self.lr_range),
            "range_test": dict(self.range_test),
            "pruner": self._pruner_text(),
            **({} if ladder is None else {"ladder": ladder.describe()}),
            "search_shape": {} if self.layout is None else _plain(self.layout.ranges),
            **({} if self.default_lr is None else {"default_lr": self.default_lr}),
            **({"lr": self.fixed_lr} if self.kind == "today" else {}),
            **({"target_steps": self.target_steps} if self.kind == "pilot" else {}),
        }


def report_steps(workload: Subject, schedule: Schedule) -> list[int]:
    """The steps at which a training reports to a pruner."""
    return checkpoints(workload, schedule)[1:-1]


def _plain(ranges: Mapping[str, Range]) -> dict[str, list[float]]:
    return {name: [bounds.low, bounds.high] for name, bounds in ranges.items()}


def _settings(pruner: optuna.pruners.BasePruner) -> str:
    """A pruner's class and numbers, and those of a pruner within it, without addresses."""
    settings = {
        k: _settings(v) if isinstance(v, optuna.pruners.BasePruner) else v for k, v in sorted(vars(pruner).items())
    }
    numbers = {k: v for k, v in settings.items() if isinstance(v, int | float | str | bool | None)}
    return f"{type(pruner).__name__} {numbers}"
