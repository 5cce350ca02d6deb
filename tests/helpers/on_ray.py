"""The tests' own Ray, and optimizers that note in a folder what is done on its workers; at some step something may happen."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pandas as pd
import ray
import torch

import lr_search as lrs
from lr_search.errors import WorkloadError
from lr_search_ray.cluster.connecting import shut_down
from lr_search_ray.cluster.quiet import quiet
from tests.helpers.workloads import shuffled

TIMES = ["seconds", "started", "ended", "worker"]


RESOURCES: dict[str, Any] = {
    "num_cpus": 4,
    "num_gpus": 2,
    "resources": {"a100": 1},
}  # on paper, whatever the machine has


def start_ray() -> None:
    """Unless there is one already. All tests share it and its workers, but those of connecting and of clusters."""
    if not ray.is_initialized():
        with quiet():
            user_ray()


def user_ray() -> None:
    """One as a user starts it, that other processes of this machine and others can join."""
    settings = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.CRITICAL}
    ray.init(address="local", **settings, **RESOURCES)


def stop_ray() -> None:
    with quiet():
        shut_down()  # with its processes, or their ends are told as ResourceWarnings in another test


def children(of: int | str = "self") -> set[int]:
    """The processes that one has started, by default this one, and that still run."""
    found = Path(f"/proc/{of}/task").glob("*/children")
    return {int(number) for each in found for number in each.read_text().split()}


@contextlib.contextmanager
def another(code: str) -> Iterator[str]:
    """Another process with a Ray of its own, for as long as its input is open. Yields: the line that it prints, the Ray's address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    settings: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
        "text": True,
    }
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **settings) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(60)


def require_same(ours: lrs.Comparison, theirs: lrs.Comparison) -> None:
    """To the last bit, times aside."""
    for name in ("trials", "evaluations", "curves", "confirmations"):
        one, other = (getattr(each, name).drop(columns=TIMES, errors="ignore") for each in (ours, theirs))
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@dataclass(frozen=True)
class Place:
    """Batches that note where they are asked for, and wait there until so many processes did.

    A worker that waits so gives the next one the seconds that it needs to start; Tune ends one that has not started when another is
    free, so without it short trials are all run by the first.

    Args:
        folder: where.
        driver: the process that notes nothing and does not wait.
        processes: how many.
    """

    folder: Path
    driver: int
    processes: int = 1

    def __call__(self) -> Any:
        if os.getpid() != self.driver:
            place = {
                "cuda": os.environ.get("CUDA_VISIBLE_DEVICES"),
                "gpus": [str(each) for each in ray.get_gpu_ids()],
                "threads": torch.get_num_threads(),
            }
            Path(self.folder, f"{os.getpid()}.json").write_text(json.dumps(place))
            self.wait(monotonic() + 60)
        return shuffled()

    def wait(self, until: float) -> None:
        while len(list(self.folder.glob("*.json"))) < self.processes:
            assert monotonic() < until, "too few workers"
            sleep(0.05)

    def noted(self) -> list[dict[str, Any]]:
        """By each process, the last time."""
        return [json.loads(path.read_text()) for path in self.folder.glob("*.json")]


def _killed(time: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _away(time: int) -> None:
    raise ConnectionError("the file server was away")


def _memory(time: int) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def _another(time: int) -> None:
    raise ConnectionError(f"the file server was away: {time}")


def _bug(time: int) -> None:
    raise ValueError("a bug of mine")


def _workload(time: int) -> None:
    raise WorkloadError("The loss must be one that can be computed, but got none.")


MISHAPS: dict[str, Callable[[int], None]] = {
    "killed": _killed,
    "away": _away,
    "out of memory": _memory,
    "another": _another,
    "bug": _bug,
    "workload": _workload,
}
ALWAYS = 1000


@dataclass(frozen=True)
class Noted:
    """Makes SGD whose steps are noted, by the process that takes them and their LR.

    Args:
        folder: where.
        mishap: what happens, one of MISHAPS; or nothing.
        at: before the step after that many, counted by the optimizer: range tests do not count, nor what was lost.
        times: how often, in all trainings together, of whatever process.
        lr: only in trainings with that LR there; None: in any.
        here: whether also in the process that made this, which takes some steps to measure the pace.
    """

    folder: Path
    mishap: str = ""
    at: int = 0
    times: int = 1
    lr: float | None = None
    here: bool = False
    maker: int = field(default_factory=os.getpid)

    def __call__(self, params: Any, lr: float) -> torch.optim.SGD:
        optimizer = torch.optim.SGD(params, lr=lr)
        optimizer.param_groups[0]["taken"] = 0  # part of its state
        optimizer.register_step_pre_hook(self._before_step)
        return optimizer

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        group = optimizer.param_groups[0]
        self.folder.mkdir(exist_ok=True)
        with Path(self.folder, f"{os.getpid()}.steps").open("a") as file:
            file.write(f"{group['lr']!r}\n")
        group["taken"] += 1
        meant = self.lr is None or abs(group["lr"] / self.lr - 1) < 1e-9
        meant = meant and (self.here or os.getpid() != self.maker)
        if self.mishap and meant and group["taken"] == self.at + 1:
            self._happen()

    def _happen(self) -> None:
        for time in range(self.times):
            try:
                Path(self.folder, f"mishap {time}").touch(exist_ok=False)
            except FileExistsError:
                continue
            MISHAPS[self.mishap](time)
            return

    @property
    def mishaps(self) -> int:
        """How often it happened."""
        return len(list(self.folder.glob("mishap *")))

    def workers(self) -> dict[int, list[float]]:
        """By process number: the LR of each step that it took or began. Without this process, which may try some."""
        found = {int(path.stem): path.read_text().split() for path in self.folder.glob("*.steps")}
        return {pid: [float(lr) for lr in lrs] for pid, lrs in found.items() if pid != os.getpid()}

    def steps(self) -> list[float]:
        """Those of all workers."""
        return [lr for lrs in self.workers().values() for lr in lrs]
