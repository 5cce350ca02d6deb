"""Language models and taggers on the Brown corpus, to fit rules on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from tasks import build
from tasks.data import Split, Tensors
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload, optimizers

from . import data_brown
from .brown_models import GPT, BiLSTMTagger, Encoder, LSTMModel, MaskedWords, WindowTagger
from .data_brown import FICTION, FIRST_WORD, NEWS, NOT_COUNTED, PADDING, ROMANCE, UNKNOWN
from .sources import Arrays, prepared
from .task import LifelikeTask, family

Momentum = partial(optim.SGD, momentum=0.9)
AdamW = partial(optim.AdamW, betas=(0.9, 0.95), weight_decay=0.1)


def decayed(decay: float) -> Callable[[nn.Module], list[dict[str, Any]]]:
    """Parameter groups of which only the weights of layers decay: no biases, no norms."""

    def groups(model: nn.Module) -> list[dict[str, Any]]:
        trained = [each for each in model.parameters() if each.requires_grad]
        return [
            {"params": [each for each in trained if each.ndim >= 2], "weight_decay": decay},
            {"params": [each for each in trained if each.ndim < 2], "weight_decay": 0.0},
        ]

    return groups


def language_model(
    model: Callable[[], nn.Module], optimizer: Callable[..., optim.Optimizer], data: Split, **settings: Any
) -> Workload:
    """A workload that learns which token comes next, with clipped gradients."""
    settings = {"batch_size": 12, "num_steps": 1000, "clip_norm": 1.0, **settings}
    return build.workload(model, optimizer, build.next_letter, data, **settings)


def gpt_letters_adamw() -> Workload:
    """The usual: AdamW with GPT-2's betas, and decay of the layers' weights only."""
    return language_model(GPT, AdamW, data_brown.letters(), param_groups=decayed(0.1), batch_size=8)


def gpt_letters_sgd() -> Workload:
    """Plain SGD, which transformers like less than Adam."""
    return language_model(GPT, optim.SGD, data_brown.letters(context=24))


def gpt_letters_momentum() -> Workload:
    """SGD with momentum; the head has weights of its own."""
    return language_model(partial(GPT, width=40, tied=False), Momentum, data_brown.letters(context=24))


def gpt_letters_large_batch_adam() -> Workload:
    """One block, and Adam on batches of 64."""
    return language_model(partial(GPT, blocks=1), optim.Adam, data_brown.letters(context=16), batch_size=64)


def gpt_letters_lion() -> Workload:
    """Lion: steps of one size, whatever the gradient's."""
    lion = optimizers.by_name("lion")
    return language_model(partial(GPT, width=24), lion, data_brown.letters(context=24), param_groups=decayed(0.3))


def gpt_letters_muon() -> Workload:
    """Muon: orthogonal steps for the layers' weights."""
    return language_model(partial(GPT, tied=False), optimizers.by_name("muon"), data_brown.letters(context=24))


def gpt_words_adafactor() -> Workload:
    """Words, the thousand most frequent, with dropout: Adafactor."""
    model = partial(GPT, tokens=1000 + FIRST_WORD, context=16, dropout=0.1)
    return language_model(model, optimizers.by_name("adafactor"), data_brown.words())


def lstm_letters_sgd() -> Workload:
    """PyTorch's example of a language model: SGD with tightly clipped gradients."""
    return language_model(LSTMModel, optim.SGD, data_brown.letters(context=24), clip_norm=0.25)


def lstm_letters_adam() -> Workload:
    """Adam, without dropout."""
    return language_model(partial(LSTMModel, dropout=0.0), optim.Adam, data_brown.letters(context=24), batch_size=20)


def lstm_words_adagrad() -> Workload:
    """Words: most embeddings have a gradient in few batches."""
    model = partial(LSTMModel, tokens=1000 + FIRST_WORD, width=48)
    return language_model(model, optim.Adagrad, data_brown.words())


def tag_error(model: nn.Module, batch: Tensors) -> torch.Tensor:
    """Cross-entropy of the words' parts of speech; a batch is (words, tags), both (batch, time)."""
    words, tags = batch
    return functional.cross_entropy(model(words).flatten(0, 1), tags.flatten(), ignore_index=NOT_COUNTED)


TAGGED_WORDS = 2000 + FIRST_WORD


def bilstm_tags_adam() -> Workload:
    """The usual tagger: an LSTM in both directions."""
    model = partial(BiLSTMTagger, words=TAGGED_WORDS)
    return build.workload(
        model, optim.Adam, tag_error, data_brown.tagged(), batch_size=16, num_steps=1000, clip_norm=5.0
    )


