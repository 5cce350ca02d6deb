"""Set a: sixteen tasks to fit rules on."""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import build, data, models
from .task import Task, tasks_of

Momentum = partial(optim.SGD, momentum=0.9)


def mlp_digits_adam() -> Workload:
    """The usual: a shallow ReLU network with Adam."""
    return build.workload(lambda: models.mlp(64, 64, 10), optim.Adam, build.cross_entropy, data.digits())


def cnn_digits_momentum() -> Workload:
    """The usual: a CNN without norms, SGD with momentum."""
    return build.workload(models.cnn, Momentum, build.cross_entropy, data.digits(images=True), num_steps=350)


def cnn_bn_digits_sgd() -> Workload:
    """A CNN with BatchNorm and plain SGD: the loss survives very high LRs."""
    images = data.digits(images=True)
    return build.workload(lambda: models.cnn(norm=True), optim.SGD, build.cross_entropy, images, num_steps=250)


def deep_tanh_digits_sgd() -> Workload:
    """Six tanh layers: a slow start."""
    sizes = (64, *[32] * 6, 10)
    return build.workload(
        lambda: models.mlp(*sizes, activation=nn.Tanh), optim.SGD, build.cross_entropy, data.digits(), num_steps=500
    )


def residual_teacher_adamw() -> Workload:
    """Residual blocks with LayerNorm and GELU on a regression, AdamW."""

    def model() -> nn.Module:
        blocks = [nn.Sequential(nn.LayerNorm(32), models.mlp(32, 32, 32, activation=nn.GELU)) for _ in range(2)]
        return nn.Sequential(nn.Linear(10, 32), *map(models.Residual, blocks), nn.Linear(32, 1))

    optimizer = partial(optim.AdamW, weight_decay=0.05)
    return build.workload(model, optimizer, build.squared_error, data.teacher(), batch_size=64, num_steps=400)


def gru_text_adam() -> Workload:
    """A character model with clipped gradients."""
    return build.workload(
        models.CharRNN, optim.Adam, build.next_letter, data.text(), batch_size=16, num_steps=300, clip_norm=1.0
    )


def logistic_raw_cancer_sgd() -> Workload:
    """Logistic regression on features of sizes from 0.01 to 1000: a tiny LR is needed."""
    table = data.table("breast_cancer", train=384, scaled=False)
    return build.workload(
        lambda: build.from_zero(nn.Linear(30, 2)), optim.SGD, build.cross_entropy, table, batch_size=96, num_steps=400
    )


def factors_sgd() -> Workload:
    """Matrix factorisation with plain SGD: each row is in few batches, so that the LR must be large."""
    return build.workload(models.Factors, optim.SGD, build.rating_error, data.ratings(), batch_size=128, num_steps=400)


def autoencoder_digits_rmsprop() -> Workload:
    """A bottleneck of 8, RMSprop."""
    return build.workload(
        lambda: models.mlp(64, 48, 8, 48, 64), optim.RMSprop, build.reconstruction, data.digits(), batch_size=64
    )


def gaussian_nll_teacher_adam() -> Workload:
    """Mean and deviation of targets with hardly any noise: the loss falls below zero."""
    return build.workload(
        lambda: models.mlp(6, 64, 2, activation=nn.SiLU),
        optim.Adam,
        build.gaussian_nll,
        data.teacher(features=6, noise=0.02, scale=0.2),
        batch_size=64,
        num_steps=500,
    )


def big_targets_sgd() -> Workload:
    """Targets of about 1000: the loss begins at 1e6."""
    return build.workload(
        lambda: models.mlp(10, 32, 1), optim.SGD, build.squared_error, data.teacher(scale=1000.0, seed=1), num_steps=400
    )


def small_loss_sgd() -> Workload:
    """The loss times 1e-2, as if averaged over outputs that hardly matter."""

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        return 1e-2 * build.cross_entropy(model, batch)

    return build.workload(lambda: models.mlp(64, 32, 10, activation=nn.GELU), optim.SGD, loss, data.digits())


@cache
def _digits_weights() -> dict[str, torch.Tensor]:
    source = build.workload(
        lambda: models.mlp(64, 48, 48, 10), optim.Adam, build.cross_entropy, data.digits(), num_steps=250
    )
    return build.trained_weights(source, 3e-3)


def finetune_noisy_digits_momentum() -> Workload:
    """A trained network goes on with digits of another contrast under noise."""
    (pixels, classes), (valid_pixels, valid_classes) = data.digits()
    noise = torch.randn(len(pixels) + len(valid_pixels), 64, generator=torch.Generator().manual_seed(0))
    shifted = data.Split(
        (-0.5 * pixels + 0.5 * noise[: len(pixels)], classes),
        (-0.5 * valid_pixels + 0.5 * noise[len(pixels) :], valid_classes),
    )
    weights = _digits_weights()
    return build.workload(
        lambda: build.loaded(models.mlp(64, 48, 48, 10), weights), Momentum, build.cross_entropy, shifted
    )


def spirals_adagrad() -> Workload:
    """Three spiral arms; Adagrad's steps shrink, so that high LRs recover."""
    return build.workload(
        lambda: models.mlp(2, 48, 48, 3, activation=nn.Tanh),
        optim.Adagrad,
        build.cross_entropy,
        data.spirals(),
        batch_size=64,
        num_steps=450,
    )


class _Bag(nn.Module):
    """The mean of the words' vectors as logits; gradients are sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(400, 5, sparse=True)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.words(words).mean(1)


def bag_sparse_adam() -> Workload:
    """Topics from words, with sparse gradients."""
    return build.workload(_Bag, optim.SparseAdam, build.cross_entropy, data.documents(), num_steps=350)


def label_smoothing_digits_nesterov() -> Workload:
    """Dropout, label smoothing and weight decay together."""
    loss = build.loss_of(functional.cross_entropy, label_smoothing=0.1)
    optimizer = partial(optim.SGD, momentum=0.9, nesterov=True, weight_decay=1e-3)
    return build.workload(lambda: models.mlp(64, 96, 96, 10, dropout=0.2), optimizer, loss, data.digits())


TASKS: list[Task] = tasks_of(
    "a",
    [
        mlp_digits_adam,
        cnn_digits_momentum,
        cnn_bn_digits_sgd,
        deep_tanh_digits_sgd,
        residual_teacher_adamw,
        gru_text_adam,
        logistic_raw_cancer_sgd,
        factors_sgd,
        autoencoder_digits_rmsprop,
        gaussian_nll_teacher_adam,
        big_targets_sgd,
        small_loss_sgd,
        finetune_noisy_digits_momentum,
        spirals_adagrad,
        bag_sparse_adam,
        label_smoothing_digits_nesterov,
    ],
)
