"""What benchmarks/schedules.py trains: five small tasks, and every schedule from one and the same peak LR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from tasks import data, models
from torch import nn, optim

import lr_search as lrs
from lr_search.controllers import Controller
from lr_search.schedules import Constant, Linear, Schedule, Triangular, by_name, join

NUM_STEPS, EVAL_EVERY = 1000, 20
NOISE = 1.0  # of the noisy digits' pixels, whose own deviation is 1
Momentum = partial(optim.SGD, momentum=0.9)
Layout = Callable[[float, int, float], Schedule | Controller]  # (peak LR, number of steps, steps per epoch)


class Noisy(nn.Module):
    """A network that sees fresh noise on its inputs in every training step: it cannot learn the examples by heart."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, 1, 8, 8) -> (batch, 10)."""
        return self.body(inputs + NOISE * torch.randn_like(inputs) if self.training else inputs)


def _classified(
    model: Callable[[], nn.Module], optimizer: Callable[..., optim.Optimizer], split: data.Split
) -> lrs.Workload:
    return lrs.classification(
        model=model, optimizer=optimizer, train=split.train, valid=split.valid, num_steps=NUM_STEPS, eval_every=EVAL_EVERY,
        device="cpu",
    )  # fmt: skip


def digits_cnn_momentum() -> lrs.Workload:
    """A small CNN on digits, SGD with momentum."""
    return _classified(models.cnn, Momentum, data.digits(images=True))


def digits_cnn_bn_sgd() -> lrs.Workload:
    """A CNN with BatchNorm, plain SGD."""
    return _classified(lambda: models.cnn(norm=True), optim.SGD, data.digits(images=True))


def digits_mlp_adam() -> lrs.Workload:
    """A shallow perceptron, Adam."""
    return _classified(lambda: models.mlp(64, 64, 10), optim.Adam, data.digits())


def noisy_digits_momentum() -> lrs.Workload:
    """Digits under noise as large as they are, fresh at every step; judged under fixed noise."""
    clean = data.digits(images=True)
    images, classes = (part.repeat(4, *[1] * (part.ndim - 1)) for part in clean.valid)
    images = images + NOISE * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return _classified(lambda: Noisy(models.cnn()), Momentum, data.Split(clean.train, (images, classes)))


def teacher_residual_adamw() -> lrs.Workload:
    """Residual blocks with LayerNorm on a noisy regression, AdamW."""

    def model() -> nn.Module:
        blocks = [nn.Sequential(nn.LayerNorm(32), models.mlp(32, 32, 32, activation=nn.GELU)) for _ in range(2)]
        return nn.Sequential(nn.Linear(10, 32), *map(models.Residual, blocks), nn.Linear(32, 1))

    split = data.teacher(noise=0.3)
    return lrs.regression(
        model=model, optimizer=partial(optim.AdamW, weight_decay=0.05), train=split.train, valid=split.valid,
        num_steps=NUM_STEPS, eval_every=EVAL_EVERY, device="cpu",
    )  # fmt: skip


TASKS: dict[str, Callable[[], lrs.Workload]] = {
    make.__name__: make
    for make in (digits_cnn_momentum, digits_cnn_bn_sgd, digits_mlp_adam, noisy_digits_momentum, teacher_residual_adamw)
}


def down_then_min(peak: float, num_steps: int, steps_per_epoch: float) -> Schedule:
    """The CLR paper's own control: the first half cycle's way down, from max to min, then min."""
    cycles = by_name("triangular", peak, num_steps, steps_per_epoch)
    assert isinstance(cycles, Triangular)
    half = round(cycles.step_size)
    return join([Linear(peak, half, cycles.base_lr), Constant(cycles.base_lr)], [half])


def _named(name: str, **options: float | str) -> Layout:
    def layout(peak: float, num_steps: int, steps_per_epoch: float) -> Schedule | Controller:
        return by_name(name, peak, num_steps, steps_per_epoch, **options)

    return layout


CYCLIC: dict[str, Layout] = {
    "triangular": _named("triangular"),
    "triangular2": _named("triangular2"),
    "exp_range": _named("exp_range"),
    "exp_range, both bounds": _named("exp_range", decay="bounds"),
    "sgdr": _named("sgdr"),
    "sgdr, peak halved": _named("sgdr", decay=0.5),
    "refind": _named("refind"),
    "one_cycle": _named("one_cycle"),
}
CONTROLS: dict[str, Layout] = {
    "constant": _named("constant"),
    "linear": _named("linear"),
    "exponential": _named("exponential"),
    "cosine": _named("cosine"),
    "max to min, then min": down_then_min,
}
OTHERS: dict[str, Layout] = {name: _named(name) for name in ("polynomial", "step", "inverse_sqrt", "wsd", "plateau")}
SCHEDULES = {**CYCLIC, **CONTROLS, **OTHERS}


def shortened(workload: lrs.Workload, share: float) -> lrs.Workload:
    """The same training in a share of the steps."""
    return replace(workload, num_steps=round(share * workload.num_steps))
