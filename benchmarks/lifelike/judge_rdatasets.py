"""Tables: ratings of films, diamonds, and speech. Only for judging; nothing is fitted on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from tasks import build
from tasks.data import Tensors
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload
from lr_search.optimizers import by_name

from . import data_rdatasets as data
from .rdatasets_models import ColumnTransformer, DeepFM, GatedFeatures, SelfNormalising, TwoTowers
from .task import LifelikeTask, family


def two_towers_films_adagrad() -> Workload:
    """Which of the batch's films each user liked: softmax within the batch, corrected for the films' frequency."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        *fields, log_share = batch
        users, films = model(*fields)
        scores = users @ films.T / 0.1 - log_share
        numbers = fields[1]
        again = (numbers[:, None] == numbers) & ~torch.eye(len(numbers), dtype=torch.bool)
        return functional.cross_entropy(scores.masked_fill(again, -1e4), torch.arange(len(numbers)))

    return build.workload(
        TwoTowers, optim.Adagrad, loss, data.liked_films(), batch_size=128, num_steps=1000, valid_batch=128
    )


def deepfm_films_adam() -> Workload:
    """Will it get 4 stars or more: many rows of the tables are in hardly any batch; vectors begin near zero."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        *fields, liked = batch
        return functional.binary_cross_entropy_with_logits(model(*fields), liked)

    return build.workload(DeepFM, optim.Adam, loss, data.ratings(), batch_size=128, num_steps=1000)


def _columns(optimizer: Callable[..., torch.optim.Optimizer], groups: Callable[[ColumnTransformer], Any]) -> Workload:
    """The price of diamonds by attention over their columns."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        return functional.mse_loss(model(*batch[:2]), batch[2])

    return build.workload(
        lambda: ColumnTransformer(6, (data.CUTS, data.COLOURS, data.CLARITIES)),
        optimizer,
        loss,
        data.diamonds("price"),
        batch_size=32,
        num_steps=1000,
        param_groups=groups,
    )


def column_attention_diamonds_adamw() -> Workload:
    """FT-Transformer on the price, with a decay of 1e-5 that spares tokens, norms and biases."""
    return _columns(optim.AdamW, lambda model: model.groups(1e-5))


def column_attention_diamonds_muon() -> Workload:
    """The same network under Muon, which makes the steps of the blocks' matrices orthogonal; AdamW steps the rest."""
    return _columns(by_name("muon"), ColumnTransformer.muon_groups)


def selu_cut_nadam() -> Workload:
    """Eight SELU layers without norms that tell a diamond's cut from its sizes, colour and price."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        return functional.cross_entropy(model(*batch[:2]), batch[2])

    model = partial(SelfNormalising, 7, (data.COLOURS, data.CLARITIES), data.CUTS)
    return build.workload(model, optim.NAdam, loss, data.diamonds("cut"), batch_size=64, num_steps=1000)


def gates_speech_rmsprop() -> Workload:
    """180 speakers of 750 measures each: it overfits; no more than 72 judge it."""
    model = partial(GatedFeatures, data.MEASURES)
    return build.workload(model, optim.RMSprop, build.cross_entropy, data.speech(), batch_size=16, num_steps=1000)


TASKS: list[LifelikeTask] = [
    *family("judge", "rdatasets", "two towers", two_towers_films_adagrad),
    *family("judge", "rdatasets", "factorisation machines", deepfm_films_adam),
    *family(
        "judge", "rdatasets", "attention over columns", column_attention_diamonds_adamw, column_attention_diamonds_muon
    ),
    *family("judge", "rdatasets", "self-normalising nets", selu_cut_nadam),
    *family("judge", "rdatasets", "gates", gates_speech_rmsprop),
]
