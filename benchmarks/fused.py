"""What fusing gains: `OMP_NUM_THREADS=1 python benchmarks/fused.py [--quick] [--device cpu cuda] [--json FILE]`.

Small models, each with SGD (momentum 0.9) and Adam, on the CPU in one thread and on a GPU where there is one:

    rates         model-steps a second of 1, 2, 4, ... models trained together, over those of one model after another, as
                  LocalExecutor trains them; all take turns, medians over the rounds of the ratios within a round
    agreement     the largest relative difference between 16 models trained together and each by itself, within 50 steps at LRs
                  that suit: of the losses, and at the end of all weights of a model as one vector
    memory        what a model takes by the estimate that bounds the width, and what 16 of them add to the peak, in a process of
                  their own
    comparisons   the time of a whole comparison, a grid of 32 LRs from 1e-5 to 10, by each executor, by turns

Time is CPU time on the CPU (the wall's, where nothing else runs), the wall's on a GPU.

Aims: on a CPU 4 times as fast with Adam and 3 times with SGD for the MLP at width 16, 1.5 times for the transformer of width 32 at its
best width up to 16; width="auto" never below 0.95 times; on a GPU 15 times for the MLP and for a small CNN at the best width.
Devices that are not run keep what the file has of them. Run it alone: it takes some ten minutes a device.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fused_runs import clock_of, measured, rotated
from fused_tables import AUTO, LOCAL, comparison_cells, rate_cells, text
from fused_tasks import OPTIMIZERS, TASKS

import lr_search as lrs
from lr_search.executors.executor import Executor

CPU_INFO = Path("/proc/cpuinfo")
EXECUTORS: dict[str, Executor] = {
    LOCAL: lrs.LocalExecutor(),
    "width=16": lrs.FusedExecutor(width=16),
    "width=32": lrs.FusedExecutor(width=32),
    AUTO: lrs.FusedExecutor(),
}
MLP, CNN, LARGE = "MLP 64-32-32-10", "CNN 8-16, BatchNorm", "transformer 64"
say = partial(print, flush=True)


@dataclass(frozen=True)
class Asked:
    """One of the whole comparisons: a model, its optimizer, the steps of a trial, and how often each executor runs it."""

    task: str
    optimizer: str
    steps: int
    rounds: int


@dataclass(frozen=True)
class Plan:
    """How much is run.

    Args:
        tasks: models, by name.
        widths: how many models at once.
        rounds: how often each is timed.
        seconds: of training that are timed at a time.
        comparisons: whole ones.
        trials: in each of these.
    """

    tasks: Sequence[str]
    widths: Sequence[int]
    rounds: int
    seconds: float
    comparisons: Sequence[Asked]
    trials: int


COMPARISONS = [
    *(Asked(MLP, optimizer, 300, 3) for optimizer in OPTIMIZERS), Asked(CNN, "SGD", 300, 2), Asked(LARGE, "SGD", 60, 3),
]  # fmt: skip
FULL = Plan(list(TASKS), [1, 2, 4, 8, 16, 32, 64], 5, 0.06, COMPARISONS, 32)
QUICK = Plan([MLP, CNN], [1, 2, 4, 8, 16], 3, 0.02, [Asked(MLP, "Adam", 60, 1)], 16)


def compared(asked: Asked, device: str, trials: int) -> dict[str, Any]:
    """Seconds that a comparison takes, by each executor; another first each time."""
    workload = TASKS[asked.task].workload(asked.optimizer, asked.steps, device)
    clock = clock_of(workload.torch_device)
    seconds: dict[str, list[float]] = {name: [] for name in EXECUTORS}
    for number in range(asked.rounds):
        order = list(EXECUTORS)[:: -1 if number % 2 else 1]
        for name in rotated(order, number // 2):
            begun = clock()
            with contextlib.redirect_stdout(io.StringIO()):
                found = lrs.compare(
                    workload, strategies=["grid"], schedules=["constant"], budget=trials, seeds=1,
                    executor=EXECUTORS[name], storage=None, progress=False,
                )  # fmt: skip
            seconds[name].append(clock() - begun)
            assert len(found.trials) == trials
    return {
        "task": asked.task,
        "optimizer": asked.optimizer,
        "steps": asked.steps,
        "trials": trials,
        "seconds": seconds,
    }


def processor() -> str:
    """This machine's, as the system calls it."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine(device: str) -> dict[str, str]:
    """What it ran on."""
    gpu = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    return {**gpu, "processor": processor(), "torch": torch.__version__}


def ran(device: str, plan: Plan) -> dict[str, Any]:
    """Everything on one device."""
    say(f"\n{device}: {machine(device)}")
    rows, comparisons = [], []
    for task in plan.tasks:
        for optimizer in OPTIMIZERS:
            rows.append(measured(task, optimizer, device, plan.widths, plan.rounds, plan.seconds))
            say("   ".join(rate_cells(rows[-1])))
    for asked in plan.comparisons:
        comparisons.append(compared(asked, device, plan.trials))
        say("   ".join(comparison_cells(comparisons[-1])))
    return {"machine": machine(device), "rows": rows, "comparisons": comparisons}


def main() -> None:
    """Run, print the tables and write them as JSON."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", nargs="*", choices=["cpu", "cuda"], default=devices, help="none: only print")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--json", type=Path, default=None, help="what is written, and what is kept of other devices")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(given.json.read_text()) if given.json is not None and given.json.exists() else {}
    for device in given.device:
        found[device] = ran(device, QUICK if given.quick else FULL)
        if given.json is not None:
            given.json.write_text(json.dumps(found, indent=1) + "\n")
    say("\n" + text(found))


if __name__ == "__main__":
    main()
