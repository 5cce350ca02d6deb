"""Set c: sixteen tasks to fit rules on, of kinds that sets a and b do not have. They judged the first fit."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import build, data, models
from .models_c import Experts, Flow, RowTransformer, Sets, Sine, SkipGram
from .task import Task, tasks_of

Momentum = partial(optim.SGD, momentum=0.9)


def conv1d_digits_adamw() -> Workload:
    """The usual: one-dimensional convolutions with GroupNorm over the rows."""
    (images, classes), (valid, valid_classes) = data.digits(images=True)
    rows = data.Split((images[:, 0], classes), (valid[:, 0], valid_classes))

    def model() -> nn.Module:
        return nn.Sequential(
            nn.Conv1d(8, 24, 3, padding=1), nn.GroupNorm(4, 24), nn.SiLU(),
            nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(48, 10),
        )  # fmt: skip

    return build.workload(model, partial(optim.AdamW, weight_decay=0.02), build.cross_entropy, rows, num_steps=320)


def row_transformer_accumulated_adam() -> Workload:
    """The usual: attention over rows; two batches a step and clipped gradients."""
    return build.workload(
        RowTransformer,
        partial(optim.Adam, weight_decay=1e-4),
        build.loss_of(functional.cross_entropy, label_smoothing=0.05),
        data.digits(images=True),
        batch_size=16,
        num_steps=250,
        accumulate=2,
        clip_norm=2.0,
    )


def lstm_text_rmsprop() -> Workload:
    """The usual: an LSTM on letters, RMSprop with momentum."""
    return build.workload(
        partial(models.CharRNN, nn.LSTM),
        partial(optim.RMSprop, momentum=0.9),
        build.next_letter,
        data.text(words=60, length=10, seed=2),
        batch_size=24,
        num_steps=320,
    )


def point_sets_momentum() -> Workload:
    """The usual: the largest distance in a set of points from its middle, SGD with momentum."""
    points = torch.randn(2560, 6, 2, generator=torch.Generator().manual_seed(0))
    reach = (points - points.mean(1, keepdim=True)).norm(dim=2).amax(1, keepdim=True)
    reach = (reach - reach.mean()) / reach.std()
    return build.workload(
        Sets, Momentum, build.squared_error, data.Split((points[:2048], reach[:2048]), (points[2048:], reach[2048:])),
        batch_size=64, num_steps=500,
    )  # fmt: skip


def experts_teacher_adamax() -> Workload:
    """The usual: a mixture of experts on a regression under the Huber loss, Adamax."""
    return build.workload(
        partial(Experts, 12),
        optim.Adamax,
        build.loss_of(functional.huber_loss),
        data.teacher(features=12, noise=0.3, seed=4),
        batch_size=48,
        num_steps=420,
    )


def wide_wine_sgd() -> Workload:
    """The usual: a wide network on a small table, plain SGD with weight decay."""
    return build.workload(
        lambda: models.mlp(13, 256, 3, activation=nn.Softplus),
        partial(optim.SGD, weight_decay=1e-3),
        build.cross_entropy,
        data.table("wine", train=89),
        batch_size=16,
        num_steps=260,
    )


def iris_margin_adam() -> Workload:
    """The usual: a margin loss on a small table, Adam."""
    return build.workload(
        lambda: models.mlp(4, 24, 24, 3, activation=nn.ELU),
        optim.Adam,
        build.loss_of(functional.multi_margin_loss),
        data.table("iris", train=75),
        batch_size=15,
        num_steps=260,
    )


def pairs_digits_nesterov() -> Workload:
    """Digits of one class must lie together, others at least 1 apart (pairwise margin loss)."""

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        pixels, classes = batch
        places = model(pixels)
        apart = (places[:, None] - places[None]).pow(2).sum(2)
        same = (classes[:, None] == classes[None]).float()
        beyond = (1.0 - (apart + 1e-6).sqrt()).clamp(min=0) ** 2
        return (same * apart).sum() / same.sum() + ((1 - same) * beyond).sum() / (1 - same).sum()

    optimizer = partial(optim.SGD, momentum=0.9, nesterov=True)
    return build.workload(
        lambda: models.mlp(64, 48, 8, activation=nn.Tanh), optimizer, loss, data.digits(), batch_size=40, valid_batch=40
    )


def flow_moons_adam() -> Workload:
    """A normalising flow's negative log likelihood of points in a small frame: below zero."""
    (points,), (valid,) = data.moons()
    small = data.Split((0.4 * points,), (0.4 * valid,))
    return build.workload(
        Flow, optim.Adam, lambda model, batch: model(batch[0]).mean(), small, batch_size=128, num_steps=400
    )


def sine_image_adam() -> Workload:
    """A network of sines learns a picture, colour from place: a low LR is needed."""
    grid = torch.linspace(-1, 1, 48)
    places = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), 2).reshape(-1, 2)
    x, y = places.T
    colour = (torch.sin(9 * x * y) + torch.cos(7 * (x**2 + y)) + torch.sign(x + y**2 - 0.3))[:, None] / 1.5
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(0))
    learnt, kept = order[:1792], order[1792:]

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 48), Sine(8.0), nn.Linear(48, 48), Sine(8.0), nn.Linear(48, 1))

    picture = data.Split((places[learnt], colour[learnt]), (places[kept], colour[kept]))
    return build.workload(model, optim.Adam, build.squared_error, picture, batch_size=128, num_steps=400)


