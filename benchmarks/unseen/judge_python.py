"""A task on the source of Python's standard library: which character comes next, by retention."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from lifelike.task import LifelikeTask, family
from tasks import build
from tasks.data import Split
from tasks.models import Residual, mlp
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

FILES = ("argparse", "ast", "datetime", "decimal", "difflib", "doctest", "inspect", "optparse", "pickle", "tarfile")
BYTES = 36_000  # of each file
CHARACTERS = 97  # the printable ones, the end of a line, and any other
TIME = 32


@cache
def source() -> Split:
    """Pieces (TIME + 1,) of the files; every ninth 3,000 bytes of them are held out."""
    texts = [Path(os.__file__).with_name(f"{name}.py").read_bytes()[:BYTES] for name in FILES]
    codes = np.frombuffer(b"".join(text.ljust(BYTES, b"\n") for text in texts), np.uint8).astype(np.int64)
    numbers = np.where((codes >= 32) & (codes < 127), codes - 32, np.where(codes == 10, 95, 96))
    blocks = numbers.reshape(-1, 3000)[:, : 3000 // (TIME + 1) * (TIME + 1)].reshape(-1, 3000 // (TIME + 1), TIME + 1)
    held = np.arange(len(blocks)) % 9 == 4
    learnt, judged = (torch.as_tensor(blocks[side].reshape(-1, TIME + 1)) for side in (~held, held))
    return Split((learnt,), (judged[::3],))


class Retention(nn.Module):
    """Linear attention that forgets at a rate of its own in each head, gated (Sun et al., "RetNet", 2023, arXiv:2307.08621)."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.inward, self.outward = nn.Linear(width, 4 * width, bias=False), nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width // heads, elementwise_affine=False)
        ago = torch.arange(TIME)[:, None] - torch.arange(TIME)
        kept = 1 - 2.0 ** -(2 + 2 * torch.arange(heads))
        self.register_buffer("kept", torch.where(ago >= 0, kept[:, None, None] ** ago.clamp(min=0), 0.0))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, TIME, width) to the same shape."""
        batch, time, width = inputs.shape
        gates, *states = self.inward(inputs).chunk(4, dim=2)
        queries, keys, values = (
            state.reshape(batch, time, self.heads, width // self.heads).transpose(1, 2) for state in states
        )
        weights = queries @ keys.transpose(2, 3) / (width // self.heads) ** 0.5 * self.kept
        read = self.norm(weights @ values).transpose(1, 2).reshape(batch, time, width)
        out: torch.Tensor = self.outward(functional.silu(gates) * read)
        return out


def retentive(width: int = 32, blocks: int = 2) -> nn.Module:
    """Characters (batch, TIME) to the logits of those that follow (batch, TIME, CHARACTERS)."""

    def block() -> nn.Module:
        perceptron = mlp(width, 2 * width, width, activation=partial(nn.GELU, approximate="tanh"))
        return nn.Sequential(
            Residual(nn.Sequential(nn.LayerNorm(width), Retention(width))),
            Residual(nn.Sequential(nn.LayerNorm(width), perceptron)),
        )

    embedding = nn.Embedding(CHARACTERS, width)
    nn.init.normal_(embedding.weight, std=0.1)
    return nn.Sequential(
        embedding, *(block() for _ in range(blocks)), nn.LayerNorm(width), nn.Linear(width, CHARACTERS)
    )


def retention_python_adamw() -> Workload:
    """The next character of Python's own source by two retentive blocks: AdamW with clipped gradients, few passes."""
    optimizer = partial(optim.AdamW, betas=(0.9, 0.95), weight_decay=0.1)
    return build.workload(
        retentive, optimizer, build.next_letter, source(), batch_size=8, num_steps=3000, clip_norm=1.0
    )


TASKS: list[LifelikeTask] = family("judge", "python", "retention", retention_python_adamw, lengths=(1000, 3000))
