"""What a task's truth was measured of, in 12 digits: other code that trains the same has the same ones."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

from lr_search import Workload
from lr_search.rng import preserved_rng, seed_everything
from lr_search.storage.fingerprints.prints import value_print
from lr_search.workloads.batches import first_batches, open_data

from .task import LifelikeTask

DIGITS = 3  # that a float is compared in: processors and versions round otherwise


def fingerprint(task: LifelikeTask) -> str:
    """12 hex digits of how many lengths the task has, and of where its trainings of seed 0 begin.

    That is: the shapes and values of the weights, the first training and validation batch, the optimizer's class and settings without
    the LR, what else decides a step, and the loss of the untrained model.

    Raises:
        MissingDataError: the task's data have not been fetched.
    """
    with preserved_rng(torch.device("cpu")):
        record = {"lengths": len(task.lengths), **beginning(task.make())}
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]


def beginning(workload: Workload) -> dict[str, Any]:
    """What decides a workload's trainings of seed 0, as JSON takes it; moves the global generators."""
    model, optimizer, batches = workload.begin(0)
    train = next(batches)
    batches.close()
    seed_everything(0)
    valid = first_batches(open_data(workload.valid_data, "valid_data"), "valid_data", 1)[0]
    weights = list(model.parameters())
    trained = [[tuple(weight.shape), weight.requires_grad] for weight in weights]
    model.eval()
    with torch.no_grad():
        loss = workload.loss(model, valid)
    return {
        "weights": trained,
        "values": rounded(value_print([weight.detach() for weight in weights])),
        "train": rounded(value_print(train)),
        "valid": rounded(value_print(valid)),
        "optimizer": type(optimizer).__name__,
        "groups": [settings(group, optimizer.param_groups[0]["lr"]) for group in optimizer.param_groups],
        "clip_norm": workload.clip_norm,
        "accumulate": workload.accumulate,
        "objective": workload.objective,
        "loss": short(float(loss)),
    }


def settings(group: dict[str, Any], first_lr: float) -> dict[str, str]:
    """Of a parameter group, its LR as a multiple of the first's; what is off is left out, for newer versions of torch know more of it."""
    named = {
        name: str(value)
        for name, value in group.items()
        if name not in ("params", "lr", "initial_lr") and value is not None and value is not False
    }
    return named | {"ratio": short(group["lr"] / first_lr), "tensors": str(len(group["params"]))}


def rounded(found: list[Any]) -> list[Any]:
    """A print with its floats as short texts."""
    return [found[0], *([f"{direction:.2f}", short(size)] for direction, size in found[1:])]


def short(value: float) -> str:
    """Three significant digits."""
    return f"{value:.{DIGITS}g}"
