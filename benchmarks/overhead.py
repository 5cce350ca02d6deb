"""What a range test costs over the bare training loop of the same steps: `python benchmarks/overhead.py`.

The bare loop is forward, backward and update, at one LR, and reads no loss. Each tool takes as many steps of the same
training in one thread, by turns; its time is divided by the bare loop's of the same turn, median over the turns. Ours is
told apart: the loop, block by block beside the bare one, with the gain ratio (on a ramp from 1e-7 to 10, until it ends) and
without; copying the training's state and putting it back; the whole call. A peer's loop is what lies between its first and
its last update; its whole call has its setting up and putting back. Aim: our loop takes at most 1.05 times the bare one's
time, median over the tasks.

Peers: `pip install "lr-search[bench]"`; fastai wants torchvision, and does without it after `pip install --no-deps fastai`
and `pip install fastcore fastprogress fasttransform plum-dispatch fastdownload cloudpickle`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.overhead_peers import END_LR, START_LR, Peer, available, quiet
from benchmarks.overhead_tasks import TASKS, Batch, Task, loss
from lr_search import range_test
from lr_search.ramp.run import RampRun
from lr_search.ramp.settings import RampSettings
from lr_search.state.capture import capture
from lr_search.training.step import Stepper
from lr_search.workloads.batches import BatchWalk

AIM = 1.05
BLOCK = 10
CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
DEVICE = torch.device("cpu")
END = object()
# what is measured -> gain_ratio, start_lr, end_lr: the loss alone on the peers' ramp, the gain ratio on the usual one
RAMPS = {"loop": (False, START_LR, END_LR), "gain": (None, 1e-7, 10.0)}

Times = dict[str, tuple[float, float]]  # what was timed -> seconds a step, CPU and wall
Run = Callable[[nn.Module, torch.optim.Optimizer, list[Batch], int], Times]


def now() -> tuple[float, float]:
    """CPU and wall time."""
    return time.process_time(), time.perf_counter()


def since(begun: tuple[float, float], steps: int) -> tuple[float, float]:
    """The time since then, a step."""
    cpu, wall = now()
    return (cpu - begun[0]) / steps, (wall - begun[1]) / steps


def bare(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch], num_steps: int) -> Iterator[None]:
    """The loop that everything is compared with, a block at a time."""
    walk = cycle(batches)
    for _ in range(num_steps // BLOCK):
        for batch in islice(walk, BLOCK):
            optimizer.zero_grad()
            value = loss(model, batch)
            value.backward()
            optimizer.step()
        yield


def ours(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch], num_steps: int, *, measured: str
) -> Iterator[None]:
    """What `range_test` does between copying the training's state and putting it back, a block at a time, until it ends."""
    gain_ratio, start_lr, end_lr = RAMPS[measured]
    stepper = Stepper(model, optimizer, loss, DEVICE)
    walk = BatchWalk(lambda: batches, "batches", DEVICE, rewound=False)
    climb = RampRun(stepper, walk, "exponential", gain_ratio=gain_ratio)
    for lrs in RampSettings(start_lr, end_lr, num_steps).lrs().reshape(-1, BLOCK):
        climb.go(lrs)
        yield
        if climb._record.stopped != "finished":
            break
    assert len(climb.curve().lr) == num_steps or measured == "gain"


def loops(task: Task, batches: list[Batch], num_steps: int) -> Times:
    """The bare loop and ours, in step: block by block, so that what else the machine does slows all alike.

    A ramp that ends early is told by as many blocks of the bare loop.
    """
    contenders = {"bare": bare, "loop": partial(ours, measured="loop"), "gain loop": partial(ours, measured="gain")}
    going = {name: loop(*task.made(), batches, num_steps) for name, loop in contenders.items()}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for turn in range(num_steps // BLOCK + 1):  # the last ends what comes after the loops
        names = list(contenders)
        for name in names[turn % 3 :] + names[: turn % 3]:
            begun = now()
            if next(going[name], END) is not END or turn == num_steps // BLOCK:
                spent[name].append(since(begun, num_steps))
    whole, beside = (np.sum(spent["bare"][:count], axis=0) for count in (None, len(spent["gain loop"])))
    totals = {name: np.sum(each, axis=0) for name, each in spent.items()}
    totals["gain loop"] = totals["gain loop"] * whole / beside
    return {name: (float(cpu), float(wall)) for name, (cpu, wall) in totals.items()}


def copies(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch], num_steps: int) -> Times:
    """Copying the training's state, and putting it back after a step."""
    begun = now()
    before = capture(model, optimizer)
    copying = since(begun, num_steps)
    for _ in bare(model, optimizer, batches, BLOCK):
        pass
    begun = now()
    before.restore()
    return {"capture": copying, "restore": since(begun, num_steps)}


