"""Networks that read a mail: convolutions over its words or bytes, and attention that pools its words."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class TextCNN(nn.Module):
    """Word numbers (batch, time) to logits: convolutions of several widths, each channel's largest value (Kim 2014).

    Args:
        words: numbers; 0 is padding.
        classes: logits.
        width: of a word's vector.
        channels: of each convolution.
    """

    def __init__(self, words: int, classes: int, width: int = 24, channels: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, channels, size) for size in (3, 4, 5))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(3 * channels, classes))

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """See the class."""
        vectors = self.embedding(words).transpose(1, 2)
        pooled = [functional.relu(convolution(vectors)).amax(2) for convolution in self.convolutions]
        logits: torch.Tensor = self.head(torch.cat(pooled, 1))
        return logits


class CharCNN(nn.Module):
    """Bytes (batch, 128) to logits of 2 classes: small convolutions and pooling (Zhang, Zhao and LeCun 2015)."""

    def __init__(self, width: int = 8, channels: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, width)
        self.layers = nn.Sequential(
            nn.Conv1d(width, channels, 7), nn.ReLU(), nn.MaxPool1d(3),
            nn.Conv1d(channels, channels, 7), nn.ReLU(), nn.MaxPool1d(3),
            nn.Conv1d(channels, channels, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(9 * channels, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 2),
        )  # fmt: skip

    def forward(self, characters: torch.Tensor) -> torch.Tensor:
        """See the class."""
        logits: torch.Tensor = self.layers(self.embedding(characters).transpose(1, 2))
        return logits


class AttentionPooling(nn.Module):
    """Word numbers (batch, time) to logits: the mean of their vectors weighted by a learned query, then a perceptron."""

    def __init__(self, words: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        nn.init.normal_(self.embedding.weight[1:], std=0.02)
        self.keys = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.query = nn.Linear(width, 1, bias=False)
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, classes)
        )

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """See the class."""
        vectors = self.embedding(words)
        scores = self.query(self.keys(vectors)).masked_fill((words == 0)[..., None], -1e4)
        logits: torch.Tensor = self.head((scores.softmax(1) * vectors).sum(1))
        return logits


class HashedLinear(nn.Module):
    """The sum of what each place says for and against spam: places (batch, many) to 2 logits; begins at zero."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self.says = nn.EmbeddingBag(places + 1, 2, mode="sum", padding_idx=0)
        self.bias = nn.Parameter(torch.zeros(2))
        nn.init.zeros_(self.says.weight)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """See the class."""
        logits: torch.Tensor = self.says(places) + self.bias
        return logits
