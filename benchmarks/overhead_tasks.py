"""Small trainings of different kinds, for `overhead.py`: steps from a fraction of a millisecond to some ten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor]
NUM_BATCHES = 50  # a pass
CLASSES = 10


class Recurrent(nn.Module):
    """A GRU over 8 rows of 8 pixels, and a linear layer on its last state."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(8, hidden, batch_first=True), nn.Linear(hidden, CLASSES)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, 8, 8) -> (batch, classes)."""
        return self.head(self.gru(inputs)[0][:, -1])


class Transformer(nn.Module):
    """Two encoder layers with dropout over embedded tokens, and a linear layer on their mean."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(width, CLASSES)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, length) -> (batch, classes)."""
        return self.head(self.encoder(self.embedding(tokens)).mean(1))


def mlp(*widths: int) -> nn.Module:
    """Linear layers with ReLU in between, over flattened pixels."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip((64, *widths), (*widths, CLASSES), strict=True):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn(*channels: int) -> nn.Module:
    """Convolutions with batch norm over one 8 x 8 channel."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 8))]
    for before, after in zip((1, *channels[:-1]), channels, strict=True):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], CLASSES))


def bag(words: int, width: int) -> nn.Module:
    """The mean of embedded tokens, and a linear layer."""
    return nn.Sequential(nn.EmbeddingBag(words, width, mode="mean"), nn.Linear(width, CLASSES))


def digits(size: int) -> list[Batch]:
    """Batches of 8 x 8 pixels (size, 8, 8) and classes (size,)."""
    images, classes = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(images / 16.0).float().reshape(-1, 8, 8), torch.tensor(classes)
    rows = torch.arange(NUM_BATCHES * size).reshape(NUM_BATCHES, size) % len(inputs)
    return [(inputs[each], targets[each]) for each in rows]


def tokens(size: int, length: int, words: int) -> list[Batch]:
    """Batches of random tokens (size, length) and classes (size,)."""
    generator = torch.Generator().manual_seed(0)
    drawn = partial(torch.randint, generator=generator)
    return [(drawn(words, (size, length)), drawn(CLASSES, (size,))) for _ in range(NUM_BATCHES)]


@dataclass(frozen=True)
class Task:
    """What is trained: a model, an optimizer, and the batches of a pass; the loss is the cross-entropy."""

    model: Callable[[], nn.Module]
    optimizer: Callable[..., torch.optim.Optimizer]
    batches: Callable[[], list[Batch]]

    def made(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The model and its optimizer, always from the same weights."""
        torch.manual_seed(0)
        model = self.model()
        return model, self.optimizer(model.parameters(), lr=1e-7)


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    """Cross-entropy of the model's outputs."""
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


SGD, MOMENTUM = torch.optim.SGD, partial(torch.optim.SGD, momentum=0.9)
ADAM, ADAMW = torch.optim.Adam, torch.optim.AdamW

TASKS = {
    "softmax, SGD, batch 32": Task(mlp, SGD, partial(digits, 32)),
    "MLP 32, SGD, batch 32": Task(partial(mlp, 32), SGD, partial(digits, 32)),
    "MLP 2x128, momentum, batch 128": Task(partial(mlp, 128, 128), MOMENTUM, partial(digits, 128)),
    "MLP 2x256, Adam, batch 64": Task(partial(mlp, 256, 256), ADAM, partial(digits, 64)),
    "MLP 2x512, AdamW, batch 128": Task(partial(mlp, 512, 512), ADAMW, partial(digits, 128)),
    "CNN 8-16 + BN, momentum, batch 32": Task(partial(cnn, 8, 16), MOMENTUM, partial(digits, 32)),
    "CNN 16-32 + BN, AdamW, batch 64": Task(partial(cnn, 16, 32), ADAMW, partial(digits, 64)),
    "GRU 32, Adam, batch 32": Task(partial(Recurrent, 32), ADAM, partial(digits, 32)),
    "transformer 32, AdamW, batch 16": Task(partial(Transformer, 500, 32), ADAMW, partial(tokens, 16, 16, 500)),
    "embeddings 2000x32, SGD, batch 256": Task(partial(bag, 2000, 32), SGD, partial(tokens, 256, 16, 2000)),
}
