"""Set b: eighteen tasks to try on what was fitted on set a, and the other way round."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import build, data, models
from .task import Task, tasks_of

Momentum = partial(optim.SGD, momentum=0.9)


def mlp_dropout_digits_adamw() -> Workload:
    """The usual: GELU, LayerNorm, dropout, AdamW."""
    return build.workload(
        lambda: models.mlp(64, 64, 64, 10, activation=nn.GELU, norm=nn.LayerNorm, dropout=0.1),
        partial(optim.AdamW, weight_decay=0.1),
        build.cross_entropy,
        data.digits(),
        batch_size=64,
    )


def cnn_digits_adam() -> Workload:
    """The usual: a CNN without norms, Adam."""
    return build.workload(
        lambda: models.cnn(6), optim.Adam, build.cross_entropy, data.digits(images=True), num_steps=250
    )


def resnet_digits_nesterov() -> Workload:
    """The usual: residual convolutions with BatchNorm, SGD with Nesterov's momentum and weight decay."""

    def body() -> nn.Module:
        return models.Residual(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
        )

    def model() -> nn.Module:
        stem = (nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        return nn.Sequential(*stem, body(), body(), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))

    optimizer = partial(optim.SGD, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return build.workload(model, optimizer, build.cross_entropy, data.digits(images=True), num_steps=300)


def tanh_teacher_sgd() -> Workload:
    """The usual: regression, a shallow tanh network, plain SGD."""
    return build.workload(
        lambda: models.mlp(8, 40, 1, activation=nn.Tanh),
        optim.SGD,
        build.squared_error,
        data.teacher(features=8, seed=2),
        num_steps=400,
    )


def transformer_text_adam() -> Workload:
    """The usual: a transformer block on letters, Adam."""
    return build.workload(
        models.CharTransformer,
        partial(optim.Adam, betas=(0.9, 0.98)),
        build.next_letter,
        data.text(seed=1),
        batch_size=16,
        num_steps=300,
    )


def adding_rnn_adam() -> Workload:
    """A tanh RNN that adds two marked numbers of a sequence; clipped gradients."""

    class Adder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.head = nn.RNN(2, 32, batch_first=True), nn.Linear(32, 1)

        def forward(self, sequences: torch.Tensor) -> torch.Tensor:
            return self.head(self.recurrent(sequences)[0][:, -1])

    return build.workload(
        Adder, optim.Adam, build.squared_error, data.adding(length=8), batch_size=64, num_steps=450, clip_norm=1.0
    )


def sigmoid_digits_momentum() -> Workload:
    """Two sigmoid layers: the loss stays where it is for many steps, then falls."""
    return build.workload(
        lambda: models.mlp(64, 48, 48, 10, activation=nn.Sigmoid),
        Momentum,
        build.cross_entropy,
        data.digits(),
        num_steps=500,
    )


def parity_adam() -> Workload:
    """A function of three bits together, of which no one tells anything; a tenth of the answers are wrong."""
    return build.workload(
        lambda: models.mlp(12, 64, 2), optim.Adam, build.cross_entropy, data.parity(), batch_size=128, num_steps=450
    )


def linear_raw_diabetes_sgd() -> Workload:
    """Linear regression on features as they are, of sizes up to 300, of a centred target."""
    table = data.table("diabetes", train=288, scaled=False)
    return build.workload(
        lambda: build.from_zero(nn.Linear(10, 1)), optim.SGD, _column_error, table, batch_size=72, num_steps=400
    )


def _column_error(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
    return functional.mse_loss(model(batch[0])[:, 0], batch[1] - 152.0)


def bag_sgd() -> Workload:
    """Topics from words with plain SGD: each word is rare, so that the LR must be large."""

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.EmbeddingBag(300, 16, mode="mean"), nn.Linear(16, 6)
            nn.init.normal_(self.words.weight, std=0.1)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.head(self.words(words))

    documents = data.documents(words=300, topics=6, length=16, seed=1)
    return build.workload(Bag, optim.SGD, build.cross_entropy, documents, batch_size=64, num_steps=400)


def denoising_digits_momentum() -> Workload:
    """A convolutional network takes noise off images."""

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        images = batch[0]
        return functional.mse_loss(model(images + 0.7 * torch.randn_like(images)), images)

    def model() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 10, 3, padding=1), nn.LeakyReLU(0.1),
            nn.Conv2d(10, 10, 3, padding=1), nn.LeakyReLU(0.1),
            nn.Conv2d(10, 1, 3, padding=1),
        )  # fmt: skip

    return build.workload(model, Momentum, loss, data.digits(images=True), batch_size=16)


