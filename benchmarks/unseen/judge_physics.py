"""Tasks of physics: Burgers' equation by its residual, Henon and Heiles' Hamiltonian, a driven pendulum by an operator network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, partial

import torch
from lifelike.task import LifelikeTask, family
from tasks import build
from tasks.data import Split, Tensors
from tasks.models import mlp
from torch import nn, optim

import lr_search as lrs
from lr_search import Workload

VISCOSITY = 0.05
SENSORS = 24


class Derived(nn.Module):
    """u(x, t) by a tanh network, with u_x, u_t and u_xx carried through its layers: (points, 2) to four of (points,)."""

    def __init__(self, width: int = 24, depth: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width if i else 2, width) for i in range(depth))
        for layer in self.layers:
            nn.init.xavier_normal_(layer.weight)
        self.head = nn.Linear(width, 1)

    def forward(self, points: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        u, u_xx = points, torch.zeros_like(points)
        u_x, u_t = (torch.eye(2, dtype=points.dtype)[at].expand_as(points) for at in (0, 1))
        for layer in self.layers:
            weight = layer.weight.T
            u_x, u_t, u_xx = u_x @ weight, u_t @ weight, u_xx @ weight
            u = torch.tanh(layer(u))
            slope = 1 - u**2
            u_xx = slope * u_xx - 2 * u * slope * u_x**2
            u_x, u_t = slope * u_x, slope * u_t
        weight = self.head.weight[0]
        return self.head(u)[:, 0], u_x @ weight, u_t @ weight, u_xx @ weight


class Points:
    """Points (many, 2) of x in [-1, 1] and t in [0, 1], drawn anew in each batch, without end."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        """See the class."""
        while True:
            yield torch.rand(64, 2)


def burgers_adam() -> Workload:
    """u_t + u u_x = v u_xx from -sin(pi x), zero at the ends: what is left of it at fresh points, and of its edges."""

    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        x, t = (2 * batch[:, 0] - 1), batch[:, 1]
        u, u_x, u_t, u_xx = model(torch.stack([x, t], 1))
        begun = model(torch.stack([x, torch.zeros_like(x)], 1))[0]
        ends = model(torch.stack([torch.where(x > 0, 1.0, -1.0), t], 1))[0]
        left = u_t + u * u_x - VISCOSITY * u_xx
        return (left**2).mean() + 5 * ((begun + torch.sin(math.pi * x)) ** 2).mean() + 5 * (ends**2).mean()

    points = torch.rand(1024, 2, generator=torch.Generator().manual_seed(0))
    return lrs.Workload(
        model=Derived,
        optimizer=optim.Adam,
        loss=loss,
        train_data=Points,
        valid_data=lambda: points.split(512),
        num_steps=3000,
        eval_every=3000,
        batch_size=64,
        device="cpu",
    )


class Energy(nn.Module):
    """d state / d time (batch, 4) by a learnt energy of places and momenta (batch, 4): its slopes, turned.

    Reference:
        Greydanus et al., "Hamiltonian Neural Networks", 2019, arXiv:1906.01563.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, width), nn.Linear(width, width)
        self.out = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """See the class."""
        hidden = torch.tanh(self.first(state))
        last = torch.tanh(self.second(hidden))
        slopes = (self.out * (1 - last**2)) @ self.second.weight
        places, momenta = ((slopes * (1 - hidden**2)) @ self.first.weight).chunk(2, dim=1)
        return torch.cat([momenta, -places], 1)


@cache
def henon_heiles() -> Split:
    """States (4,) and how they change, with some noise in training: H = (p^2 + q^2) / 2 + x^2 y - y^3 / 3."""
    generator = torch.Generator().manual_seed(0)
    x, y, p, q = states = 1.6 * torch.rand(4, 1312, generator=generator) - 0.8
    change = torch.stack([p, q, -x - 2 * x * y, -y - x**2 + y**2], 1)
    noisy = change + 0.05 * torch.randn(1312, 4, generator=generator)
    return Split((states.T[:800], noisy[:800]), (states.T[800:], change[800:]))


def hamiltonian_nesterov() -> Workload:
    """The energy of two coupled oscillators from 800 noisy changes, 188 passes, by SGD with Nesterov's momentum."""
    optimizer = partial(optim.SGD, momentum=0.9, nesterov=True)
    return build.workload(Energy, optimizer, build.squared_error, henon_heiles(), batch_size=50, num_steps=3000)


@cache
def driven_pendulum() -> Split:
    """The push at SENSORS times (SENSORS,), a time (1,) and the angle then (1,); no push is on both sides."""
    generator = torch.Generator().manual_seed(0)
    count, steps, span = 2240, 120, 3.0
    speeds = 3 * torch.randn(count, 12, 1, generator=generator)
    phases = 2 * math.pi * torch.rand(count, 12, 1, generator=generator)

    def push(time: torch.Tensor) -> torch.Tensor:  # (times,) -> (count, times)
        return torch.cos(speeds * time + phases).sum(1) / math.sqrt(3)

    def change(time: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return torch.stack([state[1], -2 * torch.sin(state[0]) + push(time)[:, 0]])

    state, step = torch.zeros(2, count), span / steps
    angles = [state[0]]
    for number in range(steps):
        time = torch.tensor([(number + 0.5) * step])
        middle = state + 0.5 * step * change(time - 0.5 * step, state)
        state = state + step * change(time, middle)
        angles.append(state[0])
    asked = torch.randint(1, steps + 1, (count, 40), generator=generator)
    answers = torch.stack(angles, 1).gather(1, asked)
    pushes = push(torch.linspace(0, span, SENSORS))

    def side(some: slice, times: slice) -> Tensors:
        many = asked[some, times].shape[1]
        at = 2 * asked[some, times].reshape(-1, 1) / steps - 1
        return pushes[some].repeat_interleave(many, 0), at.float(), answers[some, times].reshape(-1, 1)

    return Split(side(slice(0, 1600), slice(0, 40)), side(slice(1600, count), slice(0, 2)))


class Operator(nn.Module):
    """A product of what is seen of a function and of where it is asked for (Lu et al., "DeepONet", 2019, arXiv:1910.03193)."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.branch, self.trunk = mlp(SENSORS, width, width, width), mlp(1, width, width, activation=nn.Tanh)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, seen: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """(batch, SENSORS) and (batch, 1) to (batch, 1)."""
        product: torch.Tensor = self.branch(seen) * torch.tanh(self.trunk(asked))
        return product.sum(1, keepdim=True) + self.bias


def operator_pendulum_adamw() -> Workload:
    """The angle of a pendulum at any time from the push that drives it: 64,000 examples, three passes."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        return nn.functional.mse_loss(model(*batch[:2]), batch[2])

    return build.workload(
        Operator, optim.AdamW, loss, driven_pendulum(), batch_size=64, num_steps=3000, valid_batch=1280
    )


_family = partial(family, "judge", "made", lengths=(1000, 3000))
TASKS: list[LifelikeTask] = [
    *_family("residuals of equations", burgers_adam),
    *_family("Hamiltonians", hamiltonian_nesterov),
    *_family("operators", operator_pendulum_adamw),
]
