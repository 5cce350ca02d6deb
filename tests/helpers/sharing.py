"""Work that several processes do at once, for the tests of a shared storage."""

import contextlib
import multiprocessing
import os
import time
import traceback
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from optuna.trial import FrozenTrial

import lr_search as lrs
from lr_search.comparison.budget import Budget
from lr_search.comparison.plans import study_plans
from lr_search.comparison.question import question
from lr_search.errors import StorageError
from lr_search.executors import local
from lr_search.executors.progress import Progress
from lr_search.storage.open import StorageLike, open_storage, quiet_optuna
from lr_search.storage.working.working_storage import kept
from lr_search.studies.job import Job
from lr_search.studies.opening import open_studies
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation
from tests.helpers.workloads import line, squared_error

# children of a server that has imported everything: quick to start, and each with connections of its own
PROCESSES = multiprocessing.get_context("forkserver")
# one server for all tests of a process: what any of them needs is imported once
COMMANDS = [
    "lr_search.cli.commands",
    "lr_search.report.files",
    "matplotlib.pyplot",
    "lr_search.executors.fused_executor",
]
DATABASES = ["alembic.command", "optuna.storages._rdb.models", "psycopg", "sqlalchemy.dialects.sqlite"]
LATE = ["torch._dynamo", "ray.tune", "lr_search_ray"]  # by the first optimizer, and by the first driver
PROCESSES.set_forkserver_preload(["lr_search.comparison.compare", "optuna", "pandas", *COMMANDS, *DATABASES, *LATE])
NAME = "shared"


class Worker:
    """One process that runs `work(*arguments)`."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        self._ours, theirs = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=_run, args=(theirs, work, arguments))
        self.process.start()
        theirs.close()

    def result(self) -> Any:
        """What the work returned; an error there is one here."""
        assert self._ours.poll(180), "a worker hangs"
        error, value = self._ours.recv()
        self.process.join()
        assert error is None, error
        return value

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.join()


def _run(pipe: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), quiet_optuna():
            pipe.send((None, work(*arguments)))
    except BaseException:
        pipe.send((traceback.format_exc(), None))


def together(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(barrier, *arguments)` returns in each of several processes."""
    with begun(count, work, PROCESSES.Barrier(count), *arguments) as workers:
        return [worker.result() for worker in workers]