def ours_whole(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch], num_steps: int, *, measured: str
) -> Times:
    """`range_test`."""
    gain_ratio, start_lr, end_lr = RAMPS[measured]
    begun = now()
    curve = range_test(
        model, optimizer, batches, loss, start_lr=start_lr, end_lr=end_lr, num_steps=num_steps, gain_ratio=gain_ratio
    )
    return {"gain whole" if measured == "gain" else "whole": since(begun, curve.num_steps)}


def peer(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch], num_steps: int, *, name: str, call: Peer
) -> Times:
    """A peer's whole call, and the part between its first and its last update."""
    updates: list[tuple[float, float]] = []
    optimizer.register_step_post_hook(lambda *_: updates.append(now()))
    begun = now()
    call(model, optimizer, batches, num_steps)
    whole = since(begun, len(updates))
    assert abs(len(updates) - num_steps) <= 1, f"{name} took {len(updates)} steps"
    first, last = updates[0], updates[-1]
    between = tuple((late - early) / (len(updates) - 1) for early, late in zip(first, last, strict=True))
    return {f"{name} loop": between, f"{name} whole": whole}  # type: ignore[dict-item]


def measured(task: Task, runs: Sequence[Run], num_steps: int, repeats: int) -> dict[str, Any]:
    """All runs, taking turns. Returns: ms a step of the bare loop, and what was timed -> ratio to it, CPU and wall."""
    batches = task.batches()
    turns: list[Times] = []
    for turn in range(repeats + 1):
        found = loops(task, batches, num_steps)
        order = [*runs[turn % len(runs) :], *runs[: turn % len(runs)]]
        for run in order:
            with quiet():
                found |= run(*task.made(), batches, num_steps)
        turns.append(found)
    turns = turns[1:]  # the first warms up
    result: dict[str, Any] = {}
    for place, clock in enumerate(CLOCKS):
        result[clock] = {
            what: statistics.median(turn[what][place] / turn["bare"][place] for turn in turns) for what in turns[0]
        }
        result[clock]["ms"] = 1000 * statistics.median(turn["bare"][place] for turn in turns)
    return result


def columns(peers: Sequence[str]) -> dict[str, str]:
    """What was timed -> its heading."""
    ours_only = {"ms": "bare, ms", "loop": "ours", "gain loop": "with gain ratio"}
    ours_only |= {"capture": "copy", "restore": "put back"}
    wholes = {"whole": "ours, whole call", "gain whole": "with gain ratio, whole call"}
    theirs = {f"{name} loop": name for name in peers} | {f"{name} whole": f"{name}, whole call" for name in peers}
    return ours_only | wholes | theirs


def table(rows: dict[str, dict[str, float]], peers: Sequence[str]) -> str:
    """Markdown: a row a task, and the medians."""
    heads = columns(peers)
    medians = {what: statistics.median(row[what] for row in rows.values()) for what in heads}
    lines = ["| task | " + " | ".join(heads.values()) + " |", "|---|" + "---:|" * len(heads)]
    for name, row in {**rows, "**median**": medians}.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[what]:.2f}" for what in heads) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="of each run, in tens")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--tasks", default="", help="only those whose names have this in them")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--clock", choices=list(CLOCKS), default="cpu", help="of the printed table")
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    peers, versions = ({}, {}) if given.no_peers else available()
    for name, version in versions.items():
        print(f"{name}: {version}")
    runs: list[Run] = [copies, *(partial(ours_whole, measured=each) for each in RAMPS)]
    runs += [partial(peer, name=name, call=call) for name, call in peers.items()]
    found: dict[str, dict[str, Any]] = {}
    for name, task in TASKS.items():
        if given.tasks in name:
            found[name] = measured(task, runs, given.steps, given.repeats)
            row = found[name]["cpu"]
            print(
                f"{name:<36} bare {row['ms']:6.2f} ms   ours {row['loop']:.3f}   gain {row['gain loop']:.3f}",
                flush=True,
            )
    print(f"\n{given.clock} time over that of the bare loop\n")
    print(table({name: each[given.clock] for name, each in found.items()}, list(peers)))
    loop = statistics.median(each[given.clock]["loop"] for each in found.values())
    print(f"\nour loop: {loop:.3f} (aim: at most {AIM})")
    if given.json is not None:
        result = {"steps": given.steps, "repeats": given.repeats, "versions": versions, "tasks": found}
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
