"""The networks that several tasks share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


def mlp(
    *sizes: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    norm: Callable[[int], nn.Module] | None = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Linear layers of these sizes, each but the last followed by norm, activation and dropout, where given."""
    layers: list[nn.Module] = []
    for i, (width, out) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(width, out))
        if i < len(sizes) - 2:
            layers += [norm(out)] if norm is not None else []
            layers += [activation()]
            layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers)


def cnn(channels: int = 8, *, norm: bool = False) -> nn.Sequential:
    """Two convolutions and a linear layer for 8 x 8 grey images of 10 classes."""
    layers: list[nn.Module] = []
    for before, after in ((1, channels), (channels, 2 * channels)):
        layers.append(nn.Conv2d(before, after, 3, padding=1))
        layers += [nn.BatchNorm2d(after)] if norm else []
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * channels, 10))


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape to the same shape."""
        return inputs + self.body(inputs)


class CharRNN(nn.Module):
    """Embedding, recurrent layer and a linear layer: letters (batch, time) to logits (batch, time, letters)."""

    def __init__(self, kind: type[nn.RNNBase] = nn.GRU, letters: int = 20, width: int = 24) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, width)
        self.recurrent = kind(width, width, batch_first=True)
        self.head = nn.Linear(width, letters)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.head(self.recurrent(self.embedding(letters))[0])


class Attention(nn.Module):
    """Self-attention with 2 heads: (batch, time, width) to the same."""

    def __init__(self, width: int, *, causal: bool) -> None:
        super().__init__()
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.causal = causal

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """See the class."""
        batch, time, width = inputs.shape
        asked, keys, values = self.inward(inputs).view(batch, time, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(asked, keys, values, is_causal=self.causal)
        return self.outward(mixed.transpose(1, 2).reshape(batch, time, width))


def transformer_block(width: int, *, causal: bool) -> nn.Sequential:
    """Pre-norm attention and a two-layer perceptron, both residual."""
    return nn.Sequential(
        Residual(nn.Sequential(nn.LayerNorm(width), Attention(width, causal=causal))),
        Residual(nn.Sequential(nn.LayerNorm(width), mlp(width, 2 * width, width, activation=nn.GELU))),
    )


class CharTransformer(nn.Module):
    """Letters (batch, time) to the logits of the letters that follow (batch, time, letters)."""

    def __init__(self, letters: int = 20, width: int = 24, blocks: int = 1, time: int = 12) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, width)
        self.place = nn.Parameter(0.1 * torch.randn(time, width))
        self.blocks = nn.Sequential(*(transformer_block(width, causal=True) for _ in range(blocks)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, letters))

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.head(self.blocks(self.embedding(letters) + self.place))


class Factors(nn.Module):
    """The dot product of a user's and an item's vector: (batch,), (batch,) to (batch,)."""

    def __init__(self, users: int = 100, items: int = 80, rank: int = 8, *, sparse: bool = False) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(users, rank, sparse=sparse), nn.Embedding(items, rank, sparse=sparse)
        nn.init.normal_(self.users.weight, std=0.3)
        nn.init.normal_(self.items.weight, std=0.3)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return (self.users(users) * self.items(items)).sum(1)
