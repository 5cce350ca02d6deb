"""Many trials at once on one device, in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lr_search.errors import require
from lr_search.executors.executor import FailureWatch, require_parallel
from lr_search.executors.first_pace import FirstPace, pace_alone, pace_together
from lr_search.executors.fusing import Fusing
from lr_search.executors.progress import Progress
from lr_search.executors.time_limits.limited_executor import LimitedExecutor
from lr_search.executors.time_limits.limits import TimeLimits, require_time_limits
from lr_search.executors.wave import Wave
from lr_search.executors.work import POLL_SECONDS, Work
from lr_search.fused.width import SOME
from lr_search.kinds.checked import checked
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload


@checked
@dataclass(frozen=True)
class FusedExecutor(LimitedExecutor):
    """Up to `width` trials at once: their weights stacked, one forward and backward pass a step for all of them.

    Trials of several studies, schedules, optimizers and seeds are trained together, those of a seed on the same batches and under
    the same random numbers, each at its own LR; each is evaluated, reported and pruned by itself. Seeds whose models draw random
    numbers (dropout), or whose batches or untrained weights cannot be stacked, are trained one after the other. The answers are
    those of `LocalExecutor`, to rounding. The same command in other terminals shares the work.

    The range tests of all seeds are one fused ramp, where the forward pass draws no random numbers; see `Workload.range_test`.

    Trials run one by one where they cannot be fused: probes, schedules that need the training itself (refind); and, with a
    warning that says why, a model, loss or optimizer that cannot (tried out on one batch first). BatchNorm, dropout, attention
    and convolutions can; RNN kernels, and control flow that depends on data, cannot.

    Args:
        width: the most trials at once, >= 1; "auto": the fastest, measured on a few steps, or 1 where fusing does not pay (on a busy
            machine another the next time: give a number for the same last bits). No more
            than memory holds: halved when it runs out, and the trials that were at it begin again.
        parallel_per_study: how many trials of a study may run side by side whose points depend on results, >= 1. More than 1 is
            faster, and what such a study finds then depends on which trial ends first.
        time_budget_seconds: stop after that; what has not ended is put back, and the same call goes on with it. None: no limit.
        trial_seconds: a trial, a range test too, that has trained and evaluated longer than that is failed; None: no limit. Trials
            at once that have taken longer are each run again by themselves, and failed where they take longer then. See
            `LocalExecutor` for what both limits can end.

    Raises:
        InvalidInputError: an argument breaks a rule.

    >>> FusedExecutor(width=16)
    FusedExecutor(width=16, parallel_per_study=1, time_budget_seconds=None, trial_seconds=None)

    Reference:
        Wang et al., "Horizontally Fused Training Array: An Effective Hardware Utilization Squeezer for Training Novel Deep
        Learning Models", 2021, arXiv:2102.02344.
    """

    width: int | Literal["auto"] = "auto"
    parallel_per_study: int = 1
    time_budget_seconds: float | None = None
    trial_seconds: float | None = None

    def __post_init__(self) -> None:
        good = self.width == "auto" or self.width >= 1
        require(good, "width must be a whole number, at least 1, or 'auto'", width=self.width)
        require_parallel(self.parallel_per_study)
        require_time_limits(time_budget_seconds=self.time_budget_seconds, trial_seconds=self.trial_seconds)

    def first_pace(self, workload: Subject, seeds: Sequence[int], trials: int) -> FirstPace | None:
        """See `Executor`. Where the width is still to be found it may turn out to be faster."""
        alone = pace_alone(workload)
        width = min(trials, SOME if self.width == "auto" else self.width)
        if alone is None or width < 2 or not isinstance(workload, Workload):
            return alone
        each = math.ceil(trials / len(seeds))  # of each seed, which are taken together
        together = pace_together(workload, [seed for seed in seeds for _ in range(each)][:width])
        faster = together is not None and (self.width != "auto" or together.seconds_a_step < alone.seconds_a_step)
        return together if faster else alone

    def _drain(self, work: Work, progress: Progress, limits: TimeLimits, put_back: list[str]) -> None:
        fusing, watch = Fusing(self.width, limits), FailureWatch()
        while not work.over() and not limits.over():
            wave = Wave(work, fusing, progress, watch)
            try:
                wave.take()
                if wave.jobs:
                    wave.train()
                elif not work.over():
                    time.sleep(POLL_SECONDS)
            except BaseException:
                put_back += wave.release()
                raise
