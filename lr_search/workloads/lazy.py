"""Lazy layers (`nn.LazyLinear`) of a new model get their shapes before anything else sees their weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lr_search.errors import WorkloadError
from lr_search.rng import preserved_rng
from lr_search.workloads.batches import BatchSource, first_batches, open_data, to_device
from lr_search.workloads.parts import Loss


def initialize_lazy(model: nn.Module, loss: Loss, train_data: BatchSource, device: torch.device) -> None:
    """Pass the first training batch through a model that has lazy layers; do nothing with any other.

    Otherwise the first pass of each would do so: a range test's under other random numbers than a training's, which is
    evaluated first, so that they would not begin with the same weights.

    Args:
        model: a new one, in train mode.
        loss: (model, batch) -> anything: what calls the model.
        train_data: () -> iterable of batches; draws nothing from the global generators or the loader's own.
        device: of the model.

    Raises:
        WorkloadError: the data are empty, or a lazy layer takes no part in the pass.
        Exception: whatever the loss raises.
    """
    if not _lazy(model):
        return
    with preserved_rng(device):
        model.eval()
        data = open_data(train_data, "train_data", model)
        batches = [to_device(each, device) for each in first_batches(data, "train_data", 1)]
    if not batches:
        raise WorkloadError("train_data must give batches, but got none. Check the data set's length and drop_last.")
    for training in (False, True):  # some layers take part in training only; a pass in eval mode moves no statistics
        if _lazy(model):
            model.train(training)
            loss(model, batches[0])
    model.train()
    if left := _lazy(model):
        raise WorkloadError(
            f"Every lazy layer must get its shape in the first pass, but these got none: {', '.join(left)}. "
            "Call them in the model's forward, or leave them out."
        )


def _lazy(model: nn.Module) -> list[str]:
    named = (*model.named_parameters(), *model.named_buffers())
    return [name for name, tensor in named if is_lazy(tensor)]
