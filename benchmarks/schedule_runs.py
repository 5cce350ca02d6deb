"""One task and seed of benchmarks/schedules.py: every schedule is trained from the same range-tested peak LR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from schedule_tasks import SCHEDULES, TASKS, shortened

import lr_search as lrs
from lr_search.controllers import Controller
from lr_search.schedules import Constant, Schedule

FACTORS = tuple(10 ** (k / 2) for k in range(-4, 5) if k)  # of the peak: the constants that are tried beside it
CLAIMED = 0.36  # the CLR paper's 25k of 70k steps
SHARES = (0.25, CLAIMED, 0.5)
HIGH = 10**0.5  # cycles may bear a higher peak than a constant LR, which the range test's suggestion is for
HIGHER = ("triangular", "triangular2", "sgdr", "one_cycle", "linear", "cosine", "wsd")
SHORT = (
    "triangular",
    "triangular2",
    "exp_range",
    "sgdr",
    "one_cycle",
    "linear",
    "exponential",
    "cosine",
    "max to min, then min",
    "wsd",
)


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        task: its name.
        seed: of weights and batches.
        row: the schedule; a constant's has its factor of the peak.
        share: of the full number of steps that it was laid out for.
        peak: the range-tested LR.
        steps: where it was evaluated, as shares of the full number of steps; those that matter, see `thinned`.
        losses: the objective there; inf where it diverged.
        charged: steps charged, over the full number of steps.
    """

    task: str
    seed: int
    row: str
    share: float
    peak: float
    steps: Sequence[float]
    losses: Sequence[float]
    charged: float


def trained(workload: lrs.Workload, schedule: Schedule | Controller, seed: int) -> tuple[list[int], list[float], int]:
    """Steps, objectives there, and the steps charged; a training that diverged ends at inf."""
    training = lrs.train(workload, schedule, seed=seed)
    steps, losses = [], []
    for evaluation in training:
        steps.append(evaluation.step)
        losses.append(evaluation.metrics[workload.objective])
    if training.stopped == "diverged":
        steps.append(workload.num_steps)
        losses.append(math.inf)
    return steps, losses, training.steps_charged


def runs(task: str, seed: int) -> list[dict[str, Any]]:
    """Every training of one task and seed."""
    torch.set_num_threads(1)
    workload = TASKS[task]()
    peak = workload.range_test(seed).suggest().lr
    return [measured(task, workload, seed, peak, *each) for each in plan(workload, peak)]


def plan(workload: lrs.Workload, peak: float) -> list[tuple[str, float, Schedule | Controller]]:
    """Row, share of the steps, and what is trained under."""
    full, epoch = workload.num_steps, workload.steps_per_epoch
    assert epoch is not None
    rows: list[tuple[str, float, Schedule | Controller]] = []
    rows += [(name, 1.0, layout(peak, full, epoch)) for name, layout in SCHEDULES.items()]
    rows += [(f"constant x {factor:.3g}", 1.0, Constant(factor * peak)) for factor in FACTORS]
    for share in SHARES:
        rows += [(name, share, SCHEDULES[name](peak, round(share * full), epoch)) for name in SHORT]
    for share in (CLAIMED, 1.0):
        rows += [(f"{name} x 3.16", share, SCHEDULES[name](HIGH * peak, round(share * full), epoch)) for name in HIGHER]
    return rows


def measured(
    task: str, workload: lrs.Workload, seed: int, peak: float, row: str, share: float, schedule: Schedule | Controller
) -> dict[str, Any]:
    """One training, as a `Run`'s dictionary."""
    steps, losses, charged = trained(shortened(workload, share), schedule, seed)
    full = workload.num_steps
    at, told = thinned([round(step / full, 4) for step in steps], [float(f"{loss:.5g}") for loss in losses])
    return asdict(Run(task, seed, row, share, float(f"{peak:.5g}"), at, told, round(charged / full, 4)))


def thinned(steps: list[float], losses: list[float]) -> tuple[list[float], list[float]]:
    """Without the evaluations that no table reads: those that neither improve, nor are the last before a share or the end."""
    lasts = {max(step for step in steps if step <= share + 1e-9) for share in (*SHARES, steps[-1])}
    best, kept = math.inf, []
    for step, loss in zip(steps, losses, strict=True):
        if loss < best or step in lasts:
            kept.append((step, loss))
        best = min(best, loss)
    return [step for step, _ in kept], [loss for _, loss in kept]


def incumbent_area(run: Run, start: float, best: float) -> float:
    """The mean over the steps of the best loss so far: 0 is the best known from the first step on, 1 the start for ever."""
    heights = np.minimum.accumulate(np.minimum(run.losses, start))
    lengths = np.diff([*run.steps, 1.0])
    return float(((heights - best) / (start - best)) @ lengths)


def reached(run: Run, goal: float) -> float:
    """The share of the full number of steps at which the loss is first no worse than the goal; inf for never."""
    return next((step for step, loss in zip(run.steps, run.losses, strict=True) if loss <= goal), math.inf)
