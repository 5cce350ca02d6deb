"""Networks that read tables: embeddings of categories beside numbers."""

from __future__ import annotations

import torch
from tasks.models import Residual, mlp
from torch import nn

from .data_flights import CATEGORIES, NUMBERS, PLANNED, sizes

CROSSED = (("carrier", "dest"), ("origin", "hour"), ("month", "weekday"))


class Embeddings(nn.Module):
    """Categories (batch, 8) and numbers (batch, numbers) to features (batch, width).

    Args:
        numbers: how many.
        widest: width of an embedding; smaller for categories of few kinds, half as many as there are kinds.
        std: deviation of the embeddings' first values.
        dropout: on the embeddings.
        norm: whether the numbers pass a BatchNorm.
    """

    def __init__(
        self,
        *,
        numbers: int = len(NUMBERS),
        widest: int = 12,
        std: float = 1.0,
        dropout: float = 0.0,
        norm: bool = False,
    ) -> None:
        super().__init__()
        widths = [min(widest, (kinds + 1) // 2) for kinds in sizes()]
        self.embeddings = nn.ModuleList(
            nn.Embedding(kinds, width) for kinds, width in zip(sizes(), widths, strict=True)
        )
        for embedding in self.embeddings:
            nn.init.normal_(embedding.get_parameter("weight"), std=std)
        self.dropout, self.norm = nn.Dropout(dropout), nn.BatchNorm1d(numbers) if norm else nn.Identity()
        self.width = sum(widths) + numbers

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """See the class."""
        found = [embedding(column) for embedding, column in zip(self.embeddings, categories.unbind(1), strict=True)]
        return torch.cat([self.dropout(torch.cat(found, 1)), self.norm(numbers)], 1)


class TableNet(nn.Module):
    """Embeddings, then a perceptron: categories and numbers to one output each (batch,)."""

    def __init__(
        self,
        *hidden: int,
        embeddings: Embeddings | None = None,
        norm: type[nn.Module] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embeddings = embeddings if embeddings is not None else Embeddings()
        self.layers = mlp(self.embeddings.width, *hidden, 1, norm=norm, dropout=dropout)

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """See the class."""
        given: torch.Tensor = self.layers(self.embeddings(categories, numbers))
        return given[:, 0]


class WideAndDeep(nn.Module):
    """A linear model on pairs of categories plus a TableNet: to one logit each (batch,).

    Reference:
        Cheng et al., "Wide & Deep Learning for Recommender Systems", 2016, arXiv:1606.07792.
    """

    def __init__(self, *hidden: int) -> None:
        super().__init__()
        kinds = dict(zip(CATEGORIES, sizes(), strict=True))
        self.pairs = [(CATEGORIES.index(first), CATEGORIES.index(second)) for first, second in CROSSED]
        self.wide = nn.ModuleList(nn.Embedding(kinds[first] * kinds[second], 1) for first, second in CROSSED)
        for weights in self.wide:
            nn.init.zeros_(weights.get_parameter("weight"))
        self.deep = TableNet(*hidden, embeddings=Embeddings(numbers=len(PLANNED), std=0.1))

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """See the class."""
        logits: torch.Tensor = self.deep(categories, numbers)
        for weights, (first, second) in zip(self.wide, self.pairs, strict=True):
            crossed = categories[:, first] * sizes()[second] + categories[:, second]
            logits = logits + weights(crossed)[:, 0]
        return logits


class ResidualTable(nn.Module):
    """Pre-norm residual perceptrons on the embeddings: to one output each (batch,).

    Reference:
        Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", 2021, arXiv:2106.11959.
    """

    def __init__(self, *, width: int = 64, blocks: int = 3, dropout: float = 0.1) -> None:
        super().__init__()
        self.embeddings = Embeddings(numbers=len(PLANNED), std=0.1)
        layers = [
            Residual(nn.Sequential(nn.LayerNorm(width), mlp(width, 2 * width, width, dropout=dropout)))
            for _ in range(blocks)
        ]
        self.layers = nn.Sequential(
            nn.Linear(self.embeddings.width, width), *layers, nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """See the class."""
        given: torch.Tensor = self.layers(self.embeddings(categories, numbers))
        return given[:, 0]
