"""One task and seed of the snapshot table: models kept at cycle ends, beside their controls at the same or a larger cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from schedule_tasks import TASKS, shortened
from torch import nn

import lr_search as lrs
from lr_search.schedules import SGDR, Constant, Cosine, Linear, Schedule
from lr_search.training.snapshots import Snapshot

MEMBERS = 6
ALPHAS = np.linspace(0, 1, 11)  # between two snapshots
CLASSIFIED = [name for name in TASKS if "digits" in name]


def kept(
    workload: lrs.Workload, schedule: Schedule, seed: int, members: int = MEMBERS
) -> tuple[lrs.Training, list[Snapshot]]:
    """A training to its end, and its snapshots."""
    training = lrs.train(workload, schedule, seed=seed, snapshots=members)
    for _ in training:
        pass
    return training, training.snapshots


def snapshot_runs(task: str, seed: int) -> dict[str, Any]:
    """Loss and error of the last m models together, m = 1 to 6, for each way of getting them; disagreement and barriers."""
    torch.set_num_threads(1)
    workload = TASKS[task]()
    full = workload.num_steps
    peak = workload.range_test(seed).suggest().lr
    sixths = replace(workload, eval_every=full // MEMBERS)
    ways: dict[str, Schedule] = {
        "cycles": SGDR(0.0, peak, T_0=full / MEMBERS),
        "no cycles: constant": Constant(peak),
        "no cycles: linear": Linear(peak, full),
    }
    table: dict[str, Any] = {}
    for way, schedule in ways.items():
        training, snapshots = kept(sixths, schedule, seed)
        table[way] = scores(training, snapshots, lambda m, s=snapshots: lrs.SnapshotEnsemble(workload, s, last=m))
        table[way] |= between(training, snapshots)
        table[f"{way}, mean weights"] = scores(
            training, snapshots, lambda m, s=snapshots: lrs.average_weights(workload, s, last=m)
        )
    single = lrs.train(replace(workload, eval_every=full), Cosine(peak, full), seed=seed)
    *_, end = single
    table["a single cycle"] = {"loss": [end.metrics["loss"]], "error": [1 - end.metrics["accuracy"]]}
    for way, share in (("trained apart, a sixth each", 1 / MEMBERS), ("trained apart, in full", 1.0)):
        short = shortened(workload, share)
        short = replace(short, eval_every=short.num_steps)
        apart = [kept(short, Cosine(peak, short.num_steps), 1000 * seed + i, 1) for i in range(MEMBERS)]
        models = [snapshots[-1] for _, snapshots in apart]
        table[way] = scores(apart[0][0], models, lambda m, s=models: lrs.SnapshotEnsemble(workload, s, last=m))
        table[way] |= between(apart[0][0], models)
    return {"task": task, "seed": seed, "ways": _rounded(table)}


def scores(
    judge: lrs.Training, snapshots: Sequence[Snapshot], model_of: Callable[[int], nn.Module]
) -> dict[str, list[float]]:
    """Loss and error of what `model_of(m)` makes, for each m."""
    found = [judge.evaluate(model_of(m)) for m in range(1, len(snapshots) + 1)]
    return {"loss": [f["loss"] for f in found], "error": [1 - f["accuracy"] for f in found]}


def between(judge: lrs.Training, snapshots: Sequence[Snapshot]) -> dict[str, float]:
    """Means over consecutive snapshots: the share of examples told apart, and the loss barrier on the straight way between.

    The barrier is the largest loss on the way above the line between the two ends' (batch statistics are the later one's).
    """
    workload, apart, barriers = judge.workload, [], []
    inputs = torch.cat([batch[0] for batch in workload.valid_data()])
    for one, other in itertools.pairwise(snapshots):
        with torch.no_grad():
            first, second = lrs.SnapshotEnsemble(workload, [one, other]).member_outputs(inputs).argmax(2)
        apart.append(float((first != second).double().mean()))
        losses = np.array([judge.evaluate(_mixed(workload, one, other, alpha))["loss"] for alpha in ALPHAS])
        barriers.append(float((losses - (losses[0] + ALPHAS * (losses[-1] - losses[0]))).max()))
    return {"disagreement": float(np.mean(apart)), "barrier": float(np.mean(barriers))}


def _mixed(workload: lrs.Workload, one: Snapshot, other: Snapshot, alpha: float) -> nn.Module:
    weights = {
        name: torch.lerp(one.weights[name], value, alpha) if value.is_floating_point() else value
        for name, value in other.weights.items()
    }
    model = workload.model()
    model.load_state_dict(weights)
    return model


def _rounded(value: Any) -> Any:
    """To five digits, however deep."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else float(f"{value:.5g}")
