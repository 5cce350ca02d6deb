"""Runs the trials of a comparison on Ray Tune."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lr_search.errors import require
from lr_search.executors.executor import Executor, require_parallel
from lr_search.executors.progress import Progress
from lr_search.executors.time_limits.limits import TimeLimits, require_time_limits
from lr_search.kinds.checked import checked
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import TrialSpec
from lr_search.training.training import Training
from lr_search.workloads.subject import Subject
from lr_search.workloads.workload import Workload
from lr_search_ray.cluster.resources import checked_resources
from lr_search_ray.jobs.session import Session, opened


@checked
@dataclass(frozen=True)
class RayExecutor(Executor):
    """All studies of a comparison as one Ray Tune experiment: the studies' samplers propose, their pruners decide.

    Range tests are trials too. Studies whose sampler waits for results run one trial at a time, and others fill the gaps.
    The driver alone reads and writes the storage; workers need no database. A worker that is lost costs what it has done since its
    last checkpoint; a driver that is killed goes on where the storage says.

    Args:
        address: of the cluster: "auto" or "host:port". None: what the environment variable RAY_ADDRESS names (`ray job submit`
            sets it), else a Ray of its own on this machine. A Ray that is running in this process already is used in any case.
        resources_per_trial: {"cpu": 1, "gpu": 0.5, ...}; several trials share a GPU where it is below 1. A trial trains on as many
            threads as it has CPUs.
        max_concurrent_trials: the most trials at once (of trials that are trained together, the first counts), or None: as many
            as fit.
        fused_width: how many trials a worker trains together, as `FusedExecutor` does, >= 1. They share its resources and have no
            checkpoints: lost ones begin again.
        max_failures: how often a trial goes on elsewhere from its last checkpoint after its worker was lost or its code raised,
            >= 0; then it is recorded as failed. An exception that comes again in the same words is not tried further.
        reuse_actors: whether workers go from trial to trial; a new one needs seconds to start.
        storage_path: where checkpoints lie: a folder that all machines see, or a URI such as s3://bucket/folder. None: a temporary
            one on this machine; on a cluster of several there are no checkpoints then, and a lost trial starts again.
        runtime_env: Ray's, such as {"working_dir": "."}: what is sent to the machines.
        checkpoint_every: steps between checkpoints, >= 1. None: at evaluations (for cyclic schedules: at cycles' ends), where the last is
            `checkpoint_seconds` ago.
        checkpoint_seconds: between checkpoints at evaluations, at least; where `checkpoint_every` is None.
        parallel_per_study: how many trials of a study may run side by side whose points depend on results, >= 1. More is faster, and
            what such a study finds then depends on which trial ends first.
        time_budget_seconds: stop after that; what has not ended is put back, and the same call goes on with it. None: no limit.
        trial_seconds: a trial, a range test too, that has trained and evaluated longer than that is failed, on its worker, and not tried
            again; None: no limit. Trials together that have taken longer are each run again by themselves. It ends the user's code
            wherever that hangs in Python, a sleep, a lock or a loader's worker; not in a computation in C that never comes back, which
            the time budget ends.
        factory: "pkg.mod:function", which makes the workload: workers call it themselves where it cannot be pickled.
        dashboard: whether a Ray that is started here has its dashboard, on localhost.
        telemetry: whether it sends usage statistics to Ray's makers.
        verbose: whether Ray's own output is shown, workers' prints among it.
        timeout_seconds: how long to wait for the cluster to answer.

    Raises:
        InvalidInputError: an argument breaks a rule.

    >>> executor = RayExecutor(resources_per_trial={"gpu": 0.5}, max_failures=1)
    >>> executor.resources_per_trial
    {'cpu': 1.0, 'gpu': 0.5}
    """

    OPTIONS: ClassVar = ("cpu", "gpu", "working_dir")  # of the command line, beside the arguments

    address: str | None = None
    resources_per_trial: Mapping[str, float] = field(default_factory=lambda: {"cpu": 1})
    max_concurrent_trials: int | None = None
    fused_width: int = 1
    max_failures: int = 2
    reuse_actors: bool = True
    storage_path: str | None = None
    runtime_env: Mapping[str, Any] | None = None
    checkpoint_every: int | None = None
    checkpoint_seconds: float = 30.0
    parallel_per_study: int = 1
    time_budget_seconds: float | None = None
    trial_seconds: float | None = None
    factory: str | None = None
    dashboard: bool = False
    telemetry: bool = False
    verbose: bool = False
    timeout_seconds: float = 20.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "resources_per_trial", checked_resources(self.resources_per_trial))
        require_parallel(self.parallel_per_study)
        for name, least, optional in (
            ("max_concurrent_trials", 1, True),
            ("fused_width", 1, False),
            ("max_failures", 0, False),
            ("checkpoint_every", 1, True),
        ):
            value = getattr(self, name)
            good = (value is None and optional) or value >= least
            require(good, f"{name} must be a whole number, at least {least}{', or None' * optional}", got=value)
        require(self.checkpoint_seconds >= 0, "checkpoint_seconds must not be negative", got=self.checkpoint_seconds)
        require(self.timeout_seconds > 0, "timeout_seconds must be positive", got=self.timeout_seconds)
        require_time_limits(time_budget_seconds=self.time_budget_seconds, trial_seconds=self.trial_seconds)

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> RayExecutor:
        """From the command line's words: the arguments; cpu and gpu for those resources, working_dir for that of the runtime_env."""
        plain = dict(options)
        resources = {name: plain.pop(name) for name in ("cpu", "gpu") if name in plain}
        if resources:
            plain["resources_per_trial"] = resources
        if "working_dir" in plain:
            plain["runtime_env"] = {"working_dir": plain.pop("working_dir")}
        return cls(**plain)

    def time_limits(self) -> TimeLimits:
        """See `Executor`."""
        return TimeLimits(self.time_budget_seconds, self.trial_seconds)

    @contextmanager
    def session(self, workloads: Mapping[str, Subject]) -> Iterator[Session]:
        """Ray with the workloads in its store; its `run` drains studies.

        Args:
            workloads: by the name of the optimizer they are trained with.

        Raises:
            WorkloadError: one cannot be pickled.
            ClusterError: the cluster does not answer, a node has another version of lr_search, or none can ever give what a trial asks
                for.
        """
        with opened(self, workloads) as session:
            yield session

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        """Run trials until every study is complete; see `Executor`."""
        workloads = {task.plan.optimizer: task.plan.workload for task in tasks}
        with self.session(workloads) as session:
            session.run(tasks, progress)

    def train(self, workload: Workload, spec: TrialSpec) -> Training:
        """A whole training on a worker, brought here at its end."""
        with self.session({"": workload}) as session:
            return session.train(workload, spec)