def skipgram_sparse_sgd() -> Workload:
    """Which words stand together, with sparse gradients and plain SGD: the LR must be large."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.randint(10, (200,), generator=generator)
    pairs = torch.randint(200, (9728, 2), generator=generator)
    chance = torch.where(groups[pairs[:, 0]] == groups[pairs[:, 1]], 0.95, 0.08)
    together = (torch.rand(9728, generator=generator) < chance).float()
    return build.workload(
        SkipGram,
        optim.SGD,
        build.loss_of(functional.binary_cross_entropy_with_logits),
        data.Split((pairs[:9216], together[:9216]), (pairs[9216:], together[9216:])),
        batch_size=256,
        num_steps=450,
    )


def poisson_raw_sgd() -> Workload:
    """Counts from features of sizes to 300, with their logarithms linear in them: a tiny LR is needed."""
    generator = torch.Generator().manual_seed(0)
    features = 300 * torch.rand(2560, 6, generator=generator)
    rates = (features @ torch.tensor([0.004, -0.003, 0.002, 0.001, -0.003, 0.004])).exp()
    counts = torch.poisson(rates, generator=generator)
    return build.workload(
        lambda: build.from_zero(nn.Linear(6, 1)),
        optim.SGD,
        lambda model, batch: functional.poisson_nll_loss(model(batch[0])[:, 0], batch[1]),
        data.Split((features[:2048], counts[:2048]), (features[2048:], counts[2048:])),
        num_steps=350,
    )


def big_targets_absolute_rmsprop() -> Workload:
    """Targets of about 1000 under the absolute error, RMSprop: the LR must grow with them."""
    return build.workload(
        lambda: models.mlp(10, 24, 24, 1, activation=nn.LeakyReLU),
        optim.RMSprop,
        build.loss_of(functional.l1_loss),
        data.teacher(scale=1000.0, seed=5),
        num_steps=350,
    )


def small_loss_conv_sgd() -> Workload:
    """A strided CNN on images of raw pixels, the loss times 0.03."""

    def model() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 8, 4, stride=2, padding=1), nn.ELU(), nn.Conv2d(8, 16, 4, stride=2, padding=1), nn.ELU(),
            nn.Flatten(), nn.Linear(64, 10),
        )  # fmt: skip

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        return 0.03 * functional.cross_entropy(model(batch[0] / 16), batch[1])

    return build.workload(model, optim.SGD, loss, data.digits(images=True, scaled=False), num_steps=400)


def deep_linear_momentum() -> Workload:
    """Five linear layers from small weights learn a map: a saddle at the start, then steps."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2048, 16, generator=generator) * torch.logspace(0.2, -1.2, 16)
    left, right = torch.randn(16, 3, generator=generator), torch.randn(3, 8, generator=generator)
    targets = inputs @ left @ right / 3

    def model() -> nn.Module:
        layers = [nn.Linear(16, 24, bias=False), *[nn.Linear(24, 24, bias=False) for _ in range(3)]]
        layers.append(nn.Linear(24, 8, bias=False))
        for layer in layers:
            nn.init.normal_(layer.weight, std=0.5 / layer.in_features**0.5)
        return nn.Sequential(*layers)

    split = data.Split((inputs[:1536], targets[:1536]), (inputs[1536:], targets[1536:]))
    return build.workload(model, Momentum, build.squared_error, split, batch_size=64, num_steps=450)


_letters = partial(models.CharRNN, nn.LSTM, width=32)


@cache
def _text_weights() -> dict[str, torch.Tensor]:
    source = build.workload(_letters, optim.Adam, build.next_letter, data.text(seed=3), batch_size=16, num_steps=100)
    return build.trained_weights(source, 1e-2)


def finetune_text_sgd() -> Workload:
    """A character model goes on with a text of other words; the embedding learns at ten times the LR of the rest."""
    weights = _text_weights()

    def groups(model: Any) -> list[dict[str, Any]]:
        return [
            {"params": [*model.recurrent.parameters(), *model.head.parameters()], "lr": 1e-3},
            {"params": model.embedding.parameters(), "lr": 1e-2},
        ]

    return build.workload(
        lambda: build.loaded(_letters(), weights),
        optim.SGD,
        build.next_letter,
        data.text(seed=4),
        batch_size=16,
        num_steps=250,
        param_groups=groups,
    )


TASKS: list[Task] = tasks_of(
    "c",
    [
        conv1d_digits_adamw,
        row_transformer_accumulated_adam,
        lstm_text_rmsprop,
        point_sets_momentum,
        experts_teacher_adamax,
        wide_wine_sgd,
        iris_margin_adam,
        pairs_digits_nesterov,
        flow_moons_adam,
        sine_image_adam,
        skipgram_sparse_sgd,
        poisson_raw_sgd,
        big_targets_absolute_rmsprop,
        small_loss_conv_sgd,
        deep_linear_momentum,
        finetune_text_sgd,
    ],
)
