"""The part of `gpu.py` that times fused trials against one by one: the models of `fused.py`, at widths from 1 to 64."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fused_runs import LR, SEED, Contender, agreement, clock_of, fused, rotated
from fused_tasks import OPTIMIZERS, TASKS
from gpu_part import Asked, Part, Row, emptied, mebibytes, missing, synchronized

from lr_search.fused.support import support_of
from lr_search.schedules.decay import Constant
from lr_search.training.training import train

MOST_APART = 1e-2  # of the losses; convolutions in TF32 round their inputs to 2^-11 = 5e-4


@dataclass(frozen=True)
class Plan:
    """How much is timed.

    Args:
        widths: how many models at once.
        rounds: how often each is timed; the median counts.
        seconds: of training that are timed at a time.
        warm_up: steps before, twice.
        most: steps that a timed training may take in all.
    """

    widths: Sequence[int]
    rounds: int
    seconds: float
    warm_up: int
    most: int


FULL = Plan([1, 2, 4, 8, 16, 32, 64], 3, 0.15, 10, 4000)
QUICK = Plan([1, 2], 3, 0.005, 2, 40)
QUICK_TASKS = ("transformer 32",)


def left_out(device: str) -> str:
    """Nothing keeps it from being asked."""
    return ""


def rows(asked: Asked) -> Iterator[Row]:
    """A row for each model and optimizer."""
    plan = QUICK if asked.quick else FULL
    without = missing("scikit-learn", "sklearn")
    for name in QUICK_TASKS if asked.quick else TASKS:
        for optimizer in OPTIMIZERS:
            which = {"task": name, "optimizer": optimizer}
            if without and not TASKS[name].reads_tokens:
                yield {**which, "ended": f"{without}, which has its data"}
            elif asked.seconds_left <= 0:
                yield {**which, "ended": "the clock ran out"}
            else:
                yield {**which, **measured(name, optimizer, asked.device, plan)}


def measured(name: str, optimizer: str, device: str, plan: Plan) -> dict[str, Any]:
    """Rates, memory and agreement; or what came in the way."""
    emptied(device)
    workload = TASKS[name].workload(optimizer, plan.most, device)
    support = support_of(workload, SEED)
    if support.reason:
        return {"failed": f"it cannot be fused: it needs {support.reason}"}
    try:
        rated = rates(workload, support, device, plan)
        return {**rated, "row_bytes": support.row_bytes, **agreement(name, optimizer, device)}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def rates(workload: Any, support: Any, device: str, plan: Plan) -> dict[str, Any]:
    """Model-steps a second of one after another; of each width over that, by turns; and what each adds to the memory's peak."""
    single = train(workload, Constant(LR), seed=SEED)
    contenders = [contender(1, lambda steps: single.advance(single.step + steps), workload, device, plan)]
    trainings, added = [], {}
    for width in plan.widths:
        emptied(device)
        before = torch.cuda.memory_allocated() if device == "cuda" else 0
        training = fused(workload, support, width)
        contenders.append(contender(width, training.advance, workload, device, plan))
        added[str(width)] = torch.cuda.max_memory_allocated() - before if device == "cuda" else None
        trainings.append(training)
    turns = []
    for number in range(plan.rounds):
        turn = {place: contenders[place].rate() for place in rotated(range(len(contenders)), number)}
        turns.append([turn[place] for place in range(len(contenders))])
    for each in (single, *trainings):
        each.close()
    ratios = {
        str(width): statistics.median(rate[place] / rate[0] for rate in turns)
        for place, width in enumerate(plan.widths, 1)
    }
    return {"alone": statistics.median(rate[0] for rate in turns), "ratios": ratios, "added_bytes": added}


def contender(models: int, advance: Any, workload: Any, device: str, plan: Plan) -> Contender:
    """Warmed up, and with stretches of the plan's length. The GPU has nothing left to do at either end of one."""

    def stretch(steps: int) -> None:
        synchronized(device)
        advance(steps)
        synchronized(device)

    made = Contender(models, stretch, clock_of(workload.torch_device), plan.warm_up)
    for _ in range(2):
        rate = made.rate()
    most = (plan.most - 2 * plan.warm_up) // plan.rounds
    made.steps = max(1, min(int(plan.seconds * rate / models), most))
    return made


def cells(row: Row) -> Sequence[str]:
    """Rates, or how it ended."""
    named = [row["task"], row["optimizer"]]
    told = row.get("ended") or row.get("failed")
    if told:
        return [*named, *[""] * (len(HEADS) - 3), told]
    ratios = [f"{row['ratios'][str(width)]:.2f}" if str(width) in row["ratios"] else "" for width in FULL.widths]
    widest = list(row["added_bytes"])[-1]
    memory = [mebibytes(int(widest) * row["row_bytes"]), mebibytes(row["added_bytes"][widest])]
    return [*named, f"{row['alone']:,.0f}", *ratios, *memory, f"{row['losses']:.0e}"]


def wrong(row: Row) -> str:
    """What could not be fused, or came out otherwise."""
    name = f"{row['task']}, {row['optimizer']}"
    if row.get("failed"):
        return f"{name}: {row['failed']}"
    if row.get("losses", 0.0) > MOST_APART:
        return f"{name}: the losses of fused trainings are {row['losses']:.0e} from those of each by itself"
    return ""


HEADS = ["model", "optimizer", "alone, steps/s", *map(str, FULL.widths), "widest, MiB: estimate", "measured", "apart"]
PART = Part(
    "Fused trials: times as fast as one by one, by how many at once; medians of 3",
    170.0, left_out, rows, HEADS, cells, wrong,
)  # fmt: skip
