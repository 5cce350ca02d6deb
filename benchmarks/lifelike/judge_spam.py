"""Mails: which of five folders they are from, or whether they are spam. Only for judging; nothing is fitted on them."""

from __future__ import annotations

from functools import partial

from tasks import build, models
from torch import optim

from lr_search import Workload

from . import data_mails as mails
from .spam_models import AttentionPooling, CharCNN, HashedLinear, TextCNN
from .task import LifelikeTask, family

_FOLDERS = len(mails.FOLDERS)


def textcnn_spam_adam() -> Workload:
    """Kim's convolutions over 64 words with half of the channels dropped; the folders of a kind differ by time only."""
    model = partial(TextCNN, mails.WORDS, _FOLDERS)
    return build.workload(model, optim.Adam, build.cross_entropy, mails.words(64), batch_size=32, num_steps=1000)


def charcnn_spam_momentum() -> Workload:
    """Convolutions over the first 128 bytes, which have to find the words first; plain initialisation, momentum."""
    momentum = partial(optim.SGD, momentum=0.9)
    return build.workload(CharCNN, momentum, build.cross_entropy, mails.characters(), batch_size=32, num_steps=1000)


def attention_pooling_spam_adamw() -> Workload:
    """Small word vectors at first, so that the query attends everywhere until they have grown."""
    model, optimizer = partial(AttentionPooling, mails.WORDS, _FOLDERS), partial(optim.AdamW, weight_decay=0.01)
    return build.workload(model, optimizer, build.cross_entropy, mails.words(96), batch_size=32, num_steps=1000)


def perceptron_counts_spam_nesterov() -> Workload:
    """Tf-idf of 1,000 words: inputs of length 1, of which most are zero, with dropout and weight decay."""
    optimizer = partial(optim.SGD, momentum=0.9, nesterov=True, weight_decay=1e-4)
    return build.workload(
        lambda: models.mlp(mails.COUNTED, 64, 64, 2, dropout=0.5),
        optimizer,
        build.cross_entropy,
        mails.counts(),
        batch_size=64,
        num_steps=1000,
    )


def hashed_pairs_spam_adagrad() -> Workload:
    """Logistic regression on hashed words and pairs of words from zero weights, as Vowpal Wabbit does it; Adagrad."""
    model = partial(HashedLinear, mails.PAIRS)
    return build.workload(model, optim.Adagrad, build.cross_entropy, mails.pairs(), batch_size=32, num_steps=1000)


TASKS: list[LifelikeTask] = [
    *family("judge", "spam", "convolutions over words", textcnn_spam_adam),
    *family("judge", "spam", "convolutions over bytes", charcnn_spam_momentum),
    *family("judge", "spam", "pooling by attention", attention_pooling_spam_adamw),
    *family("judge", "spam", "perceptrons on word counts", perceptron_counts_spam_nesterov, hashed_pairs_spam_adagrad),
]