@contextlib.contextmanager
def begun(count: int, work: Callable[..., Any], *arguments: Any) -> Iterator[list[Worker]]:
    """So many processes that run `work(*arguments)`; none outlives the `with` block."""
    workers = [Worker(work, *arguments) for _ in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()


def slow_error(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    time.sleep(0.002)
    return squared_error(model, batch)


def settings(**changes: Any) -> dict[str, Any]:
    """Of a comparison of 14 studies and two range tests a seed."""
    return {
        "strategies": ["grid", "random", "range_test"],
        "schedules": ["constant", "sgdr"],
        "range_test": {"num_steps": 20, "curves": 2},
        "lr_range": (1e-3, 0.5),
        "seeds": 2,
        "budget": 4,
        "name": NAME,
        **changes,
    }


def compare(_barrier: Any, url: str, log: Path, changes: dict[str, Any]) -> None:
    """Take part in a comparison, and write down each trial that this process starts."""
    original = local.run_job

    def noted(job: Job, progress: Any, limits: Any) -> Outcome:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\t{job.task.plan.name}\t{job._trial.number}\n")
        return original(job, progress, limits)

    local.run_job = noted
    lrs.compare(line(loss=slow_error), storage=url, progress=False, **settings(**changes))


def lose(_barrier: Any, path: Path) -> str:
    """Take part in a comparison whose storage somebody deletes when he is at work on it. Returns: the error, in words."""
    computed = iter(range(10**9))

    def loss(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        if next(computed) == 200:
            path.unlink(missing_ok=True)
        return slow_error(model, batch)

    try:
        lrs.compare(line(loss=loss), storage=f"sqlite:///{path}", progress=False, **settings(seeds=1))
    except StorageError as error:
        return str(error)
    return ""


def started(log: Path) -> list[tuple[str, str, int]]:
    """Process, study and number of each trial that was started, in that order."""
    lines = [line.split("\t") for line in log.read_text().splitlines()] if log.exists() else []
    return [(process, study, int(number)) for process, study, number in lines]


def tasks(url: StorageLike, **changes: Any) -> list[StudyTask]:
    """The studies of a comparison whose workload is not looked at."""
    others = {"optimizers": None, "pruner": None, "snapshots": 0, "search_shape": False}
    plans = study_plans(Budget(question(line(), **{**others, **settings(**changes)})))
    prints: dict[tuple[str, int], dict[str, Any]] = {(plan.optimizer, plan.seed): {} for plan in plans}
    return open_studies(open_storage(url), NAME, plans, prints)


def open_and_list(barrier: Any, urls: list[str]) -> list[int]:
    """Open new databases, each at the same moment as all others do."""
    found = []
    for url in urls:
        barrier.wait()
        found.append(len(open_storage(url).get_all_studies()))
    return found


def make_studies(barrier: Any, url: str, changes: dict[str, Any]) -> list[str]:
    """Of a new comparison."""
    barrier.wait()
    return [task.study.study_name for task in tasks(url, **changes)]


def make_attributes(barrier: Any, url: str, count: int, changes: dict[str, Any]) -> list[int]:
    """Each wants to keep its own process number."""
    task = tasks(url, **changes)[0]
    found = []
    for number in range(count):
        barrier.wait()
        found.append(kept(task.study, f"key {number}", os.getpid))
    return found


def ask_for_all(barrier: Any, url: str, changes: dict[str, Any]) -> list[tuple[str, int]]:
    """Ask every study for trials until it gives none; begin with each study at the same moment. Nothing is told."""
    taken = []
    for task in tasks(url, **changes):
        barrier.wait()
        while (job := task.ask()) is not None:
            taken.append((task.plan.name, job._trial.number))
    barrier.wait()  # whoever ends takes its trials along
    return taken


def abandon(_barrier: Any, url: str, count: int, changes: dict[str, Any]) -> None:
    """Take that many trials of each search, and die."""
    for task in tasks(url, **changes):
        for _ in range(count if task.plan.kind == "search" else 0):
            task.ask()


def finish_at_once(barrier: Any, url: str, changes: dict[str, Any]) -> list[tuple[str, int]]:
    """Take part in a comparison whose trials take no time: 2 of 3 are cut after 10 of 30 steps. Returns: what it ran."""
    ran = []

    def noted(job: Job, progress: Any, limits: Any) -> Outcome:
        number = job._trial.number
        ran.append((job.task.plan.name, number))
        last = Evaluation(step=30, lr=0.1, train_loss=1.0, metrics={"loss": 1.0 + number}, end_of_cycle=True)
        outcome = Outcome("pruned", steps=10) if number % 3 else Outcome("finished", steps=30, evaluations=[last])
        job.finish(outcome)
        return outcome

    local.run_job = noted
    found = tasks(url, **changes)
    barrier.wait()
    lrs.LocalExecutor().run(found, Progress(0, 0, shown=False))
    return ran


def sweep_and_ask(barrier: Any, url: str, changes: dict[str, Any]) -> list[int]:
    """Sweep, and take what was swept, again and again. Nothing is told."""
    task = tasks(url, **changes)[0]
    read, taken = task.trials, []
    place = barrier.wait()

    def slowly() -> list[FrozenTrial]:
        found = read()
        time.sleep(0.1 * place)  # what is swept then was read before others swept and took it
        return found

    while True:
        with unittest.mock.patch.object(task, "trials", slowly):
            task.sweep()
        job = task.ask()
        if job is None:
            break
        taken.append(job._trial.number)
    barrier.wait()
    return taken


def states(url: str) -> dict[str, list[str]]:
    """The states of the trials of each study."""
    with quiet_optuna():
        storage = open_storage(url)
        found = {s.study_name: storage.get_all_trials(s._study_id) for s in storage.get_all_studies()}
    return {name: [trial.state.name for trial in trials] for name, trials in found.items()}
