"""A pretrained sentence encoder on mails. Only for judging; nothing is fitted on them."""

from __future__ import annotations

from functools import partial

import torch
from tasks import build
from tasks.data import Tensors
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import data_mails as mails
from . import data_minilm as data
from .minilm_models import LastLayers, decayed_matrices, new_linear, trained, with_lora
from .task import LifelikeTask, family

_FINE_TUNED = partial(optim.AdamW, weight_decay=0.01)


def head_minilm_adamw() -> Workload:
    """A new head with a hidden layer on a frozen encoder's vectors, whose entries are about 0.05: the mail's folder."""

    def model() -> nn.Module:
        hidden, out = new_linear(data.WIDTH, data.WIDTH), new_linear(data.WIDTH, len(mails.FOLDERS))
        return nn.Sequential(nn.Dropout(0.1), hidden, nn.Tanh(), nn.Dropout(0.1), out)

    return build.workload(
        model, _FINE_TUNED, build.cross_entropy, data.sentences(), batch_size=32, num_steps=1000, clip_norm=1.0
    )


def _is_spam(model: nn.Module, batch: Tensors) -> torch.Tensor:
    states, lengths, spam = batch
    return functional.cross_entropy(model(states, lengths), spam)


def last_layer_minilm_adamw() -> Workload:
    """The last of six layers goes on from its pretrained weights, with a new head: is a mail of 16 tokens spam?"""
    return build.workload(
        partial(LastLayers, data.LAYERS - 1),
        _FINE_TUNED,
        _is_spam,
        data.states(data.LAYERS - 1),
        batch_size=16,
        num_steps=300,
        clip_norm=1.0,
        param_groups=decayed_matrices,
    )


def lora_minilm_adamw() -> Workload:
    """Adapters of rank 4 on the queries and values of the last two layers; all else but the head is frozen."""
    return build.workload(
        lambda: with_lora(LastLayers(data.LAYERS - 2)),
        _FINE_TUNED,
        _is_spam,
        data.states(data.LAYERS - 2),
        batch_size=8,
        num_steps=300,
        clip_norm=1.0,
        param_groups=trained,
    )


def metric_minilm_momentum() -> Workload:
    """A projection under which a subject is nearer to its own body than to the others of the batch, from few pairs."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        subjects, bodies = (functional.normalize(model(each), dim=1) for each in batch)
        return functional.cross_entropy(20 * subjects @ bodies.T, torch.arange(len(subjects)))

    return build.workload(
        lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(data.WIDTH, 128, bias=False)),
        partial(optim.SGD, momentum=0.9, weight_decay=1e-3),
        loss,
        data.subjects_and_bodies(),
        batch_size=64,
        num_steps=1000,
        valid_batch=64,
    )


_FAMILY = "fine-tuning of a pretrained encoder"

TASKS: list[LifelikeTask] = [
    *family("judge", "minilm", _FAMILY, head_minilm_adamw, metric_minilm_momentum),
    *family("judge", "minilm", _FAMILY, last_layer_minilm_adamw, lora_minilm_adamw, lengths=(300,)),
]
