"""How late flights arrive and how long they fly, by tables with embeddings, to fit rules on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from tasks import build
from tasks.data import Tensors
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from .data_flights import flights
from .flights_models import Embeddings, ResidualTable, TableNet, WideAndDeep
from .task import LifelikeTask, family


def table_loss(criterion: Callable[..., torch.Tensor]) -> build.Loss:
    """criterion(model(categories, numbers), targets)."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        categories, numbers, targets = batch
        return criterion(model(categories, numbers), targets)

    return loss


squared_error = table_loss(functional.mse_loss)
huber = table_loss(functional.huber_loss)
yes_or_no = table_loss(functional.binary_cross_entropy_with_logits)


def embeddings_flights_adam() -> Workload:
    """The usual: a two-layer perceptron, the Huber loss of the delay after departure, Adam."""
    return build.workload(partial(TableNet, 128, 64), optim.Adam, huber, flights(), batch_size=64, num_steps=1000)


def air_time_flights_large_batch_adam() -> Workload:
    """The time in the air: batches of 1,024 from most of the year's flights."""
    data = flights("air_time", train=200000)
    return build.workload(partial(TableNet, 128, 64), optim.Adam, squared_error, data, batch_size=1024, num_steps=1000)


def air_time_flights_sgd() -> Workload:
    """The time in the air by plain SGD on batches of 256: embeddings of rare kinds hardly move."""
    return build.workload(
        partial(TableNet, 128, 64), optim.SGD, huber, flights("air_time"), batch_size=256, num_steps=1000
    )


def embeddings_norm_dropout_flights_adamw() -> Workload:
    """As fastai builds them: small embeddings, BatchNorm, dropout and weight decay."""

    def model() -> nn.Module:
        embeddings = Embeddings(std=0.01, dropout=0.05, norm=True)
        return TableNet(120, 60, embeddings=embeddings, norm=nn.BatchNorm1d, dropout=0.2)

    optimizer = partial(optim.AdamW, betas=(0.9, 0.99), weight_decay=0.01)
    return build.workload(model, optimizer, squared_error, flights(), batch_size=256, num_steps=1000)


def wide_and_deep_flights_adagrad() -> Workload:
    """Whether a flight will be late by 15 minutes, from pairs of categories and a perceptron: Adagrad."""
    data = flights("late", departed=False)
    return build.workload(partial(WideAndDeep, 100, 50), optim.Adagrad, yes_or_no, data, batch_size=128, num_steps=1000)


def residual_flights_rmsprop() -> Workload:
    """Residual perceptrons with LayerNorm on few flights that have not left yet: RMSprop."""
    data = flights(departed=False, train=12000)
    return build.workload(ResidualTable, optim.RMSprop, squared_error, data, batch_size=128, num_steps=1000)


def late_flights_radam() -> Workload:
    """Whether a flight is late by 15 minutes, by three layers: RAdam."""
    data, model = flights("late"), partial(TableNet, 96, 96, 96)
    return build.workload(model, optim.RAdam, yes_or_no, data, batch_size=128, num_steps=1000)


TASKS: list[LifelikeTask] = family(
    "fit",
    "flights",
    "tables with embeddings",
    embeddings_flights_adam,
    air_time_flights_sgd,
    wide_and_deep_flights_adagrad,
    residual_flights_rmsprop,
    late_flights_radam,
    dear=[air_time_flights_large_batch_adam, embeddings_norm_dropout_flights_adamw],
)
