"""What `scale.py` trains, and when each worker was at it: the trainings write that down themselves, whoever runs them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import lr_search as lrs

EVALUATIONS = 10  # of a training, beside the one before its first step
BEGUN, EVALUATED = "begun", "evaluated"
Batch = tuple[torch.Tensor, torch.Tensor]


def digits(num_steps: int, folder: Path) -> lrs.Workload:
    """An MLP on scikit-learn's digits, in batches of 32.

    Args:
        num_steps: of a training.
        folder: where each process writes down what it does.
    """
    images, classes = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(images / 16.0).float(), torch.tensor(classes)
    train = list(zip(inputs[:1280].split(32), targets[:1280].split(32), strict=True))
    return lrs.Workload(
        model=partial(_model, folder),
        optimizer=torch.optim.SGD,
        loss=_loss,
        train_data=partial(_same, train),
        valid_data=partial(_valid, folder, [(inputs[1280:], targets[1280:])]),
        num_steps=num_steps,
        eval_every=num_steps // EVALUATIONS,
        device="cpu",
    )


def sleeping(seconds: float, folder: Path) -> lrs.Workload:
    """A training that only waits, so that many run on few cores; arguments as above."""
    steps = 5 * EVALUATIONS
    return lrs.Workload(
        model=partial(_slow_model, folder),
        optimizer=torch.optim.SGD,
        loss=partial(_slow_loss, seconds / steps),
        train_data=partial(_same, [torch.ones(1, 1)]),
        valid_data=partial(_valid, folder, [torch.ones(1, 1)]),
        metrics=_squares,
        num_steps=steps,
        eval_every=5,
        device="cpu",
    )


def _model(folder: Path) -> nn.Module:
    note(folder, BEGUN)
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def _slow_model(folder: Path) -> nn.Module:
    note(folder, BEGUN)
    return nn.Linear(1, 1)


def _loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def _slow_loss(seconds: float, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    time.sleep(seconds)
    return model(batch).square().mean()


def _squares(model: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"loss": model(batch).square()[:, 0]}


def _same(batches: list[Batch]) -> list[Batch]:
    return batches


def _valid(folder: Path, batches: list[torch.Tensor]) -> list[torch.Tensor]:
    note(folder, EVALUATED)
    return batches


def note(folder: Path, what: str) -> None:
    """A line in this process's file."""
    with Path(folder, str(os.getpid())).open("a") as file:
        file.write(f"{what} {time.time()}\n")


@dataclass(frozen=True)
class Span:
    """One training on one worker.

    Args:
        begin: seconds since the epoch.
        end: of its last evaluation's beginning.
    """

    begin: float
    end: float


def spans(folder: Path) -> list[list[Span]]:
    """The trainings of each process, in the order of time; the driver's own tries are left out by an emptied folder."""
    workers = []
    for file in sorted(Path(folder).iterdir()):
        times: list[list[float]] = []
        for what, when in (line.split() for line in file.read_text().splitlines()):
            if what == BEGUN:
                times.append([])
            times[-1].append(float(when))
        workers.append([Span(each[0], each[-1]) for each in times])
    return workers


def gaps(workers: Sequence[Sequence[Span]]) -> float:
    """Median time in seconds from a training's end to the next one's beginning on the same worker; nan where there is none."""
    between = [
        after.begin - before.end
        for worker in workers
        for before, after in zip(worker, worker[1:], strict=False)
    ]  # fmt: skip
    return statistics.median(between) if between else float("nan")