def masked_error(model: nn.Module, batch: Tensors) -> torch.Tensor:
    """Cross-entropy of words that are hidden, one in seven."""
    words = batch[0]
    hidden = (torch.rand(words.shape) < 0.15) & (words != PADDING)
    targets = torch.where(hidden, words, NOT_COUNTED)
    return functional.cross_entropy(
        model(torch.where(hidden, UNKNOWN, words)).flatten(0, 1), targets.flatten(), ignore_index=NOT_COUNTED
    )


encoder = partial(Encoder, words=TAGGED_WORDS)


def _masked_words() -> Workload:
    return build.workload(
        lambda: MaskedWords(encoder()),
        AdamW,
        masked_error,
        data_brown.tagged(),
        batch_size=16,
        num_steps=1500,
        clip_norm=1.0,
    )


@cache
def pretrained(name: str, source: Callable[[], Workload], lr: float) -> dict[str, torch.Tensor]:
    """The weights that `source` trains at this LR; kept on disk under that name."""

    def make(_: Path) -> Arrays:
        return {key: weight.numpy() for key, weight in build.trained_weights(source(), lr).items()}

    return {key: torch.as_tensor(weight) for key, weight in prepared(name, "brown", make).items()}


def encoder_tags_adamw() -> Workload:
    """A transformer that has learnt to fill in words goes on to tag them, as BERT is used."""
    weights = pretrained("brown_masked_words", _masked_words, 3e-3)

    def model() -> nn.Module:
        masked = MaskedWords(encoder())
        build.loaded(masked, weights)
        return nn.Sequential(masked.encoder, nn.Dropout(0.1), nn.Linear(32, data_brown.TAGS))

    optimizer = partial(optim.AdamW, weight_decay=0.01)
    return build.workload(
        model, optimizer, tag_error, data_brown.tagged(train=4000), batch_size=12, num_steps=1000, clip_norm=1.0
    )


def window_tags_momentum() -> Workload:
    """A perceptron on the words around: SGD with momentum and weight decay."""
    optimizer = partial(Momentum, weight_decay=1e-5)
    model = partial(WindowTagger, words=TAGGED_WORDS)
    return build.workload(
        model, optimizer, build.cross_entropy, data_brown.word_windows(), batch_size=64, num_steps=1000
    )


written_gpt = partial(GPT, tied=False)


def _news() -> Workload:
    return language_model(
        written_gpt,
        AdamW,
        data_brown.letters(categories=NEWS, context=24),
        param_groups=decayed(0.1),
        batch_size=16,
        num_steps=2000,
    )


def finetune_fiction_adamw() -> Workload:
    """A GPT that has read newspapers goes on with stories: all its weights."""
    weights = pretrained("brown_gpt_news", _news, 3e-3)
    return language_model(
        lambda: build.loaded(written_gpt(), weights),
        AdamW,
        data_brown.letters(categories=FICTION, context=24, train=8000),
        param_groups=decayed(0.1),
    )


def last_block_romance_momentum() -> Workload:
    """A GPT that has read newspapers goes on with love stories: only its last block and its head."""
    weights = pretrained("brown_gpt_news", _news, 3e-3)

    def model() -> nn.Module:
        gpt = written_gpt()
        build.loaded(gpt, weights)
        gpt.requires_grad_(False)
        for part in (gpt.blocks[-1], gpt.norm, gpt.head):
            part.requires_grad_(True)
        return gpt

    return language_model(model, Momentum, data_brown.letters(categories=ROMANCE, context=24, train=8000))


TASKS: list[LifelikeTask] = [
    *family(
        "fit",
        "brown",
        "GPT-like language models",
        gpt_letters_adamw,
        gpt_letters_sgd,
        dear=[
            gpt_letters_momentum,
            gpt_letters_large_batch_adam,
            gpt_letters_lion,
            gpt_letters_muon,
            gpt_words_adafactor,
        ],
    ),
    *family("fit", "brown", "LSTM language models", lstm_letters_sgd, lstm_words_adagrad, dear=[lstm_letters_adam]),
    *family("fit", "brown", "taggers", bilstm_tags_adam, window_tags_momentum, dear=[encoder_tags_adamw]),
    *family(
        "fit",
        "brown",
        "fine-tuning on another kind of text",
        dear=[finetune_fiction_adamw, last_block_romance_momentum],
    ),
]
