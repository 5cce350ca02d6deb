"""The judge: kinds, networks and losses that no other set has. Only for judging; nothing is fitted on them."""

from __future__ import annotations

import math
from functools import cache, partial

import torch
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import build, data, models
from .judge_models import (
    Context,
    DirectionLinear,
    Forecaster,
    Graphs,
    Highway,
    Maxout,
    Mixer,
    PooledSets,
    SqueezeExcite,
    Tensor3,
)
from .task import Task, tasks_of

Momentum = partial(optim.SGD, momentum=0.9)


def _cut(train: int, *tensors: torch.Tensor) -> data.Split:
    """The first examples for training, the others for validation."""
    return data.Split(tuple(each[:train] for each in tensors), tuple(each[train:] for each in tensors))


def mixer_digits_adamw() -> Workload:
    """The usual: perceptrons along the rows of an image and across them, AdamW."""
    optimizer = partial(optim.AdamW, weight_decay=0.05)
    return build.workload(Mixer, optimizer, build.cross_entropy, data.digits(images=True), num_steps=250)


def graph_messages_radam() -> Workload:
    """The usual: how many edges of a graph join nodes of one colour, by messages between the nodes, RAdam."""
    generator = torch.Generator().manual_seed(0)
    colours = functional.one_hot(torch.randint(3, (2400, 8), generator=generator), 3).float()
    upper = (torch.rand(2400, 8, 8, generator=generator) < 0.35).float().triu(1)
    edges = upper + upper.transpose(1, 2)
    joined = (edges * (colours @ colours.transpose(1, 2))).sum((1, 2))[:, None]
    split = _cut(2048, colours, edges, (joined - joined.mean()) / joined.std())

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        return functional.mse_loss(model(*batch[:2]), batch[2])

    return build.workload(partial(Graphs, 3), optim.RAdam, loss, split)


def squeeze_excite_digits_nesterov() -> Workload:
    """The usual: depthwise convolutions with gated channels, SGD with Nesterov's momentum."""

    def model() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Conv2d(12, 24, 1), SqueezeExcite(24), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 10),
        )  # fmt: skip

    optimizer = partial(optim.SGD, momentum=0.9, nesterov=True, weight_decay=1e-4)
    return build.workload(model, optimizer, build.cross_entropy, data.digits(images=True), batch_size=24)


def highway_quantiles_adamax() -> Workload:
    """The usual: three quantiles of a noisy target (pinball loss) by a highway network, Adamax."""
    levels = torch.tensor([0.1, 0.5, 0.9])

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 24), *[Highway(24) for _ in range(3)], nn.Linear(24, 3))

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        above = batch[1] - model(batch[0])
        return torch.maximum(levels * above, (levels - 1) * above).mean()

    return build.workload(
        model, optim.Adamax, loss, data.teacher(features=8, noise=0.25, scale=3.0, seed=7), num_steps=350
    )


def forecast_lstm_momentum() -> Workload:
    """The usual: the next value of a noisy wave after each one, SGD with momentum and clipped gradients."""
    generator = torch.Generator().manual_seed(0)
    speed, phase = (
        0.3 + torch.rand(1920, 1, generator=generator),
        2 * math.pi * torch.rand(1920, 1, generator=generator),
    )
    waves = torch.sin(speed * torch.arange(15) + phase) + 0.1 * torch.randn(1920, 15, generator=generator)

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        return functional.mse_loss(model(batch[0][:, :-1]), batch[0][:, 1:])

    return build.workload(Forecaster, Momentum, loss, _cut(1536, waves), clip_norm=1.0)


def survival_maxout_sgd() -> Workload:
    """The usual: who dies sooner (Cox's partial likelihood within a batch, a third are censored), plain SGD."""
    (inputs, hazards), (valid_inputs, valid_hazards) = data.teacher(features=10, noise=0.0, scale=2.0, seed=8)
    inputs, hazards = torch.cat([inputs, valid_inputs]), torch.cat([hazards, valid_hazards])[:, 0]
    generator = torch.Generator().manual_seed(0)
    times = -torch.rand(len(inputs), generator=generator).clamp(min=1e-6).log() / hazards.exp()
    died = (torch.rand(len(inputs), generator=generator) < 0.67).float()

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        latest = batch[1].argsort(descending=True)
        risks, died = model(batch[0])[latest, 0], batch[2][latest]
        return (died * (risks.logcumsumexp(0) - risks)).sum() / died.sum()

    return build.workload(
        lambda: nn.Sequential(Maxout(10, 24), nn.Linear(24, 1)),
        optim.SGD,
        loss,
        _cut(2048, inputs, times, died),
        batch_size=64,
        num_steps=400,
        valid_batch=64,
    )


@cache
def _wise_answers() -> tuple[torch.Tensor, torch.Tensor]:
    """The logits of a trained network, for training and validation."""

    def wise() -> nn.Module:
        return models.mlp(64, 64, 64, 10)

    weights = build.trained_weights(build.workload(wise, optim.Adam, build.cross_entropy, data.digits()), 3e-3)
    model, (train, valid) = build.loaded(wise(), weights), data.digits()
    return model(train[0]).detach(), model(valid[0]).detach()


