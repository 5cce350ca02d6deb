"""Which trials of a comparison can be trained together, and how many at once."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, Literal

from lr_search.errors import error_text
from lr_search.executors.time_limits.alarm import TrialTimeoutError
from lr_search.executors.time_limits.limits import NO_LIMITS, TimeLimits
from lr_search.fused.losses import ChangingPartsError
from lr_search.fused.range_tests import ramps_fuse
from lr_search.fused.support import Support, known_support
from lr_search.fused.width import WIDEST, fastest_width, fitting_width
from lr_search.ramp.settings import RampSettings
from lr_search.studies.study import StudyTask
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload


class Fusing:
    """What is known of the workloads of a comparison: which can be fused, and how many at once.

    Args:
        width: as the user gave it.
        limits: how long a trial may take, and everything.
    """

    def __init__(self, width: int | Literal["auto"], limits: TimeLimits = NO_LIMITS) -> None:
        self._asked, self.limits = width, limits
        self._support: dict[int, tuple[Subject, Support]] = {}
        self._fastest: dict[int, tuple[int, int]] = {}  # the fastest width, and the most that was tried
        self._by_seed: set[int] = set()  # the ids of workloads whose seeds cannot be taken together
        self._limit = sys.maxsize  # what memory was found to hold
        self._warned: set[str] = set()

    def support(self, workload: Subject, seed: int) -> Support:
        """What is known of a workload, which is tried out once; why it cannot be fused is reported as a warning."""
        if id(workload) not in self._support:
            self._support[id(workload)] = workload, supported_within(self.limits, workload, seed)
            self._warn(self._support[id(workload)][1].reason)
        return self._support[id(workload)][1]

    def refuse(self, workload: Subject, reason: str) -> None:
        """Take note that a workload turned out later to be one that cannot be fused, and why."""
        self._support[id(workload)] = workload, Support(reason)
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        if reason and reason not in self._warned:
            self._warned.add(reason)
            warnings.warn(
                f"FusedExecutor needs {reason}. These trials run one by one; the answers are the same. "
                "Mend that to have them fused, or use LocalExecutor.",
                stacklevel=2,
            )

    def can(self, task: StudyTask) -> bool:
        """Whether a study's trials or range tests can be fused at all."""
        plan = task.plan
        if self._asked == 1 or not (plan.scheduled or plan.kind == "range_test"):
            return False
        support = self.support(plan.workload, plan.seed)
        return not support.reason if plan.scheduled else ramps_fuse(support, RampSettings(**plan.range_test))

    def together(self, one: StudyTask, other: StudyTask) -> bool:
        """Whether trials of two studies can be trained in lockstep, or their range tests be run so, whatever their seeds."""
        if "range_test" in (one.plan.kind, other.plan.kind):
            return _same_ramps(one, other) and self.can(other)
        if not alike_but_seed(one, other) or not self.can(other):
            return False
        plans = [task.plan for task in (one, other)]
        known = [self.support(plan.workload, plan.seed) for plan in plans]
        apart = any(each.draws for each in known) or any(id(plan.workload) in self._by_seed for plan in plans)
        if apart and plans[0].seed != plans[1].seed:
            return False
        return set(known[0].trained) == set(known[1].trained)

    def keep_seeds_apart(self, workload: Subject) -> None:
        """Take note that trainings of a workload under several seeds turned out to be none that can be taken together."""
        self._by_seed.add(id(workload))

    def width(self, task: StudyTask, others: Sequence[StudyTask]) -> int:
        """How many at once: of a study, and of the others that could begin now, in the order in which they would be taken."""
        workload, seed = task.plan.workload, task.plan.seed
        support = self.support(workload, seed)
        seeds = [seed, *(other.plan.seed for other in others)]
        fits = fitting_width(support, workload.torch_device, own_batches=len(set(seeds)) > 1)
        fits = min(fits, self._limit)
        if self._asked != "auto":
            return min(self._asked, fits)
        if task.plan.kind == "range_test":  # how many are stacked is decided there
            return len(seeds)
        most = min(len(seeds), fits, WIDEST)
        width, tried = self._fastest.get(id(workload), (1, 0))
        if most > tried and 2 * width > tried:  # a wider one might be faster yet
            width = 1
            assert isinstance(workload, Workload)
            with suppress(TrialTimeoutError), self.limits.watch():
                width = fastest_width(workload, seeds[:most], support)
            self._fastest[id(workload)] = width, most
        return min(width, fits)

    def narrow(self, width: int) -> None:
        """No more than that many from now on."""
        self._limit = min(width, self._limit)


def alike(one: StudyTask, other: StudyTask) -> bool:
    """Whether two studies train one workload from one seed, but for the optimizer, and judge it on the same data."""
    return one.plan.seed == other.plan.seed and alike_but_seed(one, other)


def alike_but_seed(one: StudyTask, other: StudyTask) -> bool:
    """Whether two studies train one workload, but for the optimizer, and judge it on the same data."""
    first, second = one.plan, other.plan
    return (first.kind == "confirm") == (second.kind == "confirm") and (
        first.workload is second.workload or _but_optimizer(first.workload) == _but_optimizer(second.workload)
    )


def _same_ramps(one: StudyTask, other: StudyTask) -> bool:
    """Whether two studies run the same range test of one workload."""
    first, second = one.plan, other.plan
    return (first.kind, first.range_test, first.workload) == (second.kind, second.range_test, second.workload)


def supported_within(limits: TimeLimits, workload: Subject, seed: int) -> Support:
    """What is known of a workload, which is tried out; it may take as long as a trial."""
    if not isinstance(workload, Workload):
        return Support("a Workload, whose steps are known, but got a training function")
    try:
        with limits.watch():
            return known_support(workload, seed)
    except TrialTimeoutError as error:
        return Support(f"a workload that can be tried out on one batch, but got {error_text(error)}")


def why_apart(failure: Exception) -> str:
    """Why trainings must go on one by one, from the exception that ended them when they were taken together."""
    if isinstance(failure, ChangingPartsError):
        return str(failure)
    return f"trainings that can be taken together to their end, but got {error_text(failure)}"


def _but_optimizer(workload: Subject) -> list[Any]:
    assert isinstance(workload, Workload)
    return [getattr(workload, field.name) for field in fields(workload) if field.name != "optimizer"]
