"""A comparison's time on Ray: connected, the workloads in Ray's store, and the Tune experiment that drains the studies."""

from __future__ import annotations

import io
import math
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import ray
import ray.cloudpickle as cloudpickle
import torch
from ray import tune
from ray.tune import Callback, CheckpointConfig, Stopper

from lr_search.errors import ClusterLostError, WorkloadError, require
from lr_search.executors.display.logger import LOGGER
from lr_search.executors.executor import Executor
from lr_search.executors.progress import Progress
from lr_search.executors.time_limits.limits import time_over_text
from lr_search.executors.trial_run import training_of
from lr_search.executors.work import Work
from lr_search.storage.ownership import Heartbeat
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import TrialSpec
from lr_search.training.training import Training
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload
from lr_search_ray.cluster import resources as cluster
from lr_search_ray.cluster.checkpoints import as_ray_takes_it, delete_checkpoints, require_shared
from lr_search_ray.cluster.connecting import connected
from lr_search_ray.cluster.driver_path import driver_path
from lr_search_ray.cluster.folders import owned_folder
from lr_search_ray.cluster.packing import packed
from lr_search_ray.cluster.versions import require_same_version
from lr_search_ray.cluster.watching import RayDiedError, forget_placement_groups, ray_watched
from lr_search_ray.jobs.job_searcher import JobSearcher
from lr_search_ray.jobs.worker import Held, JobTrainable, trained
from lr_search_ray.tune.bridge import OptunaPruningScheduler

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from lr_search_ray.ray_executor import RayExecutor

RECOUNT_SECONDS = 10.0  # between looks at how many trials the cluster, as it is now, can hold


@contextmanager
def opened(settings: RayExecutor, workloads: Mapping[str, Subject]) -> Iterator[Session]:
    """Ray with the workloads in its store, inside the block; see `RayExecutor.session`."""
    require_fitting(settings.resources_per_trial, workloads)
    data = _packed(workloads, settings.factory)  # before anything is started
    with connected(
        settings.address,
        runtime_env=None if settings.runtime_env is None else dict(settings.runtime_env),
        verbose=settings.verbose,
        dashboard=settings.dashboard,
        telemetry=settings.telemetry,
        timeout_seconds=settings.timeout_seconds,
    ):
        require_same_version()
        cluster.require_possible(settings.resources_per_trial)
        require_shared(settings.storage_path)
        if hint := cluster.hint(settings.resources_per_trial):
            LOGGER.warning(hint)
        yield Session(settings, ray.put(data))


def _packed(workloads: Mapping[str, Subject], factory: str | None) -> bytes:
    """The workloads, pickled by value where that can be, else with a factory's name in place of what it builds."""
    try:
        return packed(workloads)
    except WorkloadError:
        if factory is None:
            raise
        return packed(workloads, factory)


def require_fitting(resources: Mapping[str, float], workloads: Mapping[str, Subject]) -> None:
    """Raises: InvalidInputError: a workload names a GPU that the trials do not ask for, or one by its number."""
    for workload in workloads.values():
        kind, _, index = workload.device.partition(":")
        asked = kind != "cuda" or resources.get("gpu", 0) > 0
        remedy = "Use resources_per_trial={'cpu': 1, 'gpu': 1}, or device='auto'."
        require(
            asked,
            "a workload on a GPU needs trials that ask for one",
            remedy,
            device=workload.device,
            got=dict(resources),
        )
        rule = "device must be 'auto' or 'cuda', since Ray chooses the GPU of each trial"
        require(kind != "cuda" or index in ("", "0"), rule, device=workload.device)


