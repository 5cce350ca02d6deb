"""Networks for tables: additive, ordinal, crossed, utilities, soft trees, splines, and a differential equation."""

from __future__ import annotations

import math

import torch
from tasks.models import mlp
from torch import nn
from torch.nn import functional

from . import data_tables as data


class Additive(nn.Module):
    """A sum of one small network a column, and of one number a place (Agarwal et al., "Neural Additive Models", 2020).

    Args:
        numbers: columns of numbers.
        sizes: of each column of places, how many there are.
        width: of a column's network, which has two hidden layers.
    """

    def __init__(self, numbers: int, sizes: tuple[int, ...], width: int = 12) -> None:
        super().__init__()
        self.slopes, self.starts = nn.Parameter(torch.randn(numbers, width)), nn.Parameter(torch.randn(numbers, width))
        self.mix = nn.Parameter(torch.randn(numbers, width, width) * math.sqrt(2 / width))
        self.offsets = nn.Parameter(torch.zeros(numbers, width))
        self.out = nn.Parameter(torch.randn(numbers, width) / width)
        self.places = nn.ModuleList(nn.Embedding(size, 1) for size in sizes)
        for table in self.places.parameters():
            nn.init.zeros_(table)
        self.bias = nn.Parameter(torch.zeros(1))
        self.dropout = nn.Dropout(0.05)

    def forward(self, numbers: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Columns (batch, numbers) and (batch, sizes) to (batch, 1)."""
        hidden = functional.relu(numbers[..., None] * self.slopes + self.starts)
        hidden = functional.relu(torch.einsum("bni,nij->bnj", hidden, self.mix) + self.offsets)
        parts = [(hidden * self.out).sum(2), *(table(places[:, at]) for at, table in enumerate(self.places))]
        total: torch.Tensor = self.dropout(torch.cat(parts, 1)).sum(1, keepdim=True)
        return total + self.bias


class Ordinal(nn.Module):
    """Log probabilities (batch, levels) by where a score lies among ordered thresholds (McCullagh 1980); BatchNorm.

    Args:
        numbers: columns of numbers.
        sizes: of each column of places, how many there are.
        levels: of the answer.
    """

    def __init__(self, numbers: int, sizes: tuple[int, ...], levels: int, width: int = 32) -> None:
        super().__init__()
        self.places = nn.ModuleList(nn.Embedding(size, 6) for size in sizes)
        for table in self.places.parameters():
            nn.init.normal_(table, std=0.1)
        self.score = mlp(numbers + 6 * len(sizes), width, width, 1, activation=nn.SiLU, norm=nn.BatchNorm1d)
        self.first = nn.Parameter(torch.tensor([-1.5]))
        self.gaps = nn.Parameter(torch.full((levels - 2,), 0.3))

    def forward(self, numbers: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """See the class."""
        vectors = [table(places[:, at]) for at, table in enumerate(self.places)]
        thresholds = torch.cat([self.first, self.first + functional.softplus(self.gaps).cumsum(0)])
        below = torch.sigmoid(thresholds - self.score(torch.cat([numbers, *vectors], 1)))
        cumulative = functional.pad(functional.pad(below, (1, 0)), (0, 1), value=1.0)
        return cumulative.diff(dim=1).clamp(min=1e-6).log()


class Crossed(nn.Module):
    """Products of columns, layer by layer, beside a perceptron (Wang et al., "DCN V2", 2021, arXiv:2008.13535)."""

    def __init__(self, columns: int, outputs: int, width: int = 32, crosses: int = 3) -> None:
        super().__init__()
        self.crosses = nn.ModuleList(nn.Linear(columns, columns) for _ in range(crosses))
        self.deep = mlp(columns, width, width)
        self.head = nn.Linear(columns + width, outputs)

    def forward(self, columns: torch.Tensor) -> torch.Tensor:
        """(batch, columns) to (batch, outputs)."""
        crossed = columns
        for cross in self.crosses:
            crossed = columns * cross(crossed) + crossed
        out: torch.Tensor = self.head(torch.cat([crossed, functional.relu(self.deep(columns))], 1))
        return out


class Utilities(nn.Module):
    """The utility of each alternative, by itself and against the mean of all: (batch, many, columns) to (batch, many)."""

    def __init__(self, columns: int, width: int = 32) -> None:
        super().__init__()
        self.utility = mlp(2 * columns, width, width, 1, activation=nn.Tanh, dropout=0.1)

    def forward(self, offers: torch.Tensor) -> torch.Tensor:
        """See the class."""
        utilities: torch.Tensor = self.utility(torch.cat([offers, offers - offers.mean(1, keepdim=True)], 2))
        return utilities[..., 0]


class SoftTrees(nn.Module):
    """A sum of trees, whose splits are sigmoids of all columns, one a depth: (batch, columns) to (batch, classes).

    Reference:
        Popov et al., "Neural Oblivious Decision Ensembles", 2019, arXiv:1909.06312.
    """

    def __init__(self, columns: int, classes: int, trees: int = 12, depth: int = 4) -> None:
        super().__init__()
        self.trees, self.depth = trees, depth
        self.splits = nn.Linear(columns, trees * depth)
        self.leaves = nn.Parameter(0.1 * torch.randn(trees, 2**depth, classes))

    def forward(self, columns: torch.Tensor) -> torch.Tensor:
        """See the class."""
        right = torch.sigmoid(self.splits(columns)).reshape(-1, self.trees, self.depth)
        shares = torch.ones_like(right[..., :1])
        for level in range(self.depth):
            side = right[..., level : level + 1]
            shares = torch.cat([shares * side, shares * (1 - side)], 2)
        return torch.einsum("btl,tlc->bc", shares, self.leaves)


class SplineLayer(nn.Module):
    """A function of its own from each input to each output, as a sum of bumps (Li, "FastKAN", 2024, arXiv:2405.06721)."""

    def __init__(self, inputs: int, outputs: int, bumps: int = 8) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(-2, 2, bumps))
        self.norm = nn.LayerNorm(inputs)
        self.bumps = nn.Linear(inputs * bumps, outputs, bias=False)
        nn.init.normal_(self.bumps.weight, std=0.1 / math.sqrt(inputs))
        self.straight = nn.Linear(inputs, outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, inputs) to (batch, outputs)."""
        bumps = torch.exp(-(((self.norm(inputs)[..., None] - self.centres) * 1.75) ** 2)).flatten(1)
        out: torch.Tensor = self.bumps(bumps) + self.straight(functional.silu(inputs))
        return out


class StormPath(nn.Module):
    """Places (batch, AHEAD, 2) that a state (batch, 5) comes to under a learnt d state / d time, by the midpoint rule."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.change = mlp(5, width, width, 5, activation=nn.Tanh)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """See the class."""
        places = []
        for _ in range(data.AHEAD):
            middle = state + 0.5 * self.change(state)
            state = state + self.change(middle)
            places.append(state[:, :2])
        return torch.stack(places, 1)
