"""What commands take that train nothing, in CPU seconds: `python benchmarks/startup.py [--turns 5] [--demo]`.

Runs each as a process of its own, by turns, and prints the median of its CPU time, its children's included, beside that of
`import torch` and `import optuna`; its modules are compiled before. The report is that of 27 studies: 3 strategies under 3
schedules on 3 seeds, about 200 trials; `--demo` trains the demo too, once.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAME = "startup"
WORKLOAD = '''
"""A small training."""

import torch
from torch import nn

import lr_search as lrs


def workload():
    """Two layers on 200 points."""
    x = torch.randn(250, 8, generator=torch.Generator().manual_seed(0))
    y = (x[:, :3].sum(1) > 0).long()
    return lrs.classification(
        model=lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)),
        optimizer=torch.optim.SGD,
        train=(x[:200], y[:200]),
        valid=(x[200:], y[200:]),
        batch_size=20,
        num_steps=120,
        eval_every=12,
        device="cpu",
    )
'''
PYTHON, COMMAND = (sys.executable, "-c"), (sys.executable, "-m", "lr_search")
STORAGE = ("--storage", "sqlite:///lr_search.db", "--name", NAME)


@dataclass(frozen=True)
class Row:
    """A command. Args: words: what is run; aim: CPU seconds it should stay under; None for one to compare with."""

    words: tuple[str, ...]
    aim: float | None = None

    @property
    def name(self) -> str:
        """As it is typed."""
        typed = {sys.executable: "python", "-m": "", "lr_search": "lr-search"}
        words = [typed.get(word, word) for word in self.words if word not in STORAGE]
        return " ".join(word for word in words if word).replace("python lr-search", "lr-search")


COMPARE = Row((*COMMAND, "compare", "trained:workload", "--seeds", "3", *STORAGE), 3.0)
ROWS = (
    Row((*PYTHON, "pass")),
    Row((*PYTHON, "import torch")),
    Row((*PYTHON, "import torch; torch.optim.SGD([torch.zeros(1)], lr=1.0)")),
    Row((*PYTHON, "import optuna")),
    Row((*PYTHON, "import pandas, matplotlib.figure")),
    Row((*COMMAND, "--help"), 0.5),
    Row((*COMMAND, "list"), 0.5),
    Row((*COMMAND, "report", "sqlite:///lr_search.db", "--format", "csv"), 3.0),
    Row((*COMMAND, "report", "sqlite:///lr_search.db"), 3.0),
    COMPARE,
)
DEMO = Row((*COMMAND, "demo"), 100.0)


def seconds(words: Sequence[str], folder: Path) -> tuple[float, float]:
    """The CPU time of a process and of its children that have ended, and its wall time."""
    with open(folder / "printed.txt", "wb") as printed:
        began = time.perf_counter()
        process = subprocess.Popen(words, cwd=folder, stdout=printed, stderr=printed)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} failed:\n{(folder / 'printed.txt').read_text()}")
    return used.ru_utime + used.ru_stime, wall


def measure(rows: Sequence[Row], turns: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Each row's CPU and wall time, the medians over the turns."""
    taken: dict[str, list[tuple[float, float]]] = {row.name: [] for row in rows}
    for turn in range(-1, turns):  # the first is not counted: it compiles, and reads the files from the disk
        for row in rows:
            found = seconds(row.words, folder)
            if turn >= 0:
                taken[row.name].append(found)
    return {name: (_median(each, 0), _median(each, 1)) for name, each in taken.items()}


def _median(taken: Sequence[tuple[float, float]], place: int) -> float:
    return statistics.median(each[place] for each in taken)


def table(rows: Sequence[Row], taken: dict[str, tuple[float, float]]) -> str:
    """The rows in Markdown."""
    lines = ["| command | CPU s | wall s | aim, CPU s |", "|---|---|---|---|"]
    for row in rows:
        cpu, wall = taken[row.name]
        told = "" if row.aim is None else f"{row.aim:g}: {'reached' if cpu <= row.aim else 'MISSED'}"
        lines.append(f"| `{row.name}` | {cpu:.2f} | {wall:.2f} | {told} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--demo", action="store_true")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "trained.py").write_text(WORKLOAD)
        seconds(COMPARE.words, folder)
        taken = measure(ROWS, asked.turns, folder)
        rows = ROWS
        if asked.demo:
            rows, taken[DEMO.name] = (*ROWS, DEMO), seconds(DEMO.words, folder)
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print(f"medians of {asked.turns} turns\n\n{table(rows, taken)}")


if __name__ == "__main__":
    main()
