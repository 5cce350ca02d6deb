"""Workloads from a model, an optimizer, a loss and a split of tensors; the losses that several tasks share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import lr_search as lrs
from lr_search.workloads.supervised import DatasetBatches

from .data import Split, Tensors

Loss = Callable[[nn.Module, Tensors], torch.Tensor]


def workload(
    model: Callable[[], nn.Module],
    optimizer: Callable[..., torch.optim.Optimizer],
    loss: Loss,
    data: Split,
    *,
    batch_size: int = 32,
    num_steps: int = 300,
    valid_batch: int = 512,
    **settings: Any,
) -> lrs.Workload:
    """A workload on tensors in memory, judged by its loss once, at the end.

    Args:
        model: () -> module.
        optimizer: (params, lr=float) -> Optimizer.
        loss: (model, batch) -> scalar tensor; a batch is a tuple of tensors.
        data: its examples.
        batch_size: examples a training batch.
        num_steps: optimizer steps.
        valid_batch: examples a validation batch.
        **settings: every other argument of `Workload`.
    """
    return lrs.Workload(
        model=model,
        optimizer=optimizer,
        loss=loss,
        train_data=DatasetBatches(TensorDataset(*data.train), batch_size, training=True),
        valid_data=DatasetBatches(TensorDataset(*data.valid), valid_batch),
        num_steps=num_steps,
        eval_every=num_steps,
        batch_size=batch_size,
        device="cpu",
        **settings,
    )


def loss_of(criterion: Callable[..., torch.Tensor], **options: Any) -> Loss:
    """criterion(model(inputs), targets); a batch is (inputs, targets)."""
    return lambda model, batch: criterion(model(batch[0]), batch[1], **options)


cross_entropy = loss_of(functional.cross_entropy)
squared_error = loss_of(functional.mse_loss)


def next_letter(model: nn.Module, batch: Tensors) -> torch.Tensor:
    """Cross-entropy of every letter given those before it; a batch is (letters,), (batch, time + 1)."""
    (letters,) = batch
    return functional.cross_entropy(model(letters[:, :-1]).flatten(0, 1), letters[:, 1:].flatten())


def reconstruction(model: nn.Module, batch: Tensors) -> torch.Tensor:
    """Squared error of the inputs given back."""
    return functional.mse_loss(model(batch[0]), batch[0])


def rating_error(model: nn.Module, batch: Tensors) -> torch.Tensor:
    """Squared error of the ratings; a batch is (users, items, ratings)."""
    users, items, given = batch
    return functional.mse_loss(model(users, items), given)


def gaussian_nll(model: nn.Module, batch: Tensors) -> torch.Tensor:
    """-log N(target; mean, deviation) without the constant, of a model that gives mean and log deviation; may be < 0."""
    mean, log_std = model(batch[0]).chunk(2, dim=1)
    return (0.5 * ((batch[1] - mean) / log_std.exp()) ** 2 + log_std).mean()


def trained_weights(source: lrs.Workload, lr: float) -> dict[str, torch.Tensor]:
    """The weights after training `source` at a constant LR; the same on every call."""
    training = lrs.train(source, lrs.schedules.Constant(lr), seed=0)
    for _ in training:
        pass
    return copy.deepcopy(training.model.state_dict())


def loaded(model: nn.Module, weights: dict[str, torch.Tensor]) -> nn.Module:
    """The model with these weights."""
    model.load_state_dict(weights)
    return model


def from_zero(layer: nn.Linear) -> nn.Linear:
    """The layer with all weights zero, as linear models begin."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
