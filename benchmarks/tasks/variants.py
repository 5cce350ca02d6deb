"""Tasks drawn at random from kinds like those of sets a and b, to fit rules on more than a few dozen: `variant(number)`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import build, data, fit_a, models

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": optim.SGD,
    "momentum": partial(optim.SGD, momentum=0.9),
    "nesterov": partial(optim.SGD, momentum=0.9, nesterov=True, weight_decay=5e-4),
    "adam": optim.Adam,
    "adamw": partial(optim.AdamW, weight_decay=0.05),
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
    "nadam": optim.NAdam,
}
SHARES = [0.22, 0.2, 0.07, 0.18, 0.1, 0.08, 0.1, 0.05]
ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU]
NORMS: list[Callable[[int], nn.Module] | None] = [None, None, None, nn.BatchNorm1d, nn.LayerNorm]
KINDS = {
    "mlp": 0.3, "cnn": 0.1, "regression": 0.15, "residual": 0.08, "letters": 0.06, "factors": 0.06, "autoencoder": 0.07,
    "likelihood": 0.05, "raw": 0.08, "finetune": 0.05,
}  # fmt: skip

Draw = np.random.Generator
Part = tuple[Callable[[], nn.Module], build.Loss, data.Split]


def variant(number: int) -> tuple[str, Workload]:
    """The task of that number, and what it is called."""
    draw = np.random.default_rng([7, number])
    kind = str(draw.choice(list(KINDS), p=list(KINDS.values())))
    optimizer = str(draw.choice(list(OPTIMIZERS), p=SHARES))
    model, loss, split = PARTS[kind](draw)
    settings: dict[str, Any] = {
        "batch_size": int(draw.choice([8, 16, 32, 32, 64])),
        "num_steps": int(draw.choice([200, 250, 300, 350, 400])),
        "clip_norm": 1.0 if draw.random() < 0.12 else None,
    }
    if draw.random() < 0.25:
        loss = times(loss, float(10 ** draw.uniform(-2.5, 2)))
    return f"{number}_{kind}_{optimizer}", build.workload(model, OPTIMIZERS[optimizer], loss, split, **settings)


def times(loss: build.Loss, factor: float) -> build.Loss:
    """The loss on another scale."""
    return lambda model, batch: factor * loss(model, batch)


def _layers(draw: Draw) -> dict[str, Any]:
    return {
        "activation": ACTIVATIONS[draw.integers(len(ACTIVATIONS))],
        "norm": NORMS[draw.integers(len(NORMS))],
        "dropout": float(draw.choice([0.0, 0.0, 0.2])),
    }


def _hidden(draw: Draw, deepest: int = 5) -> list[int]:
    return [int(draw.choice([16, 32, 64]))] * int(draw.integers(1, deepest + 1))


def _classes(draw: Draw) -> tuple[data.Split, int, int]:
    sets: list[Callable[[], tuple[data.Split, int, int]]] = [
        lambda: (data.digits(), 64, 10),
        lambda: (data.digits(), 64, 10),
        lambda: (data.table("breast_cancer", train=384), 30, 2),
        lambda: (data.table("wine", train=120), 13, 3),
        lambda: (data.spirals(), 2, 3),
        lambda: (data.parity(8, 2), 8, 2),
    ]
    return sets[draw.integers(len(sets))]()


def _mlp(draw: Draw) -> Part:
    split, features, classes = _classes(draw)
    sizes, layers = [features, *_hidden(draw), classes], _layers(draw)
    smoothing = float(draw.choice([0.0, 0.0, 0.1]))
    loss = build.loss_of(functional.cross_entropy, label_smoothing=smoothing)
    return lambda: models.mlp(*sizes, **layers), loss, split


def _cnn(draw: Draw) -> Part:
    channels, norm = int(draw.choice([4, 6, 8])), bool(draw.random() < 0.5)
    return lambda: models.cnn(channels, norm=norm), build.cross_entropy, data.digits(images=True)


def _regression(draw: Draw) -> Part:
    features, scale = int(draw.choice([4, 10, 20])), float(10 ** draw.uniform(-1, 2))
    split = data.teacher(features=features, noise=float(draw.choice([0.05, 0.3])), scale=scale, seed=5)
    sizes, layers = [features, *_hidden(draw, 4), 1], _layers(draw)
    criterion = functional.huber_loss if draw.random() < 0.3 else functional.mse_loss
    return lambda: models.mlp(*sizes, **layers), build.loss_of(criterion), split


def _residual(draw: Draw) -> Part:
    split, features, classes = _classes(draw)
    width, depth, activation = int(draw.choice([24, 48])), int(draw.integers(1, 4)), ACTIVATIONS[draw.integers(4)]
    norm = bool(draw.random() < 0.6)

    def model() -> nn.Module:
        bodies = [
            nn.Sequential(
                nn.LayerNorm(width) if norm else nn.Identity(),
                models.mlp(width, width, width, activation=activation),
            )
            for _ in range(depth)
        ]
        return nn.Sequential(nn.Linear(features, width), *map(models.Residual, bodies), nn.Linear(width, classes))

    return model, build.cross_entropy, split


def _letters(draw: Draw) -> Part:
    kind = [nn.GRU, nn.RNN, None][draw.integers(3)]
    model = models.CharTransformer if kind is None else partial(models.CharRNN, kind)
    return model, build.next_letter, data.text(words=int(draw.choice([20, 60])), length=12, seed=3)


def _factors(draw: Draw) -> Part:
    rank = int(draw.choice([4, 12]))
    return lambda: models.Factors(rank=rank), build.rating_error, data.ratings()


def _autoencoder(draw: Draw) -> Part:
    width, activation = int(draw.choice([4, 12])), ACTIVATIONS[draw.integers(4)]
    return lambda: models.mlp(64, 48, width, 48, 64, activation=activation), build.reconstruction, data.digits()


def _likelihood(draw: Draw) -> Part:
    split = data.teacher(
        features=6, noise=float(draw.choice([0.02, 0.1])), scale=float(draw.choice([0.1, 1.0])), seed=6
    )
    activation = ACTIVATIONS[draw.integers(4)]
    return lambda: models.mlp(6, 48, 2, activation=activation), build.gaussian_nll, split


def _raw(draw: Draw) -> Part:
    name = str(draw.choice(["breast_cancer", "wine"]))
    features, classes, train = {"breast_cancer": (30, 2, 384), "wine": (13, 3, 120)}[name]
    split = data.table(name, train=train, scaled=False)
    return lambda: build.from_zero(nn.Linear(features, classes)), build.cross_entropy, split


def _finetune(draw: Draw) -> Part:
    """A trained network goes on with its inputs turned about."""
    weights = fit_a._digits_weights()
    (pixels, classes), (valid_pixels, valid_classes) = data.digits()
    order = draw.permutation(64)[: int(draw.choice([16, 40, 64]))]
    turned = [each.clone() for each in (pixels, valid_pixels)]
    for each in turned:
        each[:, order] = each[:, np.sort(order)]
    split = data.Split((turned[0], classes), (turned[1], valid_classes))
    return lambda: build.loaded(models.mlp(64, 48, 48, 10), weights), build.cross_entropy, split


PARTS: dict[str, Callable[[Draw], Part]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "regression": _regression,
    "residual": _residual,
    "letters": _letters,
    "factors": _factors,
    "autoencoder": _autoencoder,
    "likelihood": _likelihood,
    "raw": _raw,
    "finetune": _finetune,
}
