"""What `scale.py` trains, and when each worker was at it: the trainings write that down themselves, whoever runs them."""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

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
        valid_data=partial(_same, [(inputs[1280:], targets[1280:])]),
        metrics=partial(_noted, _losses, folder),
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
        train_data=partial(_same, [torch.ones(1, 1), torch.ones(1, 1)]),
        valid_data=partial(_same, [torch.ones(1, 1)]),
        metrics=partial(_noted, _squares, folder),
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


def _losses(model: nn.Module, batch: Batch) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")


def _squares(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return model(batch).square()[:, 0]


def _noted(losses: Callable[..., torch.Tensor], folder: Path, model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
    """The losses of an evaluation's one batch."""
    found = losses(model, batch)
    note(folder, EVALUATED)
    return {"loss": found}


def _same(batches: list[Any]) -> list[Any]:
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
        end: when its last evaluation was over.
    """

    begin: float
    end: float


def spans(folder: Path) -> list[list[Span]]:
    """The whole trainings of each process, in the order of time; a driver's own first tries are none."""
    workers = []
    for file in sorted(folder.iterdir()):
        times: list[list[float]] = [[]]
        for what, when in (line.split() for line in file.read_text().splitlines()):
            if what == BEGUN:
                times.append([])
            times[-1].append(float(when))
        workers.append([Span(each[0], each[-1]) for each in times if len(each) == 2 + EVALUATIONS])
    return [worker for worker in workers if worker]


def between(workers: Sequence[Sequence[Span]]) -> float:
    """Median time in seconds from a training's end to the next one's beginning on the same worker; 0 where none follows."""
    pairs = [pair for worker in workers for pair in itertools.pairwise(worker)]
    return statistics.median(after.begin - before.end for before, after in pairs) if pairs else 0.0


def seconds_a_step(steps: int = 300, repeats: int = 5) -> float:
    """Of `digits` by itself on this machine, at best."""
    best = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        work = digits(steps, Path(folder))
        for _ in range(repeats):
            begun = time.perf_counter()
            for _ in lrs.train(work, lrs.schedules.Constant(1e-3)):
                pass
            best = min(best, (time.perf_counter() - begun) / steps)
    return best
