"""Tasks made from fixed seeds: modular addition, energies of rings, values of the mountain car, sorting."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch
from lifelike.task import LifelikeTask, family
from tasks import build
from tasks.data import Split
from tasks.models import mlp
from torch import nn, optim
from torch.nn import functional

import lr_search as lrs
from lr_search import Workload

MODULUS = 37
SORTED = 8  # numbers to sort
BOX = 2.5  # half the side of what the rings lie in
ENGINE, WEAKER = 0.0010, 0.0008


@cache
def sums() -> Split:
    """Two numbers (2,) below MODULUS, and their sum modulo that; each pair once."""
    pairs = torch.cartesian_prod(torch.arange(MODULUS), torch.arange(MODULUS))
    pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))]
    answers = pairs.sum(1) % MODULUS
    return Split((pairs[:960], answers[:960]), (pairs[960:], answers[960:]))


class Adder(nn.Module):
    """One vector a number, the two summed, then a hidden layer: (batch, 2) to (batch, MODULUS)."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.numbers, self.perceptron = nn.Embedding(MODULUS, width), mlp(width, 96, MODULUS)

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """See the class."""
        logits: torch.Tensor = self.perceptron(self.numbers(pairs).sum(1))
        return logits


def modular_addition_adamw() -> Workload:
    """960 of 1,369 sums: learnt by heart first, understood late, under strong weight decay."""
    optimizer = partial(optim.AdamW, betas=(0.9, 0.98), weight_decay=1.0)
    return build.workload(Adder, optimizer, build.cross_entropy, sums(), batch_size=64, num_steps=3000)


class Fresh:
    """Batches of a function that draws them, without end."""

    def __init__(self, draw: Callable[[], torch.Tensor]) -> None:
        self.draw = draw

    def __iter__(self) -> Iterator[torch.Tensor]:
        """See the class."""
        while True:
            yield self.draw()


def _fresh(draw: Callable[[int], torch.Tensor], batch_size: int, **settings: Any) -> Workload:
    """A workload on batches that are drawn anew, judged on 1,024 fixed examples."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judged = draw(1024)
    steps: dict[str, Any] = {"num_steps": 3000, "eval_every": 3000, "batch_size": batch_size, "device": "cpu"}
    train = partial(Fresh, partial(draw, batch_size))
    return lrs.Workload(train_data=train, valid_data=lambda: judged.split(512), **steps, **settings)


def _rings(count: int) -> torch.Tensor:
    """Points (count, 2, 2): one of three rings, and one of anywhere in the box."""
    radius = 0.7 * torch.randint(1, 4, (count,)) + 0.06 * torch.randn(count)
    angle = 2 * math.pi * torch.rand(count)
    data = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 1)
    return torch.stack([data, BOX * (2 * torch.rand(count, 2) - 1)], 1)


def energy_rings_lion() -> Workload:
    """The energy of points on rings, told from points anywhere (Gutmann and Hyvarinen 2010), endless data, Lion."""

    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        data, noise = (2 * math.log(2 * BOX) - model(batch)[..., 0]).unbind(1)
        return functional.softplus(-data).mean() + functional.softplus(noise).mean()

    model = partial(mlp, 2, 48, 48, 48, 1, activation=nn.SiLU)
    return _fresh(_rings, 64, model=model, optimizer=lrs.optimizers.by_name("lion"), loss=loss)


class Sorter(nn.Module):
    """Numbers (batch, SORTED) to the log probabilities (batch, SORTED, SORTED) of their places, by what each is against the others.

    Reference:
        Mena et al., "Learning Latent Permutations with Gumbel-Sinkhorn Networks", 2018, arXiv:1802.08665.
    """

    def __init__(self, width: int = 16, rounds: int = 4) -> None:
        super().__init__()
        self.against, self.head, self.rounds = mlp(2, width, width), mlp(width, 32, SORTED), rounds

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """See the class."""
        pairs = torch.stack(torch.broadcast_tensors(numbers[:, :, None], numbers[:, None]), 3)
        places: torch.Tensor = self.head(functional.relu(self.against(pairs)).mean(2))
        for _ in range(self.rounds):
            places = places.log_softmax(1).log_softmax(2)
        return places


def sinkhorn_sorting_sgd() -> Workload:
    """Where each of eight numbers belongs in their order, endless data, plain SGD."""

    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        places = batch.argsort(1).argsort(1)
        return functional.nll_loss(model(batch).flatten(0, 1), places.flatten())

    return _fresh(lambda count: torch.rand(count, SORTED), 32, model=Sorter, optimizer=optim.SGD, loss=loss)


def _driven(place: torch.Tensor, speed: torch.Tensor, engine: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each of three actions brings a car, (..., 3) both (Sutton and Barto, example 10.1)."""
    actions = torch.arange(-1.0, 2.0)
    speed = speed[..., None] + engine * actions - 0.0025 * torch.cos(3 * place[..., None])
    speed = speed.clamp(-0.07, 0.07)
    place = (place[..., None] + speed).clamp(-1.2, 0.6)
    return place, torch.where(place <= -1.2, 0.0, speed)


