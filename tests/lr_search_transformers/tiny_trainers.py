"""Trainers of a tiny BERT or GPT-2 from scratch, on sentences of numbers: is more than half of one below 20?"""

from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

WORDS, LENGTH = 40, 8


def make_bert() -> PreTrainedModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForSequenceClassification(BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, **sizes))


def make_gpt() -> PreTrainedModel:
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_positions=LENGTH, n_embd=16, n_layer=1, n_head=2, **ends))


def sentences(count: int, seed: int, *, language_model: bool = False) -> list[dict[str, torch.Tensor]]:
    """Of a language model some words are masked, so that batches differ in how many count."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(1, WORDS, (count, LENGTH), generator=generator)
    labels = (words < WORDS // 2).sum(1).gt(LENGTH // 2).long()
    if language_model:
        labels = torch.where(torch.rand(words.shape, generator=generator) < 0.5, -100, words)
    return [{"input_ids": ids, "labels": label} for ids, label in zip(words, labels, strict=True)]


def accuracy(predictions: Any) -> dict[str, float]:
    return {"accuracy": float((predictions.predictions.argmax(-1) == predictions.label_ids).mean())}


def tiny_trainer(
    folder: Any, *, kind: type[Trainer] = Trainer, gpt: bool = False, made_with: Any = None, **arguments: Any
) -> Trainer:
    """With 80 examples in batches of 8, of which the last is smaller.

    Args:
        folder: its output_dir.
        kind: its class.
        gpt: a language model in place of a classifier.
        made_with: other arguments of the class.
        **arguments: TrainingArguments.
    """
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "report_to": "none", "use_cpu": True}
    args = TrainingArguments(output_dir=str(folder), disable_tqdm=True, **{**settings, **arguments})
    made = {
        "model_init": make_gpt if gpt else make_bert,
        "train_dataset": sentences(77, 1, language_model=gpt),
        "eval_dataset": sentences(32, 2, language_model=gpt),
        "compute_metrics": None if gpt else accuracy,
    }
    return kind(args=args, **{**made, **(made_with or {})})
