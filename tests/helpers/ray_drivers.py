"""Processes of their own that run a comparison on Ray, for the tests of what happens when they are killed or interrupted."""

import contextlib
import json
import os
import pty
import sqlite3
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

import lr_search as lrs
from tests.helpers.processes import ROOT, python, write

TIMES = ["seconds", "started", "ended", "worker"]
NAME = "driven"
# each step of a worker takes as long as the file `pause` says, and leaves a mark in a file of the worker's own
WORK = """
import os, time
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
import lr_search as lrs

HERE = Path(__file__).parent
x = torch.linspace(-1, 1, 64).reshape(-1, 1)

def loss(model, batch):
    if model.training:
        with open(HERE / f"steps-{os.getpid()}", "a") as file:
            file.write(".")
        time.sleep(float((HERE / "pause").read_text()))
    return ((model(batch[0])[:, 0] - batch[1]) ** 2).mean()

workload = replace(
    lrs.regression(
        model=lambda: nn.Linear(1, 1), optimizer=torch.optim.SGD, train=(x, 3 * x[:, 0]), valid=(x, 3 * x[:, 0]),
        batch_size=16, num_steps=300, eval_every=150, device="cpu",
    ),
    loss=loss, metrics=None,
)
"""
SCRIPT = """
import json, sys, torch
import lr_search as lrs
from lr_search_ray import RayExecutor
from work import workload

torch.set_num_threads(1)
settings, options = json.loads(sys.argv[1]), json.loads(sys.argv[2])
lrs.compare(workload, executor=RayExecutor(**options), storage="sqlite:///trials.db", **settings)
"""
LOCAL = """
import json, sys, torch
import lr_search as lrs
from work import workload

torch.set_num_threads(1)
lrs.compare(workload, storage="sqlite:///trials.db", **json.loads(sys.argv[1]))
"""
SETTINGS = {
    "strategies": ["grid", "range_test"],
    "schedules": ["constant", "sgdr"],
    "lr_range": [1e-3, 0.5],
    "budget": 4,
    "seeds": 1,
    "name": NAME,
}
COMMAND = (
    *("compare", "work:workload", "--name", NAME, "--storage", "sqlite:///trials.db", "--executor", "ray"),
    *("--strategies", "grid,range_test", "--schedules", "constant,sgdr", "--lr-range", "1e-3,0.5"),
    *("--budget", "4", "--seeds", "1"),
    *("--executor-options", "cpu=0.5,max_concurrent_trials=2"),
)
OPTIONS = {"resources_per_trial": {"cpu": 0.5}, "max_concurrent_trials": 2}  # two workers on a single core too
CLI = "from lr_search.cli import main; main()"
# a process on a terminal of its own; a shell that starts the tests in the background has Ctrl-C ignored, and children inherit that
ON_TERMINAL = """
import os, signal, sys
os.login_tty(0)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def folder_of_work(folder: Path, *, pause: float) -> Path:
    """Put the module and the script there."""
    write(folder / "work.py", WORK)
    write(folder / "script.py", SCRIPT)
    pause_of(folder, pause)
    return folder


def run_locally(folder: Path, settings: dict[str, Any]) -> pd.DataFrame:
    """The same comparison by a LocalExecutor, in a process that nothing happens to. Returns: its trials."""
    folder_of_work(folder, pause=0)
    python(folder, write(folder / "local.py", LOCAL), json.dumps(settings))
    return frame(folder)


def script(settings: dict[str, Any], **options: object) -> list[str]:
    """Python's arguments: the user's own script, with the arguments of `compare()` and those of the executor."""
    return ["script.py", json.dumps(settings), json.dumps({**OPTIONS, **options})]


def pause_of(folder: Path, seconds: float) -> None:
    """How long each step takes from now on."""
    new = folder / "pause.new"
    new.write_text(str(seconds))
    new.replace(folder / "pause")


def environment() -> dict[str, str]:
    """Of a process that imports the tests' code, and trains on one thread."""
    others = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**others, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Driver:
    """A process that runs a comparison in `folder`; killed at the latest when the `with` block ends.

    Args:
        folder: with the module to train.
        words: Python's arguments.
        terminal: whether it has a terminal of its own, whose keys `press` presses.
    """

    def __init__(self, folder: Path, *words: str, terminal: bool = False) -> None:
        self._written: list[bytes] = []
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 120))
        start = ("-c", ON_TERMINAL) if terminal else ()
        self.process = subprocess.Popen(
            [sys.executable, *start, *words], cwd=folder, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while chunk := os.read(self._ours, 4096):
                self._written.append(chunk)

    @property
    def written(self) -> str:
        """All that is on the terminal."""
        return b"".join(self._written).decode().replace("\r\n", "\n")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """While it runs."""
        until(lambda: condition() or self.process.poll() is not None)
        assert self.process.poll() is None, self.written

    def press(self, key: bytes) -> None:
        """A key of its terminal."""
        os.write(self._ours, key)

    def ended(self) -> int:
        """Wait for that. Returns: the exit code."""
        code = self.process.wait(180)
        self._reader.join(10)
        return code

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        os.close(self._ours)


def until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def steps(folder: Path) -> dict[int, int]:
    """How many training steps each process has begun."""
    return {int(file.name.partition("-")[2]): file.stat().st_size for file in folder.glob("steps-*")}


def states(folder: Path) -> list[str]:
    """The states of all trials in the storage, none where there is no storage yet."""
    try:
        with closing(sqlite3.connect(f"file:{folder / 'trials.db'}?mode=ro", uri=True)) as database:
            return [state for (state,) in database.execute("select state from trials order by trial_id")]
    except sqlite3.OperationalError:  # the tables are being made
        return []


def frame(folder: Path) -> pd.DataFrame:
    """The comparison's trials."""
    return lrs.load(f"sqlite:///{folder / 'trials.db'}", NAME).trials


def folders_of(pid: int) -> list[Path]:
    """The temporary folders that a driver has made and not deleted."""
    owners = Path(tempfile.gettempdir()).glob("lr_search-*/owner.json")
    return [path.parent for path in owners if json.loads(path.read_text())["pid"] == pid]


def descendants(pid: int) -> dict[int, str]:
    """The processes that a process has started, and those that they have: what each was called."""
    children: dict[int, list[tuple[int, str]]] = {}
    for child, parent, name in _processes():
        children.setdefault(parent, []).append((child, name))
    found, left = dict[int, str](), [pid]
    while left:
        of = children.get(left.pop(), [])
        found.update(of)
        left += [child for child, _ in of]
    return found


def _processes() -> Iterator[tuple[int, int, str]]:
    """Number, parent and command of each."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                yield int(entry.name), int(parent), (entry / "cmdline").read_text().replace("\0", " ")


def same(folder: Path, undisturbed: pd.DataFrame) -> None:
    """Fails unless the comparison's trials are those."""
    pd.testing.assert_frame_equal(frame(folder).drop(columns=TIMES), undisturbed.drop(columns=TIMES), check_exact=True)


def alive(processes: dict[int, str]) -> dict[int, str]:
    """Those that still run."""
    now = {pid for pid, _, name in _processes() if name}  # a zombie has none
    return {pid: name for pid, name in processes.items() if pid in now}
