"""The Trainer's batches as its own loop takes them: a step's together, with the number of items that its loss is divided by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import Trainer

from lr_search.workloads.passes import length


class StepBatches:
    """A pass over the loader, in whole steps: an epoch's last, shorter step is left out.

    Args:
        trainer: whose batches they are.
        loader: of `trainer.get_train_dataloader()`.
        accumulate: batches a step, >= 1.
    """

    def __init__(self, trainer: Trainer, loader: Any, accumulate: int) -> None:
        self._trainer, self._loader, self._accumulate = trainer, loader, accumulate

    def __len__(self) -> int:
        return len(self._loader) // self._accumulate * self._accumulate  # a TypeError where the loader has no length

    def __iter__(self) -> Iterator[tuple[Any, torch.Tensor | int | None]]:
        iterator = iter(self._loader)
        while True:
            batches, num_items = self._trainer.get_batch_samples(iterator, self._accumulate, self._trainer.args.device)
            if len(batches) < self._accumulate:
                return
            yield from ((batch, num_items) for batch in batches)


def batches_a_step(trainer: Trainer, loader: Any) -> int:
    """Gradient accumulation, which ends with the epoch."""
    batches = length(loader)
    asked = int(trainer.args.gradient_accumulation_steps)
    return asked if batches is None else max(1, min(asked, batches))


def steps_in_epoch(trainer: Trainer, loader: Any) -> int | None:
    """Optimizer steps in one pass over the loader; None where it has no length."""
    batches = length(loader)
    return None if batches is None else max(1, math.ceil(batches / trainer.args.gradient_accumulation_steps))


def steps_of_training(trainer: Trainer, loader: Any) -> int:
    """Optimizer steps of `trainer.train()`, as its arguments say."""
    args, per_epoch = trainer.args, steps_in_epoch(trainer, loader)
    if args.max_steps > 0 or per_epoch is None:  # the Trainer itself refuses data without a length and no max_steps
        return int(args.max_steps)
    return math.ceil(args.num_train_epochs * per_epoch)


@contextmanager
def loaders_forgotten(trainer: Trainer) -> Iterator[None]:
    """Accelerate remembers for the whole process which loaders are walked through; those that a training left midway are forgotten."""
    state = trainer.accelerator.gradient_state
    walked = state.dataloader_references
    try:
        yield
    finally:
        state.dataloader_references = walked
