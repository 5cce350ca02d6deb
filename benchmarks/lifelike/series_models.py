"""Networks for series: they forecast, or tell apart."""
# mypy: disable-error-code=no-any-return
# (what a module returns is Any to torch)

from __future__ import annotations

import math

import torch
from tasks import models
from torch import nn
from torch.nn import functional


class NBeats(nn.Module):
    """Generic blocks, each of which takes from the past what it explains: (batch, past, 1) to (batch, future, 1).

    Reference: Oreshkin et al., "N-BEATS: Neural basis expansion analysis for interpretable time series forecasting", 2020,
    arXiv:1905.10437.
    """

    def __init__(self, past: int, future: int, *, width: int = 64, blocks: int = 3, bases: int = 8) -> None:
        super().__init__()
        self.past, self.future = past, future
        self.blocks = nn.ModuleList(
            nn.Sequential(
                models.mlp(past, width, width, width, width, 2 * bases),
                nn.Linear(2 * bases, past + future, bias=False),
            )
            for _ in range(blocks)
        )

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """See the class."""
        rest, forecast = series.squeeze(2), torch.zeros(())
        for block in self.blocks:
            explained, added = block(rest).split([self.past, self.future], dim=1)
            rest, forecast = rest - explained, forecast + added
        return forecast.unsqueeze(2)


class Inception(nn.Module):
    """Convolutions of three widths and a pooled one beside each other: (batch, before, time) to (batch, 4 * width, time)."""

    def __init__(self, before: int, width: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(before, width, 1, bias=False) if before > 1 else nn.Identity()
        inward = width if before > 1 else 1
        self.wide = nn.ModuleList(nn.Conv1d(inward, width, size, padding=size // 2, bias=False) for size in sizes)
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, padding=1), nn.Conv1d(before, width, 1, bias=False))
        self.norm = nn.BatchNorm1d(4 * width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """See the class."""
        narrow = self.bottleneck(inputs)
        found = torch.cat([*(convolve(narrow) for convolve in self.wide), self.pooled(inputs)], dim=1)
        return functional.relu(self.norm(found))


class InceptionTime(nn.Module):
    """Two inception modules under a shortcut, and the mean over time: (batch, 1, time) to logits (batch, classes).

    Reference: Ismail Fawaz et al., "InceptionTime: Finding AlexNet for Time Series Classification", 2020, arXiv:1909.04939.
    """

    def __init__(self, classes: int, width: int = 8, sizes: tuple[int, ...] = (5, 11, 23)) -> None:
        super().__init__()
        self.modules_ = nn.Sequential(*(Inception(before, width, sizes) for before in (1, 4 * width)))
        self.shortcut = nn.Sequential(nn.Conv1d(1, 4 * width, 1, bias=False), nn.BatchNorm1d(4 * width))
        self.head = nn.Linear(4 * width, classes)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.head(functional.relu(self.modules_(series) + self.shortcut(series)).mean(2))


class PatchTST(nn.Module):
    """Attention between patches of each channel by itself: (batch, past, channels) to (batch, future, channels).

    Each window is forecast in units of its own mean and deviation.

    Reference: Nie et al., "A Time Series is Worth 64 Words", 2023, arXiv:2211.14730.
    """

    def __init__(self, past: int, future: int, *, patch: int = 8, width: int = 24, dropout: float = 0.2) -> None:
        super().__init__()
        self.patch = patch
        self.embedding = nn.Linear(patch, width)
        self.place = nn.Parameter(0.02 * torch.randn(past // patch, width))
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(models.transformer_block(width, causal=False) for _ in range(2)))
        self.head = nn.Linear(past // patch * width, future)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """See the class."""
        mean, deviation = series.mean(1, keepdim=True), series.std(1, keepdim=True) + 1e-3
        channels = ((series - mean) / deviation).transpose(1, 2)
        vectors = self.embedding(channels.reshape(-1, len(self.place), self.patch)) + self.place
        forecast = self.head(self.drop(self.blocks(self.drop(vectors)).flatten(1)))
        return forecast.reshape(*channels.shape[:2], -1).transpose(1, 2) * deviation + mean


class DiagonalStateSpace(nn.Module):
    """A linear recurrence with a diagonal complex matrix, as one long convolution: (batch, time, width) to the same.

    x' = A x + B u, y = Re(C x) + D u, A = -exp(log_decay) + i frequency (S4D-Lin), in steps of exp(log_step).

    Reference: Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models", 2022, arXiv:2206.11893.
    """

    def __init__(self, width: int, states: int = 6) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.empty(width, 1).uniform_(math.log(0.01), math.log(0.3)))
        self.log_decay = nn.Parameter(torch.full((width, states), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(states).float().repeat(width, 1))
        self.out = nn.Parameter(torch.randn(width, states, 2) * math.sqrt(0.5))
        self.through = nn.Parameter(torch.randn(width))

    def kernel(self, time: int) -> torch.Tensor:
        """What an impulse gives at each of the next times (width, time)."""
        diagonal = torch.complex(-self.log_decay.exp(), self.frequency)
        scaled = diagonal * self.log_step.exp()
        weights = torch.view_as_complex(self.out) * (scaled.exp() - 1) / diagonal
        powers = (scaled.unsqueeze(2) * torch.arange(time)).exp()
        return 2 * (weights.unsqueeze(1) @ powers).squeeze(1).real

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """See the class."""
        time = inputs.shape[1]
        spectrum = torch.fft.rfft(self.kernel(time), n=2 * time).T
        mixed = torch.fft.irfft(torch.fft.rfft(inputs, n=2 * time, dim=1) * spectrum, n=2 * time, dim=1)
        return mixed[:, :time] + inputs * self.through


class S4D(nn.Module):
    """Blocks of diagonal state spaces and gated mixing, and the mean over time: (batch, time, channels) to (batch, classes)."""

    def __init__(self, channels: int, classes: int, *, width: int = 24, blocks: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.inward = nn.Linear(channels, width)
        self.blocks = nn.Sequential(*(models.Residual(self._block(width, dropout)) for _ in range(blocks)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    @staticmethod
    def _block(width: int, dropout: float) -> nn.Sequential:
        mixing = [nn.GELU(), nn.Dropout(dropout), nn.Linear(width, 2 * width), nn.GLU(dim=2)]
        return nn.Sequential(nn.LayerNorm(width), DiagonalStateSpace(width), *mixing)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.head(self.blocks(self.inward(series)).mean(1))


def embedding_cnn(width: int = 16, blocks: int = 3) -> nn.Sequential:
    """Series (batch, 1, time) to vectors: blocks of convolution, BatchNorm, ReLU and pooling, as few-shot learning has them."""
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers.append(nn.Conv1d(width if block else 1, width, 5, padding=2))
        layers += [nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2)]
    return nn.Sequential(*layers, nn.Flatten())
