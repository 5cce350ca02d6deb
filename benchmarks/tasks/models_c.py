"""Networks that only the tasks of set c have."""

from __future__ import annotations

import math

import torch
from torch import nn

from . import models


class RowTransformer(nn.Module):
    """Attention over the 8 rows of an image, then their mean: (batch, 1, 8, 8) to logits (batch, 10)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.rows, self.place = nn.Linear(8, width), nn.Parameter(0.1 * torch.randn(8, width))
        self.block = models.transformer_block(width, causal=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.head(self.block(self.rows(images[:, 0]) + self.place).mean(1))


class SkipGram(nn.Module):
    """Scores of word pairs by their vectors' dot product, (batch, 2) to (batch,); gradients are sparse."""

    def __init__(self, words: int = 200, width: int = 12) -> None:
        super().__init__()
        self.inner, self.outer = nn.Embedding(words, width, sparse=True), nn.Embedding(words, width, sparse=True)
        nn.init.normal_(self.inner.weight, std=0.3)
        nn.init.normal_(self.outer.weight, std=0.3)

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return (self.inner(pairs[:, 0]) * self.outer(pairs[:, 1])).sum(1)


class Flow(nn.Module):
    """Affine couplings on points (batch, 2); gives each point's negative log density (batch,)."""

    def __init__(self, couplings: int = 3, width: int = 16) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(models.mlp(1, width, 2, activation=nn.Tanh) for _ in range(couplings))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """See the class."""
        kept, moved = points.split(1, dim=1)
        log_volume = torch.zeros_like(kept)
        for coupling in self.couplings:
            log_scale, shift = coupling(kept).chunk(2, dim=1)
            kept, moved = moved * torch.tanh(log_scale).exp() + shift, kept
            log_volume = log_volume + torch.tanh(log_scale)
        return (0.5 * (kept**2 + moved**2) + math.log(2 * math.pi) - log_volume)[:, 0]


class Sine(nn.Module):
    """sin(frequency * x)."""

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return torch.sin(self.frequency * inputs)


class Sets(nn.Module):
    """A function of a set, whatever its order: (batch, members, features) to (batch, 1)."""

    def __init__(self, features: int = 2, width: int = 32) -> None:
        super().__init__()
        self.each, self.all = models.mlp(features, width, width), models.mlp(width, width, 1)

    def forward(self, members: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.all(self.each(members).mean(1))


class Experts(nn.Module):
    """Three small networks mixed by a gate: (batch, features) to (batch, 1)."""

    def __init__(self, features: int, width: int = 16) -> None:
        super().__init__()
        self.gate = nn.Linear(features, 3)
        self.experts = nn.ModuleList(models.mlp(features, width, 1) for _ in range(3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """See the class."""
        given = torch.cat([expert(inputs) for expert in self.experts], dim=1)
        return (self.gate(inputs).softmax(1) * given).sum(1, keepdim=True)
