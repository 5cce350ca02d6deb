"""The networks that read and write text: GPTs, LSTMs, taggers."""

from __future__ import annotations

import math
from functools import partial

import torch
from tasks.models import Attention, Residual, mlp
from torch import nn

from .data_brown import LETTERS, PADDING, TAGS

FastGELU = partial(nn.GELU, approximate="tanh")  # GPT-2's, and a third of the exact one's time


def block(width: int, *, causal: bool, dropout: float = 0.0) -> nn.Sequential:
    """Pre-norm attention and a perceptron four times as wide, both residual, with dropout after each."""
    attention, perceptron = Attention(width, causal=causal), mlp(width, 4 * width, width, activation=FastGELU)
    return nn.Sequential(
        Residual(nn.Sequential(nn.LayerNorm(width), attention, nn.Dropout(dropout))),
        Residual(nn.Sequential(nn.LayerNorm(width), perceptron, nn.Dropout(dropout))),
    )


class GPT(nn.Module):
    """A causal pre-norm transformer as GPT-2: tokens (batch, time) to the logits of those that follow (batch, time, tokens).

    Args:
        tokens: of the vocabulary.
        width: of each layer; two heads.
        blocks: attention and perceptron, both residual.
        context: tokens that it can read.
        tied: whether the head shares the embedding's weights.
        dropout: after the embedding, and before each residual sum.

    Reference:
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """

    def __init__(
        self,
        *,
        tokens: int = LETTERS,
        width: int = 32,
        blocks: int = 2,
        context: int = 32,
        tied: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(tokens, width), nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(block(width, causal=True, dropout=dropout) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, tokens, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        init_as_gpt2(self, blocks)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """See the class."""
        inputs = self.embedding(tokens) + self.place.weight[: tokens.shape[1]]
        logits: torch.Tensor = self.head(self.norm(self.blocks(self.dropout(inputs))))
        return logits


def init_as_gpt2(model: nn.Module, blocks: int) -> None:
    """Normal weights of deviation 0.02, smaller where they add to the residual stream, no biases."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, Residual):
            last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
            nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * blocks))


class LSTMModel(nn.Module):
    """Embedding, LSTM, linear layer, as PyTorch's example of a language model: tokens (batch, time) to (batch, time, tokens)."""

    def __init__(self, *, tokens: int = LETTERS, width: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.embedding, self.dropout = nn.Embedding(tokens, width), nn.Dropout(dropout)
        self.recurrent = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, tokens)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.head.weight, -0.1, 0.1)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """See the class."""
        states, _ = self.recurrent(self.dropout(self.embedding(tokens)))
        logits: torch.Tensor = self.head(self.dropout(states))
        return logits


class BiLSTMTagger(nn.Module):
    """An LSTM in each direction: words (batch, time) to logits (batch, time, tags)."""

    def __init__(self, *, words: int, width: int = 32, dropout: float = 0.25) -> None:
        super().__init__()
        self.embedding, self.dropout = nn.Embedding(words, width, padding_idx=PADDING), nn.Dropout(dropout)
        self.recurrent = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(width, TAGS)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """See the class."""
        states, _ = self.recurrent(self.dropout(self.embedding(words)))
        logits: torch.Tensor = self.head(self.dropout(states))
        return logits


class Encoder(nn.Module):
    """A pre-norm transformer that sees both sides: words (batch, time) to states (batch, time, width)."""

    def __init__(self, *, words: int, width: int = 32, blocks: int = 2, longest: int = 24) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(words, width), nn.Embedding(longest, width)
        self.blocks = nn.Sequential(*(block(width, causal=False) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        init_as_gpt2(self, blocks)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """See the class."""
        states: torch.Tensor = self.norm(self.blocks(self.embedding(words) + self.place.weight[: words.shape[1]]))
        return states


class MaskedWords(nn.Module):
    """An encoder and, from its states, the logits of the words by their own embeddings."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Words (batch, time) to logits (batch, time, words)."""
        logits: torch.Tensor = self.encoder(words) @ self.encoder.embedding.weight.T
        return logits


class WindowTagger(nn.Module):
    """The words of a window side by side into a perceptron: (batch, window) to logits (batch, tags)."""

    def __init__(self, *, words: int, window: int = 5, width: int = 32, hidden: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.classes = mlp(window * width, hidden, TAGS)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """See the class."""
        logits: torch.Tensor = self.classes(self.embedding(words).flatten(1))
        return logits
