"""A workload is tried out before anything of a comparison is stored: its first batches, one evaluation and one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import nn

from lr_search.errors import LRSearchError, WorkloadError, error_text, user_code
from lr_search.executors.time_limits.limits import NO_LIMITS, TimeLimits
from lr_search.schedules.decay import Constant
from lr_search.state.sharding import shared_between_processes
from lr_search.storage.fingerprints.fingerprint import Starts, fingerprints, further_fingerprints
from lr_search.studies.plan import StudyPlan
from lr_search.training.training import train
from lr_search.workloads.batches import BatchSource, first_batches, open_data
from lr_search.workloads.passes import ModelBatches, one_pass
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import PROBE_LR, Workload

_SHARED = (
    "compare must have each model to itself, since every process that calls it takes trials of its own, but {kind} is trained by "
    "{count} processes together. Call lrs.range_test there, in all of them, or compare a model that one process trains."
)


def tried_starts(
    workloads: Mapping[str, Subject],
    seeds: Sequence[int],
    *,
    own: bool,
    on_test_data: bool = False,
    limits: TimeLimits = NO_LIMITS,
) -> Starts:
    """What the trainings of these seeds start from, by optimizer and seed, once each optimizer's workload was tried out.

    Args:
        workloads: by the names of their optimizers.
        seeds: the first is that of the try-out.
        own: whether the optimizer is the workload's own.
        on_test_data: whether some trainings will be judged on the test data.
        limits: how long a trial may take, and everything.

    Raises:
        WorkloadError: a workload cannot be trained or evaluated, chained to what the user's code raised; or a factory of it gives
            something else each time it is called.
    """
    for optimizer, workload in workloads.items():
        with _tried(f" with the optimizer {optimizer!r}" if len(workloads) > 1 else ""), limits.watch_first():
            if not isinstance(workload, Workload):
                continue  # a training function's first look tries it out
            _try(workload, seeds[0])
            if on_test_data and workload.test_data is not None:
                _try(replace(workload, valid_data=workload.test_data), seeds[0])
    with _tried(), limits.watch_first(len(workloads) * len(seeds)):
        return fingerprints(workloads, seeds, own=own)


def further_starts(starts: Starts, plans: Sequence[StudyPlan], limits: TimeLimits = NO_LIMITS) -> Starts:
    """What the trainings of these plans start from, by optimizer and seed; `starts`: the first; `limits`: as before."""
    with _tried(), limits.watch_first(len(plans)):
        return further_fingerprints(starts, {(plan.optimizer, plan.seed): plan.workload for plan in plans})


@contextmanager
def _tried(among: str = "") -> Iterator[None]:
    """An exception of the user's code inside shows that the workload cannot be trained; `among`: which of several."""
    try:
        with user_code:
            yield
    except LRSearchError:
        raise
    except Exception as error:
        raise WorkloadError(
            f"A workload must get through its first step and evaluation, but{among} it raised {error_text(error)}. "
            "Mend that, then call compare again; no trial was run with it."
        ) from error


def _try(workload: Workload, seed: int) -> None:
    """Evaluate the untrained weights on the first batch, then take a step."""
    source = workload.valid_data
    first: Any = partial(_first_batch, source)
    if isinstance(source, ModelBatches):
        first = ModelBatches(partial(_first_made, source.make))
    short = replace(workload, num_steps=1, eval_every=1, valid_data=first)
    with closing(train(short, Constant(PROBE_LR), seed=seed)) as training:
        if shared_between_processes(training.model) and (count := torch.distributed.get_world_size()) > 1:
            raise WorkloadError(_SHARED.format(kind=type(training.model).__name__, count=count))
        next(training)
        training.advance(1)


def _first_batch(source: BatchSource) -> list[Any]:
    return first_batches(open_data(source, "valid_data"), "valid_data", 1)


def _first_made(make: Callable[[nn.Module], Iterable[Any]], model: nn.Module) -> list[Any]:
    return list(islice(one_pass(make(model), "valid_data"), 1))
