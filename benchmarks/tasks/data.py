"""The tasks' data: scikit-learn's bundled sets, and synthetic ones from fixed seeds. Nothing is downloaded."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch

Tensors = tuple[torch.Tensor, ...]


class Split(NamedTuple):
    """Training and validation examples; every tensor is (examples, ...)."""

    train: Tensors
    valid: Tensors


def split(*arrays: np.ndarray, train: int, seed: int = 0) -> Split:
    """Shuffle the examples, and take the first `train` of them for training. Floats become float32."""
    order = np.random.default_rng(seed).permutation(len(arrays[0]))
    tensors = [torch.as_tensor(array[order]) for array in arrays]
    tensors = [tensor.float() if tensor.is_floating_point() else tensor.long() for tensor in tensors]
    return Split(tuple(tensor[:train] for tensor in tensors), tuple(tensor[train:] for tensor in tensors))


@cache
def digits(*, images: bool = False, scaled: bool = True) -> Split:
    """1797 grey images of digits, (64,) or (1, 8, 8), and their classes; raw pixels are 0 to 16."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = (found.data - 4.88) / 6.02 if scaled else found.data
    return split(pixels.reshape(-1, 1, 8, 8) if images else pixels, found.target, train=1280)


@cache
def table(name: str, *, train: int, scaled: bool = True) -> Split:
    """breast_cancer, wine, diabetes or iris: features (examples, features) and the target; raw or standardised."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    features = (found.data - found.data.mean(0)) / found.data.std(0) if scaled else found.data
    return split(features, found.target, train=train)


@cache
def teacher(*, features: int = 10, noise: float = 0.1, scale: float = 1.0, seed: int = 0) -> Split:
    """Regression on what a random tanh network gives: inputs (features,), targets (1,) of deviation about `scale`."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(2560, features))
    hidden = np.tanh(inputs @ rng.normal(size=(features, 20)) / np.sqrt(features) * 2)
    targets = hidden @ rng.normal(size=(20, 1)) / np.sqrt(20) + noise * rng.normal(size=(2560, 1))
    return split(inputs, scale * targets / targets.std(), train=2048)


@cache
def spirals(arms: int = 3, turns: float = 1.2, noise: float = 0.05) -> Split:
    """Points (2,) on the arms of a spiral, and which arm."""
    rng = np.random.default_rng(0)
    arm, radius = rng.integers(arms, size=2048), rng.uniform(0.1, 1.0, size=2048)
    angle = 2 * np.pi * (arm / arms + turns * radius)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1) + noise * rng.normal(size=(2048, 2))
    return split(2 * points, arm, train=1536)


@cache
def parity(bits: int = 12, counted: int = 3) -> Split:
    """Signs (bits,), and whether an even number of the first `counted` is negative; one in ten is told wrongly."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=(3072, bits))
    wrong = rng.random(3072) < 0.1
    return split(signs, ((signs[:, :counted].prod(1) > 0) ^ wrong).astype(int), train=2560)


@cache
def ratings(users: int = 100, items: int = 80, rank: int = 4) -> Split:
    """User, item, and the rating () that one gave the other, from a low-rank table with noise."""
    rng = np.random.default_rng(0)
    table_ = rng.normal(size=(users, rank)) @ rng.normal(size=(rank, items)) / np.sqrt(rank)
    user, item = rng.integers(users, size=6144), rng.integers(items, size=6144)
    return split(user, item, table_[user, item] + 0.2 * rng.normal(size=6144), train=5632)


@cache
def documents(words: int = 400, topics: int = 5, length: int = 12, seed: int = 0) -> Split:
    """Word numbers (length,), and the topic they were drawn from; some words are common to all topics."""
    rng = np.random.default_rng(seed)
    chances = 0.5 * rng.dirichlet(np.full(words, 0.05), size=topics) + 0.5 * rng.dirichlet(np.full(words, 0.1))
    topic = rng.integers(topics, size=2560)
    drawn = np.stack([rng.choice(words, size=length, p=chances[each]) for each in topic])
    return split(drawn, topic, train=2048)


@cache
def text(*, letters: int = 20, words: int = 40, length: int = 12, seed: int = 0) -> Split:
    """Windows (length + 1,) of letters from a text of made-up words; 0 is the blank, each word prefers some followers."""
    rng = np.random.default_rng(seed)
    lexicon = [rng.integers(1, letters, size=rng.integers(2, 7)) for _ in range(words)]
    followers = rng.dirichlet(np.full(words, 0.1), size=words).cumsum(1)
    written: list[int] = []
    word, wanted = 0, 1280 * (length + 1)
    while len(written) < wanted:
        written += [*lexicon[word].tolist(), 0]
        word = min(int(np.searchsorted(followers[word], rng.random())), words - 1)
    return split(np.array(written[:wanted]).reshape(-1, length + 1), train=1024)


@cache
def adding(length: int = 12) -> Split:
    """Sequences (length, 2) of numbers and marks, and the sum (1,) of the two marked numbers."""
    rng = np.random.default_rng(0)
    numbers, marks = rng.uniform(-1, 1, size=(2560, length)), np.zeros((2560, length))
    places = rng.random((2560, length)).argsort(1)[:, :2]
    np.put_along_axis(marks, places, 1.0, axis=1)
    return split(np.stack([numbers, marks], 2), (numbers * marks).sum(1, keepdims=True), train=2048)


@cache
def moons(noise: float = 0.08) -> Split:
    """Points (2,) on two half circles that reach into each other, without their classes."""
    rng = np.random.default_rng(0)
    angle, upper = rng.uniform(0, np.pi, size=2560), rng.integers(2, size=2560) > 0
    points = np.where(
        upper[:, None],
        np.stack([np.cos(angle), np.sin(angle)], 1),
        np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1),
    )
    return split(points - (0.5, 0.25) + noise * rng.normal(size=points.shape), train=2048)
