"""Series of the UCR and UEA archives: tasks to judge on."""

from __future__ import annotations

from functools import partial

import torch
from tasks import build
from tasks.data import Tensors
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import data_series, series_models
from .task import LifelikeTask, family


def nbeats_electric_adam() -> Workload:
    """Forecasts of 12 steps for electric devices and blood pressure, judged by absolute errors; Adam."""
    return build.workload(
        lambda: series_models.NBeats(48, 12),
        optim.Adam,
        build.loss_of(functional.l1_loss),
        data_series.forecasts(("electric", "bleeding"), past=48, future=12, hop=2, block=300, valid=800),
        batch_size=64,
        num_steps=1000,
    )


def inception_leaves_momentum() -> Workload:
    """InceptionTime on outlines of few leaves, each cut open at several places: it may overfit."""
    return build.workload(
        lambda: series_models.InceptionTime(6),
        partial(optim.SGD, momentum=0.9, weight_decay=1e-4),
        build.cross_entropy,
        data_series.leaves(48),
        batch_size=16,
        num_steps=1000,
    )


def patchtst_walk_adamw() -> Workload:
    """Attention between patches of nine accelerometers' series, to forecast 16 steps of a walk."""
    return build.workload(
        lambda: series_models.PatchTST(64, 16),
        partial(optim.AdamW, weight_decay=0.01),
        build.squared_error,
        data_series.forecasts(("walk",), past=64, future=16, hop=2, block=352, valid=400),
        batch_size=8,
        num_steps=1000,
        valid_batch=100,
    )


def s4d_vowels_adamw() -> Workload:
    """Diagonal state spaces on 270 utterances of nine men: a small data set, with dropout and weight decay."""
    return build.workload(
        lambda: series_models.S4D(12, 9),
        partial(optim.AdamW, weight_decay=0.05),
        build.cross_entropy,
        data_series.vowels(),
        batch_size=16,
        num_steps=1000,
    )


def _prototypes(model: nn.Module, batch: Tensors) -> torch.Tensor:
    """Cross-entropy of half a batch by its distances to the means of the other half's classes, if it has that class.

    Reference: Snell et al., "Prototypical Networks for Few-shot Learning", 2017, arXiv:1703.05175.
    """
    vectors, classes = model(batch[0]), functional.one_hot(batch[1], 21).float()
    half = len(vectors) // 2
    counts = classes[:half].sum(0)
    means = classes[:half].T @ vectors[:half] / counts.clamp(min=1).unsqueeze(1)
    squares = torch.cdist(vectors[half:], means).square() / vectors.shape[1]
    logits = (-squares).masked_fill(counts == 0, -1e4)
    asked = counts[batch[1][half:]] > 0
    losses = functional.cross_entropy(logits, batch[1][half:], reduction="none")
    return (losses * asked).sum() / asked.sum().clamp(min=1)


def prototypes_shapes_adam() -> Workload:
    """21 classes told apart by the distances to their means, of one or two examples each in a batch; Adam."""
    return build.workload(
        series_models.embedding_cnn,
        optim.Adam,
        _prototypes,
        data_series.shapes(48),
        batch_size=64,
        num_steps=1000,
    )


def rocket_appliances_sgd() -> Workload:
    """A linear softmax on unscaled features of random kernels, plain SGD: badly conditioned."""
    return build.workload(
        lambda: build.from_zero(nn.Linear(1000, 10)),
        optim.SGD,
        build.cross_entropy,
        data_series.appliances(),
        batch_size=64,
        num_steps=1000,
    )


TASKS: list[LifelikeTask] = [
    *family("judge", "aeon", "N-BEATS", nbeats_electric_adam),
    *family("judge", "aeon", "InceptionTime", inception_leaves_momentum),
    *family("judge", "aeon", "patches with attention", patchtst_walk_adamw),
    *family("judge", "aeon", "diagonal state spaces", s4d_vowels_adamw),
    *family("judge", "aeon", "prototypes", prototypes_shapes_adam),
    *family("judge", "aeon", "random kernels", rocket_appliances_sgd),
]
