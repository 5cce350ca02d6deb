"""What the range tests of eight seeds cost over one: `python benchmarks/range_test_seeds.py`.

Each task's `workload.range_test` runs once, with `seeds=8`, and eight times one by one, by turns in one process and one thread;
CPU time over that of the one, median over the turns. The first call of `seeds=8` tries the workload out, the later ones know it:
the first is a column of its own. Batches: "listed" are the same for every seed, "shuffled" are each seed's own.
Aim: `seeds=8` at most 2.5 times one. What is arithmetic takes eight times as long for eight seeds, stacked or not: the aim
can be met where calls cost more than arithmetic, as in small models; no task may cost more than eight single ones.

Then a comparison, range_test under 3 seeds, by FusedExecutor over the same by LocalExecutor: in all, and its range tests alone.
Aim: at most 1 for the range tests; the first wave is tried out, which a comparison as short as this one does not get back.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import torch
from torch.utils.data import TensorDataset

sys.path.insert(0, str(Path(__file__).parents[1]))

import lr_search as lrs
from benchmarks.overhead_tasks import TASKS, Task, loss
from lr_search.storage.foreign import own_record

SEEDS, AIM = 8, 2.5
COMPARED = {"strategies": ["range_test"], "schedules": ["constant"], "budget": 4, "seeds": 3, "progress": False}


def listed(task: Task) -> lrs.Workload:
    """The task, with the same batches for every seed."""
    batches = task.batches()
    data = partial(list, batches)
    return lrs.Workload(model=task.model, optimizer=task.optimizer, loss=loss, train_data=data, valid_data=data)


def shuffled(task: Task) -> lrs.Workload:
    """The task, with batches of each seed's own."""
    batches = task.batches()
    data = TensorDataset(torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]))
    size = len(batches[0][1])
    return lrs.classification(model=task.model, optimizer=task.optimizer, train=data, valid=data, batch_size=size)


def seconds(call: Callable[[], Any]) -> float:
    """Of CPU time."""
    begun = time.process_time()
    call()
    return time.process_time() - begun


def one_by_one(workload: lrs.Workload) -> None:
    """Single range tests."""
    for seed in range(SEEDS):
        workload.range_test(seed)


def row(workload: lrs.Workload, repeats: int) -> dict[str, float]:
    """What was timed -> over one curve; `ms`: of that."""
    turns: list[dict[str, float]] = []
    workload.range_test(0)
    for _ in range(repeats):
        new = replace(workload)  # nothing is known of it
        one = seconds(lambda: workload.range_test(0))
        first, again = (seconds(partial(new.range_test, seeds=SEEDS)) for _ in range(2))
        alone = seconds(lambda: one_by_one(workload))
        one = (one + seconds(lambda: workload.range_test(0))) / 2
        turns.append({"ms": 1000 * one, "first": first / one, "again": again / one, "one by one": alone / one})
    return {what: statistics.median(turn[what] for turn in turns) for what in turns[0]}


def compared(workload: lrs.Workload, executor: Any) -> dict[str, float]:
    """CPU seconds of a comparison, and wall seconds of its range tests."""
    storage = optuna.storages.InMemoryStorage()
    with contextlib.redirect_stdout(io.StringIO()):
        whole = seconds(lambda: lrs.compare(workload, executor=executor, storage=storage, **COMPARED))
    ramps = [study for study in storage.get_all_studies() if "/range test/" in study.study_name]
    records = [own_record(t, s.study_name) for s in ramps for t in storage.get_all_trials(s._study_id)]
    return {"in all": whole, "range tests": sum(record["seconds"] for record in records)}


def comparison(workload: lrs.Workload, repeats: int) -> dict[str, float]:
    """What was timed -> fused over local."""
    turns: list[dict[str, float]] = []
    for _ in range(repeats):
        fused = compared(replace(workload), lrs.FusedExecutor(width=8))
        local = compared(workload, lrs.LocalExecutor())
        turns.append({what: fused[what] / local[what] for what in fused})
    return {what: statistics.median(turn[what] for turn in turns) for what in turns[0]}


def table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown."""
    heads = list(next(iter(rows.values())))
    lines = ["| task | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    lines += [f"| {name} | " + " | ".join(f"{each[head]:.2f}" for head in heads) + " |" for name, each in rows.items()]
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tasks", default="", help="only those whose names have this in them")
    parser.add_argument("--num-steps", type=int, default=100, help="of a training in the comparison")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="FusedExecutor needs|There is a performance drop|.*padding_idx")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.processor() or platform.machine()}, 1 thread")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, lr_search {lrs.__version__}\n")
    rows: dict[str, dict[str, float]] = {}
    comparisons: dict[str, dict[str, float]] = {}
    for name, task in TASKS.items():
        if given.tasks not in name:
            continue
        for kind in (listed, shuffled):
            rows[f"{name}, {kind.__name__}"] = row(kind(task), given.repeats)
        work = replace(shuffled(task), num_steps=given.num_steps, eval_every=given.num_steps)
        comparisons[name] = comparison(work, given.repeats)
        print(name, rows[f"{name}, shuffled"], comparisons[name], flush=True)
    print(
        f"\nCPU time of range_test(seeds={SEEDS}) over one curve's, which is told in ms (aim: again at most {AIM})\n\n{table(rows)}"
    )
    print(f"\nA comparison's time, fused over local (aim for the range tests: at most 1)\n\n{table(comparisons)}")
    missed = [name for name, each in rows.items() if each["again"] > AIM]
    print(f"\nabove {AIM}: {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
