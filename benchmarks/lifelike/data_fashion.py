"""Fashion-MNIST (Xiao et al., 2017, arXiv:1708.07747): grey images of ten kinds of clothes, fewer of them and mostly smaller."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tasks import build
from tasks.data import Split
from torch.nn import functional

from lr_search import Workload

from .sources import Arrays, prepared

TRAIN, VALID = 20_000, 1_000


def _read(path: Path) -> np.ndarray:
    """An array of bytes from an IDX file: a magic number whose last byte is the rank, the sizes, the data."""
    content = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(content, ">i4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(sizes)


def _make(folder: Path) -> Arrays:
    rng = np.random.default_rng(0)
    arrays: Arrays = {}
    for part, prefix, examples in (("train", "train", TRAIN), ("valid", "t10k", VALID)):
        files = folder / "usr/share/datasets/fashion-mnist"
        images = _read(files / f"{prefix}-images-idx3-ubyte.gz")
        chosen = rng.permutation(len(images))[:examples]
        arrays[f"{part}_images"] = images[chosen]
        arrays[f"{part}_classes"] = _read(files / f"{prefix}-labels-idx1-ubyte.gz")[chosen]
    return arrays


@cache
def clothes(pixels: int = 14, *, scaled: bool = True, train: int = TRAIN) -> Split:
    """Images (1, pixels, pixels) and their classes, 0 to 9.

    Args:
        pixels: 28, or 14: every 2 x 2 averaged.
        scaled: to mean 0 and deviation 1; otherwise between 0 and 1.
        train: how many of the 20,000 to train on.
    """
    arrays = prepared("fashion_clothes", "fashion", _make)
    images, valid_images = (
        functional.avg_pool2d(torch.as_tensor(arrays[f"{part}_images"])[:, None] / 255, 28 // pixels)
        for part in ("train", "valid")
    )
    mean, std = (images.mean(), images.std()) if scaled else (torch.tensor(0.0), torch.tensor(1.0))
    classes, valid_classes = (torch.as_tensor(arrays[f"{part}_classes"]).long() for part in ("train", "valid"))
    return Split(((images[:train] - mean) / std, classes[:train]), ((valid_images - mean) / std, valid_classes))


@cache
def mislabelled(*, train: int, wrong: float) -> Split:
    """As `clothes`, but of the training classes a part is wrong, each moved on by 1 to 9 at random; validation is clean."""
    (images, classes), valid = clothes(train=train)
    rng = np.random.default_rng(1)
    moved = np.where(rng.random(train) < wrong, rng.integers(1, 10, size=train), 0)
    return Split((images, (classes + torch.as_tensor(moved)) % 10), valid)


@cache
def half(number: int, *, train: int = TRAIN) -> Split:
    """As `clothes`, of classes 0 to 4 (number 0) or 5 to 9 (number 1) alone, called 0 to 4; `train` of them at most."""
    chosen = [(images[classes // 5 == number], classes[classes // 5 == number] % 5) for images, classes in clothes()]
    (images, classes), valid = chosen
    return Split((images[:train], classes[:train]), valid)


def kept_weights(name: str, source: Callable[[], Workload], lr: float) -> dict[str, torch.Tensor]:
    """The weights after training `source` at a constant LR, kept on disk by this name after the first time."""

    def make(_: Path) -> Arrays:
        return {key: value.numpy() for key, value in build.trained_weights(source(), lr).items()}

    return {key: torch.as_tensor(value) for key, value in prepared(name, "fashion", make).items()}
