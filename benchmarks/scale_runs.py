"""The ways of running the same trainings that `scale.py` compares, and what one run of each took."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from scale_work import EVALUATIONS, Span, between, spans

import lr_search as lrs
from lr_search_ray import RayExecutor, tune_objective
from lr_search_ray.cluster.quiet import quiet

STRATEGIES, SEEDS = ("grid", "random"), 2  # so many studies, whose points depend on no results
Made = Callable[[Path], lrs.Workload]


@dataclass(frozen=True)
class Run:
    """What one run took; times in seconds.

    Args:
        wall: from the call to its return.
        workers: how many trainings may run at once.
        trials: how many trainings.
        training: inside trainings, summed over them.
        window: from the first training's beginning to the last one's end.
        at_it: from a worker's first training's beginning to its last one's end, summed over the workers.
        between: median from a training's end to the next one's beginning on the same worker.
        waiting: mean that a training waits at an evaluation.
    """

    wall: float
    workers: int
    trials: int
    training: float
    window: float
    at_it: float
    between: float
    waiting: float


@contextlib.contextmanager
def started(cpus: int) -> Iterator[None]:
    """A Ray of this program's own, with no word of its output."""
    with quiet():
        ray.init(
            address="local", num_cpus=cpus, include_dashboard=False, logging_level=logging.CRITICAL, log_to_driver=False
        )
        try:
            yield
        finally:
            ray.shutdown()


def compared(made: Made, budget: int, workers: int, *, reuse_actors: bool | None) -> tuple[Run, list[float]]:
    """`compare()` on a SQLite file. Returns: the run, and the trials' LRs.

    Args:
        made: the workload, given the folder where it notes what it does.
        budget: trials in each of the four studies.
        workers: how many trials run at once.
        reuse_actors: RayExecutor's; None: LocalExecutor.
    """
    executor: Any = lrs.LocalExecutor()
    if reuse_actors is not None:
        executor = RayExecutor(reuse_actors=reuse_actors, checkpoint_seconds=math.inf)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        workload = made(_new(folder, "notes"))
        begun = time.perf_counter()
        found = lrs.compare(
            workload, strategies=STRATEGIES, schedules=["constant"], budget=budget, seeds=SEEDS, lr_range=(1e-4, 0.1),
            executor=executor, storage=f"sqlite:///{folder}/scale.db", progress=False,
        )  # fmt: skip
        wall = time.perf_counter() - begun
        trials = found.trials
        return _run(wall, trials["seconds"].tolist(), spans(Path(folder, "notes")), workers), trials["lr"].tolist()


def tuned(made: Made, lrs_tried: Sequence[float], workers: int, *, reuse_actors: bool) -> Run:
    """The same LRs by a Tuner without searcher, scheduler and storage: the least that Ray Tune takes; all with seed 0."""
    with tempfile.TemporaryDirectory() as folder:
        workload = made(_new(folder, "notes"))
        begun = time.perf_counter()
        tuner = tune.Tuner(
            tune.with_resources(tune_objective(workload, checkpoint_seconds=math.inf), {"cpu": 1}),
            param_space={"lr": tune.grid_search(list(lrs_tried))},
            tune_config=tune.TuneConfig(reuse_actors=reuse_actors),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = list(tuner.fit())
        wall = time.perf_counter() - begun
        assert not any(result.error for result in results)
        return _run(wall, [each.metrics["seconds"] for each in results], spans(Path(folder, "notes")), workers)


def _new(folder: str, name: str) -> Path:
    made = Path(folder, name)
    made.mkdir()
    return made


def _run(wall: float, seconds: Sequence[float], worked: Sequence[Sequence[Span]], workers: int) -> Run:
    every = [span for worker in worked for span in worker]
    assert len(every) == len(seconds), f"{len(every)} trainings were noted, {len(seconds)} reported"
    waited = sum(span.end - span.begin for span in every) - sum(seconds)
    return Run(
        wall,
        workers,
        len(every),
        sum(seconds),
        max(span.end for span in every) - min(span.begin for span in every),
        sum(worker[-1].end - worker[0].begin for worker in worked),
        between(worked),
        waited / (len(every) * EVALUATIONS),
    )