def distilled_digits_rmsprop() -> Workload:
    """The usual: a small network with weight normalisation learns a larger one's softened answers, RMSprop."""
    (pixels, classes), (valid, valid_classes) = data.digits()
    answers, valid_answers = _wise_answers()

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        given = model(batch[0])
        soft = functional.kl_div(
            (given / 4).log_softmax(1), (batch[2] / 4).log_softmax(1), reduction="batchmean", log_target=True
        )
        return 16 * soft + 0.5 * functional.cross_entropy(given, batch[1])

    return build.workload(
        lambda: nn.Sequential(DirectionLinear(64, 20), nn.ReLU(), DirectionLinear(20, 10)),
        optim.RMSprop,
        loss,
        data.Split((pixels, classes, answers), (valid, valid_classes, valid_answers)),
        batch_size=16,
    )


def tensor_factors_small_sgd() -> Workload:
    """A table of three indices from small vectors, the error times 0.05: a plateau first, then a fall; the LR must be large."""
    generator = torch.Generator().manual_seed(0)
    first, second, third = torch.randn(3, 16, 3, generator=generator)
    places = torch.randint(16, (6500, 3), generator=generator)
    values = (first[places[:, 0]] * second[places[:, 1]] * third[places[:, 2]]).sum(1) / 1.7
    values = values + 0.1 * torch.randn(6500, generator=generator)

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        return 0.05 * functional.mse_loss(model(batch[0]), batch[1])

    return build.workload(
        partial(Tensor3, 16, 6, 0.25), optim.SGD, loss, _cut(6000, places, values),
        batch_size=256, num_steps=450,
    )  # fmt: skip


def context_words_sparse_adagrad() -> Workload:
    """The word in the middle of six others of its group, with sparse gradients and Adagrad."""
    generator = torch.Generator().manual_seed(0)
    group = torch.randint(12, (4608, 1), generator=generator)
    stray = torch.randint(12, (4608, 7), generator=generator)
    astray = torch.rand(4608, 7, generator=generator) < 0.25
    within = (12 * torch.rand(4608, 7, generator=generator) ** 2).long()
    words = torch.where(astray, stray, group) * 12 + within
    return build.workload(
        partial(Context, 144), optim.Adagrad, build.cross_entropy, _cut(4096, words[:, 1:], words[:, 0]), batch_size=64
    )


def polynomial_momentum() -> Workload:
    """Ridge regression on raw powers and products of two numbers to 10, SGD with momentum: a tiny LR is needed."""
    generator = torch.Generator().manual_seed(0)
    x, y = 20 * torch.rand(2, 2560, generator=generator) - 10
    features = torch.stack([x**i * y**j for i in range(4) for j in range(4 - i)], 1)
    targets = (x * y + x**2 - y**2) / 50 + x**3 / 2000 + 0.2 * torch.randn(2560, generator=generator)
    return build.workload(
        lambda: build.from_zero(nn.Linear(10, 1)),
        partial(Momentum, weight_decay=1e-2),
        build.squared_error,
        _cut(2048, features, targets[:, None]),
        batch_size=128,
        num_steps=400,
    )


def mixture_density_adamw() -> Workload:
    """The density of what has several answers, by four normal ones in a small frame: below zero."""
    generator = torch.Generator().manual_seed(0)
    answers = torch.rand(2560, 1, generator=generator)
    asked = answers + 0.3 * torch.sin(2 * math.pi * answers) + 0.03 * torch.randn(2560, 1, generator=generator)

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        shares, means, log_std = model(batch[0]).chunk(3, dim=1)
        each = -0.5 * ((batch[1] - means) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
        return -(shares.log_softmax(1) + each).logsumexp(1).mean()

    return build.workload(
        lambda: models.mlp(1, 32, 12, activation=nn.Tanh),
        optim.AdamW,
        loss,
        _cut(2048, 4 * asked - 2, 0.3 * answers),
        batch_size=64,
        num_steps=400,
    )


@cache
def _digit_sets() -> data.Split:
    """Four digits' pixels (4, 64), which of the ten there are (10,), and the largest."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for (pixels, classes), count in zip(data.digits(), (2048, 448), strict=True):
        chosen = torch.randint(len(pixels), (count, 4), generator=generator)
        there = functional.one_hot(classes[chosen], 10).amax(1).float()
        parts.append((pixels[chosen], there, classes[chosen].amax(1)))
    return data.Split(*parts)


@cache
def _sets_weights() -> dict[str, torch.Tensor]:
    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(model(batch[0]), batch[1])

    source = build.workload(partial(PooledSets, 64, 10), optim.Adam, loss, _digit_sets(), num_steps=400)
    return build.trained_weights(source, 5e-3)


def finetune_sets_adam() -> Workload:
    """A network that tells which digits are in a set learns to tell the largest: a new head, with dropout."""
    weights = _sets_weights()

    def model() -> nn.Module:
        new = PooledSets(64, 10, dropout=0.2)
        kept = {name: value for name, value in weights.items() if not name.startswith("head")}
        new.load_state_dict(new.state_dict() | kept)
        return new

    def loss(model: nn.Module, batch: data.Tensors) -> torch.Tensor:
        return functional.cross_entropy(model(batch[0]), batch[2])

    return build.workload(model, optim.Adam, loss, _digit_sets(), num_steps=250)


TASKS: list[Task] = tasks_of(
    "judge",
    [
        mixer_digits_adamw,
        graph_messages_radam,
        squeeze_excite_digits_nesterov,
        highway_quantiles_adamax,
        forecast_lstm_momentum,
        survival_maxout_sgd,
        distilled_digits_rmsprop,
        tensor_factors_small_sgd,
        context_words_sparse_adagrad,
        polynomial_momentum,
        mixture_density_adamw,
        finetune_sets_adam,
    ],
)
