"""`lr-search compare` in processes that are quick to start, so that many of them can be killed."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.helpers.chaos.child import WRITTEN, Wiring, run
from tests.helpers.ray_drivers import WORK, pause_of, steps
from tests.helpers.sharing import PROCESSES

NUM_STEPS, BUDGET, NAME = 30, 3, "chaos"
PAUSE = 0.002  # seconds a step
HANGS = 300.0  # seconds after which a command does


def words(url: str, executor: str = "local", **options: object) -> list[str]:
    """The command's: by default four studies and a range test. `options` go by the words' names."""
    settings = {
        "name": NAME,
        "storage": url,
        "executor": executor,
        "strategies": "grid,range_test",
        "schedules": "constant,sgdr",
        "lr_range": "1e-3,0.5",
        "range_test_steps": 20,
        "seeds": 1,
        "budget": BUDGET,
        **options,
    }
    given = [(f"--{name.replace('_', '-')}", str(value)) for name, value in settings.items()]
    return ["compare", "work:workload", *(word for pair in given for word in pair)]


def folder_of_work(folder: Path, pause: float = PAUSE, num_steps: int = NUM_STEPS) -> Path:
    """Put the module to train there."""
    folder.mkdir(parents=True, exist_ok=True)
    length = f"num_steps={num_steps}, eval_every={num_steps // 3}"
    (folder / "work.py").write_text(WORK.replace("num_steps=300, eval_every=150", length))
    pause_of(folder, pause)
    return folder


class Command:
    """The command in `folder`, begun; killed at the latest when the `with` block ends.

    Args:
        folder: with the module to train.
        words: the command's.
        wiring: what is to happen to it.
    """

    def __init__(self, folder: Path, words: list[str], wiring: Wiring | None = None) -> None:
        self.folder = folder
        self._from = self._file.stat().st_size if self._file.exists() else 0
        self.process = PROCESSES.Process(target=run, args=(folder, words, wiring or Wiring()))
        self.process.start()

    @property
    def _file(self) -> Path:
        return self.folder / WRITTEN

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; the negative signal that killed it; None while it runs."""
        return self.process.exitcode

    @property
    def written(self) -> str:
        """What is in the terminal since it began, by whatever command in this folder."""
        return self._file.read_text()[self._from :] if self._file.exists() else ""

    def reaches(self, condition: Callable[[], bool]) -> bool:
        """Wait for it, or for the command's end. Returns: whether the command still runs."""
        deadline = time.monotonic() + HANGS
        while self.code is None and not condition():
            assert time.monotonic() < deadline, f"it hangs: {self.written}"
            time.sleep(0.003)
        return self.code is None

    def takes(self, count: int) -> bool:
        """Wait for so many more training steps of all processes in its folder. Returns: whether it still runs."""
        so_far = total_steps(self.folder)
        return self.reaches(lambda: total_steps(self.folder) >= so_far + count)

    def ends(self) -> int:
        """Wait for that. Returns: the exit code."""
        self.reaches(lambda: False)
        assert self.code is not None
        return self.code

    def strike(self, number: signal.Signals) -> int:
        """Send it a signal that ends it. Returns: the exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.ends()

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()


def total_steps(folder: Path) -> int:
    """Training steps begun in that folder, by whatever process."""
    return sum(steps(folder).values())
