"""Small comparisons, what may happen in the middle of one, and whether two found the same."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import optuna
import pandas as pd
import pytest
import torch

from lr_search.comparison import compare as comparing
from lr_search.comparison.comparison import Comparison
from lr_search.executors.executor import Executor
from lr_search.executors.progress import Progress
from lr_search.storage.open import quiet_optuna
from lr_search.studies.job import Job
from lr_search.studies.trial import Outcome
from lr_search.testing.line_workload import LINE_SETTINGS
from lr_search.workloads.workload import Workload

TIMES = ["seconds", "started", "ended", "worker", "device"]
STEPS: int = LINE_SETTINGS["num_steps"]  # of a training
BEYOND: dict[str, Any] = {"lr_range": (1e-3, 10.0), "range_test": {"num_steps": 20}}  # from 3 on, they diverge
TAME: dict[str, Any] = {"lr_range": (1e-3, 0.5), "range_test": {"num_steps": 20}}


def compared(workload: Workload, executor: Executor | None = None, **settings: Any) -> Comparison:
    """A grid of constant LRs under one seed, unless the settings say otherwise; nothing is kept on disk."""
    common = {"strategies": ["grid"], "schedules": ["constant"], "budget": 3, "seeds": 1, "progress": False}
    common |= {"lr_range": (1e-5, 10.0)}  # by number: by the optimizer, range tests would run before all else
    storage = settings.pop("storage", None) or optuna.storages.InMemoryStorage()
    return comparing.compare(workload, executor=executor, storage=storage, **{**common, **settings})


def require_same(
    ours: Comparison,
    theirs: Comparison,
    tolerance: float = 0.0,
    rule: str = "two comparisons of the same must find the same",
) -> None:
    """The same trials, evaluations, curves and confirmations, times aside; a tolerance of 0: to the last bit."""
    __tracebackhide__ = True
    for name in ("trials", "evaluations", "curves", "confirmations"):
        one, other = (getattr(each, name).drop(columns=TIMES, errors="ignore") for each in (ours, theirs))
        close: dict[str, Any] = {"check_exact": True} if tolerance == 0 else {"rtol": tolerance, "atol": 1e-6}
        try:
            pd.testing.assert_frame_equal(one, other, **close)
        except AssertionError as error:
            message = f"{rule}, but {name} has {len(one)} rows where {len(other)} are wanted, and differs: {error}"
            raise AssertionError(message) from None


def states(storage: optuna.storages.BaseStorage) -> Counter[str]:
    """How many trials of all studies are in which state."""
    with quiet_optuna():
        found = [storage.get_all_trials(study._study_id) for study in storage.get_all_studies()]
    return Counter(trial.state.name for trials in found for trial in trials)


@dataclass(frozen=True)
class Breaking:
    """Makes SGD whose steps above an LR raise.

    Args:
        above: the LR.
        error: what is raised.
    """

    above: float
    error: type[BaseException]

    def __call__(self, params: Any, lr: float) -> torch.optim.SGD:
        """The optimizer."""
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
        """Whether its LR is above."""
        return bool(trial.params["lr"] > self.lr)


class Followed(Progress):
    """Notes what an executor tells it; at some evaluation something may happen.

    Attributes:
        events: what, of which trial, and how it ended.
        happens: told how many evaluations there were.
    """

    events: ClassVar[list[tuple[str, str, Outcome | None]]] = []
    happens: Callable[[int], None]

    def begin(self, job: Job) -> None:
        """See `Progress`."""
        self.events.append(("begin", job.name, None))
        super().begin(job)

    def evaluated(self, job: Job, step: int) -> None:
        """See `Progress`."""
        self.events.append(("evaluated", job.name, None))
        self.happens(self.count("evaluated"))
        super().evaluated(job, step)

    def end(self, job: Job, outcome: Outcome) -> None:
        """See `Progress`."""
        self.events.append(("end", job.name, outcome))
        super().end(job, outcome)

    @classmethod
    def count(cls, what: str) -> int:
        """How often that was told."""
        return sum(event == what for event, _, _ in cls.events)

    @classmethod
    def named(cls, what: str) -> list[str]:
        """Of which trials that was told."""
        return [name for event, name, _ in cls.events if event == what]


def interrupt(at: int) -> Callable[[int], None]:
    """Ctrl-C at that evaluation."""

    def happens(evaluations: int) -> None:
        if evaluations == at:
            signal.raise_signal(signal.SIGINT)

    return happens


@contextmanager
def following() -> Iterator[type[Followed]]:
    """The progress of all comparisons meanwhile; Ctrl-C interrupts them."""
    Followed.events.clear()
    Followed.happens = staticmethod(lambda evaluations: None)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(comparing, "Progress", Followed)
        try:
            yield Followed
        finally:
            signal.signal(signal.SIGINT, before)
