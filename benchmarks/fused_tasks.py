"""Small models of different kinds for `fused.py`, on scikit-learn's digits and on tokens of a made-up language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import nn

import lr_search as lrs
from lr_search.demo import digits

CLASSES, WORDS, LENGTH = 10, 64, 32
FOLLOWERS = 4  # words that may come after a word
SEQUENCES, VALID_SEQUENCES, SEQUENCES_A_BATCH, EXAMPLES_A_BATCH = 512, 64, 8, 32
Batch = tuple[torch.Tensor, torch.Tensor]


class Residual(nn.Module):
    """x + two linear layers with ReLU in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, width) -> (batch, width)."""
        return inputs + self.second(self.first(inputs).relu())  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A decoder: each token's successor from those up to it; two layers of four heads, without dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, width), nn.Embedding(LENGTH, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, WORDS)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, length) -> (batch, length, words)."""
        inputs = self.words(tokens) + self.places.weight
        return self.head(self.layers(inputs, mask=self.mask, is_causal=True))  # type: ignore[no-any-return]


def mlp() -> nn.Module:
    """64-32-32-10 with ReLU."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, CLASSES)
    )


def residual_mlp() -> nn.Module:
    """Two residual blocks of width 32."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), Residual(32), Residual(32), nn.Linear(32, CLASSES))


def cnn(*, batch_norm: bool) -> nn.Module:
    """Convolutions of 8 and 16 channels, a pool and a linear layer."""
    layers: list[nn.Module] = []
    for before, after in ((1, 8), (8, 16)):
        layers.append(nn.Conv2d(before, after, 3, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(after), nn.ReLU()] if batch_norm else [nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 4 * 4, CLASSES))


@cache
def tokens() -> torch.Tensor:
    """Sequences in which a word is followed by one of a few, and by some of these more often. (sequences, length + 1)."""
    generator = torch.Generator().manual_seed(0)
    followers = torch.randint(WORDS, (WORDS, FOLLOWERS), generator=generator)
    chances = torch.rand(WORDS, FOLLOWERS, generator=generator)
    words = [torch.randint(WORDS, (SEQUENCES + VALID_SEQUENCES,), generator=generator)]
    for _ in range(LENGTH):
        drawn = torch.multinomial(chances[words[-1]], 1, generator=generator)
        words.append(followers[words[-1]].gather(1, drawn)[:, 0])
    return torch.stack(words, dim=1)


@cache
def images() -> tuple[Any, Any]:
    """The digits, to train and to judge on."""
    return digits()


def sequences(begin: int, end: int) -> list[Batch]:
    """Batches of tokens and their successors, (batch, length) each."""
    return [(each[:, :-1], each[:, 1:]) for each in torch.split(tokens()[begin:end], SEQUENCES_A_BATCH)]


def next_token_loss(model: nn.Module, batch: Any) -> torch.Tensor:
    """Cross-entropy of the next tokens."""
    return nn.functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


@dataclass(frozen=True)
class Task:
    """What is trained.

    Args:
        model: makes it.
        reads_tokens: whether it is given tokens; digits otherwise.
    """

    model: Callable[[], nn.Module]
    reads_tokens: bool = False

    def workload(self, optimizer: str, num_steps: int, device: str, *, eval_every: int | None = None) -> lrs.Workload:
        """The training; it is evaluated at its end at least."""
        settings: dict[str, Any] = {
            "model": self.model, "optimizer": OPTIMIZERS[optimizer], "num_steps": num_steps,
            "eval_every": eval_every or num_steps, "device": device,
        }  # fmt: skip
        if not self.reads_tokens:
            train, valid = images()
            return lrs.classification(train=train, valid=valid, batch_size=EXAMPLES_A_BATCH, **settings)
        return lrs.Workload(
            loss=next_token_loss,
            train_data=partial(sequences, 0, SEQUENCES),
            valid_data=partial(sequences, SEQUENCES, SEQUENCES + VALID_SEQUENCES),
            batch_size=SEQUENCES_A_BATCH,
            **settings,
        )


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": partial(torch.optim.SGD, momentum=0.9),
    "Adam": torch.optim.Adam,
}
SANE_LRS: dict[str, Sequence[float]] = {"SGD": (1e-3, 0.05), "Adam": (1e-4, 5e-3)}  # from, to

TASKS = {
    "MLP 64-32-32-10": Task(mlp),
    "residual MLP 32": Task(residual_mlp),
    "CNN 8-16": Task(partial(cnn, batch_norm=False)),
    "CNN 8-16, BatchNorm": Task(partial(cnn, batch_norm=True)),
    "transformer 32": Task(partial(Transformer, 32), reads_tokens=True),
    "transformer 64": Task(partial(Transformer, 64), reads_tokens=True),
}
