"""Bach's chorales: tasks to judge on."""

from __future__ import annotations

from functools import partial

import torch
from tasks import build
from tasks.data import Tensors
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import data_music, music_models
from .task import LifelikeTask, family


def _error(logits: torch.Tensor, notes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of notes, whatever their shape, but for those of -100; logits are of one dimension more."""
    return functional.cross_entropy(logits.reshape(-1, data_music.NOTES), notes.reshape(-1))


def wavenet_bach_adam() -> Workload:
    """All four voices an eighth ahead: most notes are held, so that the loss is soon low and then falls slowly; clipped."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        (notes,) = batch
        return _error(model(notes[:, :-1]), notes[:, 1:])

    return build.workload(
        music_models.WaveNet,
        optim.Adam,
        loss,
        data_music.windows(33, hop=16, transposed=3, valid=400),
        batch_size=8,
        num_steps=1000,
        valid_batch=100,
        clip_norm=1.0,
    )


def seq2seq_bach_adamw() -> Workload:
    """Alto, tenor and bass to a given soprano, by an encoder and a decoder with attention, dropout and clipping."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        soprano, lower = batch[0][..., 0], batch[0][..., 1:]
        return _error(model(soprano, lower), lower)

    return build.workload(
        lambda: music_models.Harmonizer(16),
        partial(optim.AdamW, betas=(0.9, 0.98), weight_decay=0.01),
        loss,
        data_music.windows(16, hop=4, quarters=True, transposed=3, valid=500),
        batch_size=16,
        num_steps=1000,
        valid_batch=200,
        clip_norm=1.0,
    )


def coconet_bach_rmsprop() -> Workload:
    """Notes filled in where any share of them is masked: the loss depends on how many are, which makes it noisy."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        (notes,) = batch
        masked = torch.rand(notes.shape) < torch.rand(len(notes), 1, 1).clamp(0.1, 0.9)
        return _error(model(notes, masked), notes.masked_fill(~masked, -100))

    return build.workload(
        music_models.Coconet,
        optim.RMSprop,
        loss,
        data_music.windows(16, hop=4, quarters=True, transposed=3, valid=512),
        batch_size=16,
        num_steps=1000,
        valid_batch=256,
    )


def ngram_bach_momentum() -> Workload:
    """Bengio's model: the next chord after two, SGD with momentum and weight decay."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        (chords,) = batch
        return _error(model(chords[:, :-1]), chords[:, -1])

    return build.workload(
        music_models.ChordModel,
        partial(optim.SGD, momentum=0.9, weight_decay=1e-4),
        loss,
        data_music.windows(3, hop=1, quarters=True, transposed=3, valid=1000),
        batch_size=32,
        num_steps=1000,
    )


TASKS: list[LifelikeTask] = [
    *family("judge", "music", "dilated causal convolutions", wavenet_bach_adam),
    *family("judge", "music", "encoder and decoder with attention", seq2seq_bach_adamw),
    *family("judge", "music", "filling in masked notes", coconet_bach_rmsprop),
    *family("judge", "music", "neural n-grams", ngram_bach_momentum),
]
