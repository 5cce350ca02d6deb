"""Networks for music in four voices; notes are numbered as in `data_music`."""
# mypy: disable-error-code=no-any-return
# (what a module returns is Any to torch)

from __future__ import annotations

import torch
from tasks import models
from torch import nn
from torch.nn import functional

from .data_music import NOTES


class Voices(nn.Module):
    """Notes (batch, time, voices) to the sum of the vectors that they have in their voices (batch, time, width)."""

    first: torch.Tensor

    def __init__(self, voices: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(voices * NOTES, width)
        self.register_buffer("first", NOTES * torch.arange(voices))

    def forward(self, notes: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.vectors(notes + self.first).sum(2)


class Gated(nn.Module):
    """One layer of WaveNet: (batch, time, width) to the same and what it adds to the output.

    A convolution of two places is a linear map of what is now and what was `dilation` before.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.inner, self.outer = nn.Linear(2 * width, 2 * width), nn.Linear(width, 2 * width)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        before = functional.pad(inputs, (0, 0, self.dilation, -self.dilation))
        content, gate = self.inner(torch.cat([before, inputs], dim=2)).chunk(2, dim=2)
        through, skipped = self.outer(content.tanh() * gate.sigmoid()).chunk(2, dim=2)
        return inputs + through, skipped


class WaveNet(nn.Module):
    """Notes (batch, time, 4) to the logits of those that follow (batch, time, 4, NOTES), by dilated causal convolutions.

    Reference: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, arXiv:1609.03499.
    """

    def __init__(self, width: int = 24, dilations: tuple[int, ...] = (1, 2, 4, 8)) -> None:
        super().__init__()
        self.embedding = Voices(4, width)
        self.layers = nn.ModuleList(Gated(width, dilation) for dilation in dilations)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(width, 48), nn.ReLU(), nn.Linear(48, 4 * NOTES))

    def forward(self, notes: torch.Tensor) -> torch.Tensor:
        """See the class."""
        inputs, added = self.embedding(notes), torch.zeros(())
        for layer in self.layers:
            inputs, skipped = layer(inputs)
            added = added + skipped
        return self.head(added).unflatten(2, (4, NOTES))


class CrossAttention(nn.Module):
    """What the decoder asks of the encoder, 2 heads: (batch, time, width) and what was heard to the former's shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.asked = nn.LayerNorm(width), nn.Linear(width, width)
        self.told, self.outward = nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, inputs: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        """See the class."""
        asked = self.asked(self.norm(inputs)).unflatten(2, (2, -1)).transpose(1, 2)
        keys, values = self.told(heard).unflatten(2, (2, 2, -1)).permute(2, 0, 3, 1, 4)
        return self.outward(functional.scaled_dot_product_attention(asked, keys, values).transpose(1, 2).flatten(2))


class Harmonizer(nn.Module):
    """Encoder and decoder with attention: the soprano (batch, time) and the other voices (batch, time, 3) to their logits.

    The decoder hears the lower voices up to the time before, and the whole soprano.

    Reference: Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762.
    """

    def __init__(self, time: int, width: int = 24, dropout: float = 0.1) -> None:
        super().__init__()
        self.soprano, self.lower = Voices(1, width), Voices(3, width)
        self.place = nn.Parameter(0.1 * torch.randn(time, width))
        self.drop = nn.Dropout(dropout)
        self.encoder = models.transformer_block(width, causal=False)
        self.attended, self.thought = models.transformer_block(width, causal=True)
        self.crossed = CrossAttention(width)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * NOTES))

    def forward(self, soprano: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
        """See the class."""
        heard = self.encoder(self.drop(self.soprano(soprano.unsqueeze(2)) + self.place))
        sung = self.attended(self.drop(self.lower(functional.pad(lower, (0, 0, 1, -1))) + self.place))
        decoded = self.thought(sung + self.drop(self.crossed(sung, heard)))
        return self.head(decoded).unflatten(2, (3, NOTES))


class Coconet(nn.Module):
    """Notes (batch, time, 4), of which some are masked, to logits (batch, time, 4, NOTES); convolutions over time and voice.

    Reference: Huang et al., "Counterpoint by Convolution", 2017, arXiv:1903.07227.
    """

    def __init__(self, width: int = 16, blocks: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(NOTES + 1, width)  # the last one stands for a masked note
        self.voice = nn.Parameter(0.1 * torch.randn(width, 1, 4))
        self.blocks = nn.Sequential(*(models.Residual(self._block(width)) for _ in range(blocks)))
        self.head = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, NOTES, 1))

    @staticmethod
    def _block(width: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False)]
        return nn.Sequential(*layers)

    def forward(self, notes: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """See the class."""
        vectors = self.embedding(notes.masked_fill(masked, NOTES)).permute(0, 3, 1, 2)
        return self.head(self.blocks(vectors + self.voice)).permute(0, 2, 3, 1)


class ChordModel(nn.Module):
    """Bengio's neural language model: some chords (batch, chords, 4) to the next one's logits (batch, 4, NOTES).

    Reference: Bengio et al., "A Neural Probabilistic Language Model", JMLR 3, 2003.
    """

    def __init__(self, chords: int = 2, width: int = 16, hidden: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(NOTES, width)
        self.hidden = nn.Sequential(nn.Linear(4 * chords * width, hidden), nn.Tanh())
        self.head = nn.Linear(hidden, 4 * NOTES)
        self.shortcut = nn.Linear(4 * chords * width, 4 * NOTES, bias=False)

    def forward(self, chords: torch.Tensor) -> torch.Tensor:
        """See the class."""
        vectors = self.embedding(chords).flatten(1)
        return (self.head(self.hidden(vectors)) + self.shortcut(vectors)).unflatten(1, (4, NOTES))
