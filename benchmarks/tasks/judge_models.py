"""Networks that only the judging tasks have."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from . import models


class Mixer(nn.Module):
    """Perceptrons along rows and along channels in turn: images (batch, 1, 8, 8) to logits (batch, 10)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.rows = nn.Linear(8, width)
        self.along, self.across = models.mlp(8, 16, 8, activation=nn.GELU), models.mlp(width, 48, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.head = nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        mixed = self.rows(images[:, 0])
        mixed = mixed + self.along(self.norms[0](mixed).transpose(1, 2)).transpose(1, 2)
        mixed = mixed + self.across(self.norms[1](mixed))
        return self.head(mixed.mean(1))


class Graphs(nn.Module):
    """Two rounds of messages, then a sum: nodes (batch, n, features) and edges (batch, n, n) to (batch, 1)."""

    def __init__(self, features: int, width: int = 24) -> None:
        super().__init__()
        self.inward = nn.Linear(features, width)
        self.own = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.heard = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(2))
        self.head = models.mlp(width, width, 1)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        """See the class."""
        states = self.inward(nodes)
        for own, heard in zip(self.own, self.heard, strict=True):
            states = torch.relu(own(states) + heard(edges @ states))
        return self.head(states).mean(1)


class SqueezeExcite(nn.Module):
    """Each channel times a gate that sees all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(models.mlp(channels, channels // 4, channels), nn.Sigmoid())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Shape to the same shape."""
        return images * self.gate(images.mean((2, 3)))[:, :, None, None]


class Highway(nn.Module):
    """A gate between the inputs and a layer's outputs, first nearly shut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer, self.gate = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.constant_(self.gate.bias, -1.0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape to the same shape."""
        return inputs + torch.sigmoid(self.gate(inputs)) * (torch.tanh(self.layer(inputs)) - inputs)


class Maxout(nn.Module):
    """The largest of some linear functions, for each output."""

    def __init__(self, features: int, out: int, pieces: int = 3) -> None:
        super().__init__()
        self.layer, self.pieces = nn.Linear(features, out * pieces), pieces

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, features) to (batch, out)."""
        return self.layer(inputs).unflatten(1, (-1, self.pieces)).amax(2)


class DirectionLinear(nn.Module):
    """A linear layer whose weights are learnt as direction and length (weight normalisation)."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.randn(out, features))
        self.length, self.bias = nn.Parameter(torch.ones(out)), nn.Parameter(torch.zeros(out))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, features) to (batch, out)."""
        weight = self.length[:, None] * functional.normalize(self.direction, dim=1)
        return functional.linear(inputs, weight, self.bias)


class Forecaster(nn.Module):
    """An LSTM that says the next number after each: (batch, time) to the same."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.recurrent, self.head = nn.LSTM(1, width, batch_first=True), nn.Linear(width, 1)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.head(self.recurrent(numbers[:, :, None])[0])[:, :, 0]


class Tensor3(nn.Module):
    """Entries of a table of three indices from a vector for each: (batch, 3) to (batch,)."""

    def __init__(self, size: int, rank: int, std: float) -> None:
        super().__init__()
        self.vectors = nn.ModuleList(nn.Embedding(size, rank) for _ in range(3))
        for vectors in self.vectors:
            nn.init.normal_(vectors.weight, std=std)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """See the class."""
        first, second, third = (vectors(place) for vectors, place in zip(self.vectors, places.T, strict=True))
        return (first * second * third).sum(1)


class Context(nn.Module):
    """The mean of the words' vectors tells the word in their middle: (batch, words) to logits; sparse gradients."""

    def __init__(self, words: int, width: int = 16) -> None:
        super().__init__()
        self.vectors, self.head = nn.EmbeddingBag(words, width, mode="mean", sparse=True), nn.Linear(width, words)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.head(self.vectors(context))


class PooledSets(nn.Module):
    """Members of a set weighed by attention: (batch, members, features) to (batch, out)."""

    def __init__(self, features: int, out: int, width: int = 40, dropout: float = 0.0) -> None:
        super().__init__()
        self.each = nn.Sequential(models.mlp(features, width, width), nn.ReLU())
        self.weigh, self.head = nn.Linear(width, 4), nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * width, out))

    def forward(self, members: torch.Tensor) -> torch.Tensor:
        """See the class."""
        found = self.each(members)
        return self.head((self.weigh(found).softmax(1).transpose(1, 2) @ found).flatten(1))
