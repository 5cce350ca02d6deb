"""What a process of the chaos does: `lr-search` as from a shell, with what is to happen to it wired in.

The file `fault` in its folder, which may come at any moment, holds a pragma that every connection to SQLite obeys from then on; the file
`clock` the seconds by which this process's clock differs from the machine's.
"""

import datetime
import io
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAULT, CLOCK, FINISHES, WRITTEN = "fault", "clock", "finishes", "written"


@dataclass(frozen=True)
class Wiring:
    """What is to happen to a process.

    Args:
        dies_at: it is killed just before that statement or commit, counted from 1; 0: it is not.
        faults: whether the file `fault` counts.
        clock: whether the file `clock` counts; its signs of life come many times a second then.
        pictures: whether the report's figures are drawn, which takes most of a small comparison's time.
    """

    dies_at: int = 0
    faults: bool = False
    clock: bool = False
    pictures: bool = False


def run(folder: Path, words: list[str], wiring: Wiring) -> None:
    """The command line in that folder, in this process, which is a fork of one that has imported everything."""
    import torch
    from tqdm import tqdm

    os.chdir(folder)
    written = os.open(WRITTEN, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(written, number)
    sys.stdin = io.StringIO()
    sys.argv = ["lr-search", *words]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests' own shell ignores
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # or who is killed leaves a semaphore behind
    _note_finishes(folder / FINISHES)
    if wiring.dies_at or wiring.faults:
        _watch_statements(folder / FAULT, wiring)
    if wiring.clock:
        _shift_the_clock(folder / CLOCK)
    if not wiring.pictures:
        _draw_dots()
    from lr_search.cli import main

    main()


def _note_finishes(file: Path) -> None:
    """A line for each trial that this process has told the end of."""
    from lr_search.studies.job import Job

    finish = Job.finish

    def noted(job: Job, *arguments: Any) -> None:
        finish(job, *arguments)
        with file.open("a") as lines:
            lines.write(f"{job.name}\n")

    Job.finish = noted  # type: ignore[method-assign]


def _watch_statements(fault: Path, wiring: Wiring) -> None:
    import sqlalchemy

    count, lock = iter(range(1, sys.maxsize)), threading.Lock()

    def before(connection: Any, *_: Any) -> None:
        with lock:
            if next(count) == wiring.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
        if wiring.faults and fault.exists():
            connection.connection.driver_connection.execute(f"PRAGMA {fault.read_text()}")

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", before)
    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", before)


def _shift_the_clock(file: Path) -> None:
    """Time and dates, wherever they were imported to."""
    from lr_search.storage import ownership

    plain, of_machine = datetime.datetime, time.time

    def shift() -> float:
        return float(file.read_text()) if file.exists() else 0.0

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, plain)

    class Shifted(plain, metaclass=Kind):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return plain.now(tz) + datetime.timedelta(seconds=shift())

    time.time = lambda: of_machine() + shift()
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith(("lr_search", "optuna")):
            for name, value in list(vars(module).items()):
                if value is plain:
                    setattr(module, name, Shifted)
    ownership.Heartbeat.__init__.__defaults__ = (0.05,)  # type: ignore[misc]


def _draw_dots() -> None:
    from matplotlib.figure import Figure

    from lr_search.report import page_parts

    dot = io.BytesIO()
    Figure(figsize=(0.1, 0.1)).savefig(dot, format="png")
    page_parts.png = lambda figure: dot.getvalue()
    page_parts.svg = lambda figure: b"<svg xmlns='http://www.w3.org/2000/svg'/>"