class Session(Executor):
    """Ray with the workloads in its store.

    Args:
        settings: the executor.
        data: the packed workloads, in Ray's store.
    """

    def __init__(self, settings: RayExecutor, data: ray.ObjectRef[bytes]) -> None:
        self._settings, self._data = settings, data
        self._begun = time.monotonic()
        self._place = driver_path()

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        """Run trials until every study is complete; see `Executor`."""
        settings = self._settings
        budget = settings.time_budget_seconds
        capacity = _Capacity(settings.resources_per_trial, settings.max_concurrent_trials)
        searcher = JobSearcher(
            Work(tasks, parallel_per_study=settings.parallel_per_study),
            progress,
            capacity,
            max_failures=settings.max_failures,
            deadline=None if budget is None else self._begun + budget,
            fused_width=settings.fused_width,
            workers=capacity.workers,
        )
        progress.follow(tasks, **cluster.taken_up(settings.resources_per_trial))
        left = 0
        try:
            with _interrupts_stop(searcher), Heartbeat(searcher.beat), ray_watched(partial(_lost, searcher)):
                try:
                    self._fit(searcher)
                except RayDiedError:
                    forget_placement_groups()
        finally:
            left = searcher.release()
        if searcher.stopped is not None:
            raise searcher.stopped
        if searcher.out_of_time:
            LOGGER.warning(time_over_text(budget, left))

    def train(self, workload: Workload, spec: TrialSpec) -> Training:
        """The only workload, trained on a worker to the end."""
        resources = dict(self._settings.resources_per_trial)
        remote = ray.remote(trained).options(
            num_cpus=resources.pop("cpu"),
            num_gpus=resources.pop("gpu", 0),
            resources=resources,
            max_retries=self._settings.max_failures,
            max_calls=1,
        )
        state = ray.get(remote.remote(Held(self._data), self._place, cloudpickle.dumps(spec)))
        training = training_of(workload, spec)
        training.load_state_dict(torch.load(io.BytesIO(state), map_location="cpu", weights_only=True))
        next(training, None)  # it knows then that it has ended
        return training

    def _fit(self, searcher: JobSearcher) -> None:
        settings, starts = self._settings, _Starts(searcher)
        name = f"lr_search-{uuid.uuid4().hex[:8]}"
        with ExitStack() as stack:
            path = settings.storage_path or str(stack.enter_context(owned_folder()))
            stack.callback(delete_checkpoints, path, name)  # the trials that are left go on from the database
            tune.run(
                tune.with_parameters(
                    JobTrainable,
                    packed=Held(self._data),
                    place=self._place,
                    trial_seconds=settings.trial_seconds,
                    **self._checkpoints(),
                ),
                name=name,
                search_alg=searcher,
                scheduler=OptunaPruningScheduler(searcher),
                stop=_Stop(searcher, starts),
                num_samples=-1,
                resources_per_trial=cluster.placement(settings.resources_per_trial),
                storage_path=as_ray_takes_it(path),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                reuse_actors=settings.reuse_actors,
                callbacks=[starts],
                raise_on_failed_trial=False,
                max_failures=0,  # the searcher takes trials up again
                trial_name_creator=_name,
                trial_dirname_creator=_name,
                verbose=2 if settings.verbose else 0,
            )

    def _checkpoints(self) -> dict[str, Any]:
        """When trials are saved: never, where other machines could not read what one has saved."""
        settings = self._settings
        if settings.storage_path is None and cluster.machines() > 1:
            return {"checkpoint_every": None, "checkpoint_seconds": math.inf}
        return {"checkpoint_every": settings.checkpoint_every, "checkpoint_seconds": settings.checkpoint_seconds}


def _lost(searcher: JobSearcher, process: str) -> None:
    searcher.stop(
        ClusterLostError(
            f"Ray must run on until the comparison is complete, but {process} has died: killed, it may be, for want of memory. "
            "What is finished is kept. Run the same command again to go on."
        )
    )


def _name(trial: Trial) -> str:
    return str(trial.trial_id)


class _Capacity:
    """How many trials Tune may hold: those that run, and as many that wait for their worker, so that none is idle."""

    def __init__(self, resources: Mapping[str, float], most: int | None) -> None:
        self._resources, self._most = resources, most
        self._slots, self._good_until = 1, -math.inf

    def __call__(self) -> int:
        return 2 * self.workers() if self._most is None else self._most

    def workers(self) -> int:
        """How many trials can run."""
        now = time.monotonic()
        if now > self._good_until:  # the cluster may have grown
            self._slots, self._good_until = max(1, cluster.slots(self._resources)), now + RECOUNT_SECONDS
        return self._slots if self._most is None else min(self._most, self._slots)


class _Stop(Stopper):
    """Ends the experiment when the searcher is over."""

    def __init__(self, searcher: JobSearcher, starts: _Starts) -> None:
        self._searcher, self._starts = searcher, starts

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        over = self._searcher.over()
        if isinstance(self._searcher.stopped, ClusterLostError):
            raise RayDiedError
        if over:
            self._starts.kill()
        return over


class _Starts(Callback):
    """Tells the searcher which trials really run."""

    def __init__(self, searcher: JobSearcher) -> None:
        self._searcher = searcher
        self._trials: list[Trial] = []

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._trials = trials
        self._searcher.started(trial.trial_id)

    def kill(self) -> None:
        """End the workers that train: Tune would wait 15 s for the step that each is in."""
        for actor in [trial.temporary_state.ray_actor for trial in self._trials]:
            if actor is not None:
                ray.kill(actor)


@contextmanager
def _interrupts_stop(searcher: JobSearcher) -> Iterator[None]:
    """The first Ctrl-C, or SIGTERM, ends the experiment in good order; a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        interrupt = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        if searcher.stopped is not None:
            raise interrupt
        searcher.stop(interrupt)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