class _Vae(nn.Module):
    """Encoder and decoder with 6 latent numbers and one learnt deviation of the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = models.mlp(64, 48, 12), models.mlp(6, 48, 64)
        self.log_std = nn.Parameter(torch.zeros(()))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The negative evidence bound a pixel."""
        mean, log_std = self.encoder(pixels).chunk(2, dim=1)
        given = self.decoder(mean + log_std.exp() * torch.randn_like(mean))
        unlikely = 0.5 * ((pixels - given) / self.log_std.exp()) ** 2 + self.log_std
        divergence = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std)
        return unlikely.mean() + divergence.sum(1).mean() / pixels.shape[1]


def vae_digits_adam() -> Workload:
    """A variational autoencoder of small pixels: the loss falls below zero, with noise of its own."""
    (pixels, _), (valid, _) = data.digits()
    small = data.Split((0.3 * pixels,), (0.3 * valid,))
    return build.workload(_Vae, optim.Adam, lambda model, batch: model(batch[0]), small, batch_size=64, num_steps=400)


def tiny_batch_digits_sgd() -> Workload:
    """Four examples a batch: a noisy loss."""
    return build.workload(
        lambda: models.mlp(64, 48, 10), optim.SGD, build.cross_entropy, data.digits(), batch_size=4, num_steps=500
    )


def full_batch_spirals_nadam() -> Workload:
    """Half of all examples in a batch: hardly any noise."""
    return build.workload(
        lambda: models.mlp(2, 48, 3), optim.NAdam, build.cross_entropy, data.spirals(arms=3, turns=0.7), batch_size=768
    )


def big_targets_adam() -> Workload:
    """Targets of about 1000 with Adam, whose steps do not grow with the loss: the LR must."""
    return build.workload(
        lambda: models.mlp(10, 32, 1),
        optim.Adam,
        build.squared_error,
        data.teacher(scale=1000.0, seed=3),
        batch_size=64,
        num_steps=350,
    )


def contrastive_digits_adam() -> Workload:
    """Two noisy views of an image must find each other among 64 (InfoNCE)."""

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        pixels = batch[0]
        views = torch.cat([pixels + 0.8 * torch.randn_like(pixels) for _ in range(2)])
        one, other = functional.normalize(model(views), dim=1).chunk(2)
        return functional.cross_entropy(one @ other.T / 0.2, torch.arange(len(one)))

    return build.workload(
        lambda: models.mlp(64, 64, 16), optim.Adam, loss, data.digits(), batch_size=64, valid_batch=64, num_steps=300
    )


@cache
def _odd_digits_weights() -> dict[str, torch.Tensor]:
    (pixels, classes), valid = data.digits(images=True)
    odd = classes % 2 == 1
    source = build.workload(
        lambda: models.cnn(8, norm=True),
        optim.Adam,
        build.cross_entropy,
        data.Split((pixels[odd], classes[odd]), valid),
        num_steps=100,
    )
    return build.trained_weights(source, 5e-3)


def finetune_all_digits_groups() -> Workload:
    """A CNN trained on the odd digits learns all: a new head at the full LR, the rest at a tenth of it."""
    weights = _odd_digits_weights()

    def model() -> nn.Module:
        network = build.loaded(models.cnn(8, norm=True), weights)
        network[-1].reset_parameters()
        return network

    def groups(network: Any) -> list[dict[str, Any]]:
        return [
            {"params": network[-1].parameters(), "lr": 1e-3},
            {"params": network[:-1].parameters(), "lr": 1e-4},
        ]

    return build.workload(
        model, Momentum, build.cross_entropy, data.digits(images=True), num_steps=250, param_groups=groups
    )


def factors_adadelta() -> Workload:
    """Matrix factorisation with Adadelta, whose LR is a factor about 1 or more."""
    return build.workload(
        partial(models.Factors, rank=6),
        optim.Adadelta,
        build.rating_error,
        data.ratings(),
        batch_size=64,
        num_steps=450,
    )


TASKS: list[Task] = tasks_of(
    "b",
    [
        mlp_dropout_digits_adamw,
        cnn_digits_adam,
        resnet_digits_nesterov,
        tanh_teacher_sgd,
        transformer_text_adam,
        adding_rnn_adam,
        sigmoid_digits_momentum,
        parity_adam,
        linear_raw_diabetes_sgd,
        bag_sgd,
        denoising_digits_momentum,
        vae_digits_adam,
        tiny_batch_digits_sgd,
        full_batch_spirals_nadam,
        big_targets_adam,
        contrastive_digits_adam,
        finetune_all_digits_groups,
        factors_adadelta,
    ],
)
