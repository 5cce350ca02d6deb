"""Networks for tables: two towers, a factorisation machine with a perceptron, attention over columns, SELU, gates."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from tasks import models
from torch import nn
from torch.nn import functional

from . import data_rdatasets as data


class TwoTowers(nn.Module):
    """A user, and a film by number, decade and genres, as directions (batch, width) each."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.users, self.films = nn.Embedding(data.USERS, width), nn.Embedding(data.FILMS, width)
        self.decades, self.genres = nn.Embedding(data.DECADES, width), nn.Linear(data.GENRES, width, bias=False)
        for table in (self.users, self.films, self.decades):
            nn.init.normal_(table.weight, std=0.05)
        self.of_user, self.of_film = models.mlp(width, width, width), models.mlp(width, width, width)

    def forward(
        self, users: torch.Tensor, films: torch.Tensor, decades: torch.Tensor, genres: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        film = self.films(films) + self.decades(decades) + self.genres(genres)
        return functional.normalize(self.of_user(self.users(users)), dim=1), functional.normalize(
            self.of_film(film), dim=1
        )


class DeepFM(nn.Module):
    """Logits (batch,) of a like: linear terms, products of all pairs of fields, and a perceptron (Guo et al. 2017)."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        sizes = (data.USERS, data.FILMS, data.DECADES, data.GENRES)
        self.vectors = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        self.weights = nn.ModuleList(nn.Embedding(size, 1) for size in sizes)
        for table in (*self.vectors.parameters(), *self.weights.parameters()):
            nn.init.normal_(table, std=0.01)
        self.bias = nn.Parameter(torch.zeros(()))
        self.deep = models.mlp(4 * width, 64, 64, 1, dropout=0.2)

    def forward(
        self, users: torch.Tensor, films: torch.Tensor, decades: torch.Tensor, genres: torch.Tensor
    ) -> torch.Tensor:
        """See the class."""
        shares = genres / genres.sum(1, keepdim=True)

        def looked_up(tables: nn.ModuleList) -> torch.Tensor:  # (batch, fields, width)
            found = [table(places) for table, places in zip(tables, (users, films, decades), strict=False)]
            *_, of_genres = tables.parameters()
            return torch.stack([*found, shares @ of_genres], 1)

        vectors = looked_up(self.vectors)
        products = 0.5 * (vectors.sum(1) ** 2 - (vectors**2).sum(1)).sum(1)
        deep: torch.Tensor = self.deep(vectors.flatten(1))[:, 0]
        return self.bias + looked_up(self.weights).sum((1, 2)) + products + deep


class ColumnTransformer(nn.Module):
    """FT-Transformer (Gorishniy et al. 2021): every column a token, with one more that the prediction is read from.

    Args:
        numbers: columns of numbers.
        sizes: of each column of places, how many there are.
        width: of a token.
        blocks: of attention and a gated perceptron, both after a norm and residual; the first has no norm before attention.
    """

    def __init__(self, numbers: int, sizes: tuple[int, ...], width: int = 24, blocks: int = 2) -> None:
        super().__init__()
        columns = numbers + len(sizes) + 1
        bound = 1 / math.sqrt(width)
        self.slopes = nn.Parameter(torch.empty(numbers, width).uniform_(-bound, bound))
        self.offsets = nn.Parameter(torch.empty(columns, width).uniform_(-bound, bound))
        self.places = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        for table in self.places.parameters():
            nn.init.uniform_(table, -bound, bound)
        layers: list[nn.Module] = []
        for number in range(blocks):
            attention = models.Attention(width, causal=False)
            layers.append(models.Residual(attention if number == 0 else nn.Sequential(nn.LayerNorm(width), attention)))
            gated = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 2 * width), ReGLU(), nn.Dropout(0.1), nn.Linear(width, width)
            )
            layers.append(models.Residual(gated))
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, numbers: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Columns (batch, numbers) and (batch, sizes) to (batch, 1)."""
        named = [table(places[:, column]) for column, table in enumerate(self.places)]
        tokens = torch.cat([numbers[..., None] * self.slopes, torch.stack(named, 1)], 1)
        tokens = functional.pad(tokens, (0, 0, 1, 0)) + self.offsets
        found: torch.Tensor = self.head(self.blocks(tokens)[:, 0])
        return found

    def groups(self, weight_decay: float) -> list[dict[str, object]]:
        """Parameter groups: no decay of what makes the tokens, of norms and of biases."""
        decayed: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self.named_parameters():
            (decayed if parameter.ndim > 1 and name.startswith(("blocks", "head")) else others).append(parameter)
        return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]

    def muon_groups(self) -> list[dict[str, object]]:
        """Parameter groups: the blocks' matrices, and what Muon leaves to AdamW: what makes the tokens, vectors, the head."""
        hidden = [parameter for parameter in self.blocks.parameters() if parameter.ndim == 2]
        known = {id(parameter) for parameter in hidden}
        others = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return [{"params": hidden, "use_muon": True}, {"params": others, "use_muon": False}]


class ReGLU(nn.Module):
    """(batch, ..., 2 n) to (batch, ..., n): the first half times the positive part of the second."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """See the class."""
        first, second = inputs.chunk(2, dim=-1)
        return first * functional.relu(second)


class SelfNormalising(nn.Module):
    """SELU layers with LeCun's initialisation and alpha dropout (Klambauer et al. 2017) on numbers and named columns.

    Args:
        numbers: columns of numbers.
        sizes: of each column of places, how many there are; given as indicators.
        classes: logits.
        width: of the hidden layers.
        depth: hidden layers.
    """

    def __init__(self, numbers: int, sizes: tuple[int, ...], classes: int, width: int = 64, depth: int = 8) -> None:
        super().__init__()
        self.sizes = sizes
        layers: list[nn.Module] = []
        for before, after in pairwise((numbers + sum(sizes), *[width] * depth)):
            layers += [_lecun(nn.Linear(before, after)), nn.SELU(), nn.AlphaDropout(0.05)]
        self.layers = nn.Sequential(*layers, _lecun(nn.Linear(width, classes)))

    def forward(self, numbers: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Columns (batch, numbers) and (batch, sizes) to (batch, classes)."""
        named = [functional.one_hot(places[:, column], size).float() for column, size in enumerate(self.sizes)]
        logits: torch.Tensor = self.layers(torch.cat([numbers, *named], 1))
        return logits


def _lecun(layer: nn.Linear) -> nn.Linear:
    nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
    nn.init.zeros_(layer.bias)
    return layer


class GatedFeatures(nn.Module):
    """Features (batch, many), each times a gate that depends on all, then residual blocks of gated linear units."""

    def __init__(self, features: int, classes: int = 2, width: int = 24, blocks: int = 3) -> None:
        super().__init__()
        self.gates = nn.Sequential(nn.Linear(features, 16), nn.ELU(), nn.Linear(16, features), nn.Sigmoid())
        self.inward = nn.Sequential(nn.Dropout(0.5), nn.Linear(features, width))
        self.blocks = nn.Sequential(*(models.Residual(self._block(width)) for _ in range(blocks)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class."""
        gated = 2 * self.gates(features) * features
        logits: torch.Tensor = self.head(self.blocks(self.inward(gated)))
        return logits

    @staticmethod
    def _block(width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.ELU(),
            nn.Dropout(0.2),
            nn.Linear(width, 2 * width),
            nn.GLU(),
        )
