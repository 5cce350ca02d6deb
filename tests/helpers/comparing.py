"""Small comparisons for the tests of executors, what may happen in the middle of one, and whether two found the same."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import optuna
import pandas as pd
import pytest
import torch

import lr_search as lrs
from lr_search.comparison import compare as comparison
from lr_search.executors import fused_run
from lr_search.executors.executor import Executor
from lr_search.executors.progress import Progress
from lr_search.fused.trials import FusedTraining
from lr_search.storage.open import quiet_optuna
from lr_search.studies.job import Job
from lr_search.studies.trial import Outcome
from tests.helpers.workloads import data

TIMES = ["seconds", "started", "ended", "worker", "device"]
STEPS = 30  # of a training
BEYOND: dict[str, Any] = {"lr_range": (1e-3, 10.0), "range_test": {"num_steps": 20}}  # from 3 on, they diverge
LAST = torch.ones(8, 2)  # a batch that is unlike the others
TAME: dict[str, Any] = {"lr_range": (1e-3, 0.5), "range_test": {"num_steps": 20}}


def compared(workload: lrs.Workload, executor: Executor, **settings: Any) -> lrs.Comparison:
    """A grid of constant LRs under one seed, unless the settings say otherwise; nothing is kept on disk."""
    common = {"strategies": ["grid"], "schedules": ["constant"], "budget": 3, "seeds": 1, "progress": False}
    storage = settings.pop("storage", None) or optuna.storages.InMemoryStorage()
    return lrs.compare(workload, executor=executor, storage=storage, **{**common, **settings})


def require_same(ours: lrs.Comparison, theirs: lrs.Comparison, tolerance: float = 0.0) -> None:
    """The same trials, evaluations, curves and confirmations, times aside; a tolerance of 0: to the last bit."""
    for name in ("trials", "evaluations", "curves", "confirmations"):
        one, other = (getattr(each, name).drop(columns=TIMES, errors="ignore") for each in (ours, theirs))
        close: dict[str, Any] = {"check_exact": True} if tolerance == 0 else {"rtol": tolerance, "atol": 1e-6}
        pd.testing.assert_frame_equal(one, other, **close)


def states(storage: optuna.storages.BaseStorage) -> Counter[str]:
    """How many trials of all studies are in which state."""
    with quiet_optuna():
        found = [storage.get_all_trials(study._study_id) for study in storage.get_all_studies()]
    return Counter(trial.state.name for trials in found for trial in trials)


@dataclass(frozen=True)
class Breaking:
    """Makes SGD whose steps above an LR raise."""

    above: float
    error: type[Exception]

    def __call__(self, params: Any, lr: float) -> torch.optim.SGD:
        optimizer = torch.optim.SGD(params, lr=lr)
        optimizer.register_step_pre_hook(self._look)
        return optimizer

    def _look(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if optimizer.param_groups[0]["lr"] > self.above:
            raise self.error("the disk is full")


class CutAbove(optuna.pruners.BasePruner):
    """Cuts what has an LR above that, at the first report."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return bool(trial.params["lr"] > self.lr)


class Followed(Progress):
    """Notes what an executor tells it; at some evaluation something may happen."""

    events: list[tuple[str, str, Outcome | None]]  # what, of which trial, and how it ended
    happens: Callable[[int], None]  # told how many evaluations there were

    def begin(self, job: Job) -> None:
        self.events.append(("begin", job.name, None))
        super().begin(job)

    def evaluated(self, job: Job, step: int) -> None:
        self.events.append(("evaluated", job.name, None))
        self.happens(self.count("evaluated"))
        super().evaluated(job, step)

    def end(self, job: Job, outcome: Outcome) -> None:
        self.events.append(("end", job.name, outcome))
        super().end(job, outcome)

    @classmethod
    def count(cls, what: str) -> int:
        return sum(event == what for event, _, _ in cls.events)

    @classmethod
    def named(cls, what: str) -> list[str]:
        return [name for event, name, _ in cls.events if event == what]


def interrupt(at: int) -> Callable[[int], None]:
    """Ctrl-C at that evaluation."""

    def happens(evaluations: int) -> None:
        if evaluations == at:
            signal.raise_signal(signal.SIGINT)

    return happens


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Followed]]:
    """The progress of all comparisons of a test; Ctrl-C interrupts them."""
    Followed.events, Followed.happens = [], staticmethod(lambda evaluations: None)
    monkeypatch.setattr(comparison, "Progress", Followed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield Followed
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many were trained together, each time that some were."""
    found: list[int] = []

    class Noted(FusedTraining):
        def __init__(self, members: Any, seed: int, support: Any) -> None:
            found.append(len(members))
            super().__init__(members, seed, support)

    monkeypatch.setattr(fused_run, "FusedTraining", Noted)
    return found


def shifted() -> torch.Tensor:
    """Data of another line."""
    return data() + 1