def _between(values: torch.Tensor, place: torch.Tensor, speed: torch.Tensor) -> torch.Tensor:
    """Values of a grid, interpolated; 0 where the car has arrived."""
    size = len(values) - 1
    row, column = (place + 1.2) / 1.8 * size, (speed + 0.07) / 0.14 * size
    i, j = row.long().clamp(max=size - 1), column.long().clamp(max=size - 1)
    a, b = row - i, column - j
    near = (1 - b) * values[i, j] + b * values[i, j + 1]
    far = (1 - b) * values[i + 1, j] + b * values[i + 1, j + 1]
    return torch.where(place >= 0.5, 0.0, (1 - a) * near + a * far)


@cache
def values_of_actions(engine: float, learnt: int) -> Split:
    """Place and speed (2,) in [-1, 1], and the steps to the hill's top after each action, (3,), discounted by 0.99."""
    place, speed = torch.meshgrid(torch.linspace(-1.2, 0.6, 81), torch.linspace(-0.07, 0.07, 81), indexing="ij")
    driven, values = _driven(place, speed, engine), torch.zeros(81, 81)
    for _ in range(300):
        values = (0.99 * _between(values, *driven) - 1).amax(2)
    places = torch.rand(learnt + 600, 2, generator=torch.Generator().manual_seed(0))
    after = _driven(1.7 * places[:, 0] - 1.2, 0.14 * places[:, 1] - 0.07, engine)
    wanted = 0.99 * _between(values, *after) - 1
    states = 2 * places - 1
    return Split((states[:learnt], wanted[:learnt]), (states[learnt:], wanted[learnt:]))


class Dueling(nn.Module):
    """A value and what each action adds to the mean (Wang et al. 2016, arXiv:1511.06581): (batch, 2) to (batch, 3)."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.body = mlp(2, width, width)
        self.value, self.gains = mlp(width, 24, 1), mlp(width, 24, 3)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """See the class."""
        body = functional.relu(self.body(states))
        gains: torch.Tensor = self.gains(body)
        return self.value(body) + gains - gains.mean(1, keepdim=True)


def _values(engine: float, learnt: int, model: Callable[[], nn.Module], optimizer: Any, num_steps: int) -> Workload:
    huber = build.loss_of(functional.smooth_l1_loss)
    return build.workload(
        model, optimizer, huber, values_of_actions(engine, learnt), num_steps=num_steps, valid_batch=600
    )


@cache
def _driven_before() -> dict[str, torch.Tensor]:
    return build.trained_weights(_values(ENGINE, 4000, Dueling, optim.Adam, 400), 3e-3)


def finetune_mountain_car_momentum() -> Workload:
    """Values of about -40 of a car's actions, known for one engine, for a weaker one from 640 states: 150 passes."""
    weights = _driven_before()
    return _values(
        WEAKER, 640, lambda: build.loaded(Dueling(), weights), partial(optim.SGD, momentum=0.9), num_steps=3000
    )


_family = partial(family, "judge", "made", lengths=(1000, 3000))
TASKS: list[LifelikeTask] = [
    *_family("modular arithmetic", modular_addition_adamw),
    *_family("energies", energy_rings_lion),
    *_family("sorting", sinkhorn_sorting_sgd),
    *_family("values of actions", finetune_mountain_car_momentum),
]
