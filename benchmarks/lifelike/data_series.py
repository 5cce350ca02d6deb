"""Series of the UCR and UEA archives: windows to forecast, outlines and recordings to tell apart."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from tasks.data import Split
from torch.nn import functional

from . import sources

SHAPES = ("OSULeaf", "ArrowHead", "GunPoint", "ACSF1")  # univariate, of 6, 3, 2 and 10 classes


def _labelled(folder: Path, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (series, channels, length) and class numbers of a .ts file's series."""
    lines = (folder / f"{file}.ts").read_text(errors="replace").splitlines()
    rows = [line.strip().split(":") for line in lines[lines.index("@data") + 1 :] if line.strip()]
    values = np.array([[channel.split(",") for channel in row[:-1]] for row in rows], dtype=np.float32)
    return values, np.unique([row[-1] for row in rows], return_inverse=True)[1]


def _make(package: Path) -> sources.Arrays:
    folder = package / "aeon/datasets/data"
    arrays: sources.Arrays = {}
    for name in (*SHAPES, "JapaneseVowels"):
        ending = "_eq" if name == "JapaneseVowels" else ""  # its words brought to one length
        for part in ("TRAIN", "TEST"):
            values, classes = _labelled(folder / name, f"{name}{ending}_{part}")
            arrays |= {f"{name}_{part}": values, f"{name}_{part}_classes": classes}
    electric = np.loadtxt(folder / "segmentation/ElectricDevices.csv", delimiter=",", encoding="utf-8-sig")
    bleeding = folder / "KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv"
    walk = folder / "Daphnet_S06R02E0/S06R02E0.csv"
    arrays["electric"] = electric[:, 1:].astype(np.float32)
    arrays["bleeding"] = np.loadtxt(bleeding, delimiter=",", skiprows=1, usecols=[1], ndmin=2).astype(np.float32)
    arrays["walk"] = np.loadtxt(walk, delimiter=",", skiprows=1, usecols=range(1, 10)).astype(np.float32)
    return arrays


@cache
def _arrays() -> sources.Arrays:
    return sources.prepared("aeon_series", "aeon", _make)


def _all(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Every series (series, length) of a univariate set, and its class."""
    arrays = _arrays()
    parts = ("TRAIN", "TEST")
    values = np.concatenate([arrays[f"{name}_{part}"][:, 0] for part in parts])
    return values, np.concatenate([arrays[f"{name}_{part}_classes"] for part in parts])


def _blocks(series: np.ndarray, window: int, hop: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardised windows (windows, time, channels) within blocks of a long series, every fifth block held out."""
    cuts = [series[at : at + block] for at in range(0, len(series) - block + 1, block)]
    learnt = np.concatenate([cut for number, cut in enumerate(cuts) if number % 5 != 4])
    cuts = [(cut - learnt.mean(0)) / learnt.std(0) for cut in cuts]
    windows = [[cut[at : at + window] for at in range(0, block - window + 1, hop)] for cut in cuts]
    kept = [cut for number, cut in enumerate(windows) if number % 5 != 4]
    return np.concatenate(kept), np.concatenate(windows[4::5])


def _split(learnt: list[np.ndarray], held: list[np.ndarray], valid: int) -> Split:
    """Two lists of arrays of examples, of which some that are held out are kept."""
    some = np.random.default_rng(0).permutation(len(held[0]))[:valid]
    return Split(tuple(map(torch.as_tensor, learnt)), tuple(torch.as_tensor(array[some]) for array in held))


@cache
def forecasts(names: tuple[str, ...], *, past: int, future: int, hop: int, block: int, valid: int) -> Split:
    """What was (past, channels) and what came (future, channels), of series that are each standardised.

    Args:
        names: of "electric", "bleeding" (1 channel) and "walk" (9 channels).
        past: steps known.
        future: steps to forecast.
        hop: from one window to the next.
        block: steps that stay together on one side.
        valid: windows to keep for validation.
    """
    sides = [_blocks(_arrays()[name], past + future, hop, block) for name in names]
    learnt, held = (np.concatenate(windows) for windows in zip(*sides, strict=True))
    return _split([learnt[:, :past], learnt[:, past:]], [held[:, :past], held[:, past:]], valid)


def _resampled(series: np.ndarray, start: int, span: int, length: int) -> np.ndarray:
    """A part of a series, brought to another length."""
    places = np.linspace(start, start + span - 1, length)
    return np.asarray(np.interp(places, np.arange(len(series)), series))


@cache
def leaves(length: int = 64, *, turns: int = 8, valid: int = 600) -> Split:
    """Halves (1, length) of the outlines of leaves, begun anywhere, and which of 6 trees; no leaf is on both sides."""
    rng = np.random.default_rng(0)
    outlines, trees = _all("OSULeaf")
    half = outlines.shape[1] // 2
    starts = rng.integers(outlines.shape[1], size=(len(outlines), turns))
    cut = [
        [_resampled(np.roll(outline, -start), 0, half, length) for start in each]
        for outline, each in zip(outlines, starts, strict=True)
    ]
    halves, classes = np.array(cut, dtype=np.float32), np.repeat(trees[:, None], turns, axis=1)
    order = rng.permutation(len(halves))
    learnt, held = order[:340], order[340:]
    sides = [[halves[side].reshape(-1, 1, length), classes[side].reshape(-1)] for side in (learnt, held)]
    return _split(sides[0], sides[1], valid)


@cache
def shapes(length: int = 64, *, train: int = 160, valid: int = 24) -> Split:
    """Parts (1, length) of series of 21 classes, as many of each; no series is on both sides.

    Args:
        length: to which two thirds of a series are brought.
        train: parts of a class.
        valid: the same, to validate on.
    """
    rng = np.random.default_rng(0)
    parts: list[list[np.ndarray]] = [[], []]
    classes: list[list[int]] = [[], []]
    for values, numbers in map(_all, SHAPES):
        span = 2 * values.shape[1] // 3
        for number in range(numbers.max() + 1):
            of_class = values[rng.permutation(np.flatnonzero(numbers == number))]
            held = len(of_class) // 4
            label = len({*classes[0]})
            for side, (some, count) in enumerate(((of_class[held:], train), (of_class[:held], valid))):
                for series in some[rng.integers(len(some), size=count)]:
                    part = _resampled(series, int(rng.integers(values.shape[1] - span)), span, length)
                    parts[side].append((part - part.mean()) / (part.std() + 1e-6))
                    classes[side].append(label)
    sides = [
        [np.array(part, dtype=np.float32)[:, None], np.array(label)] for part, label in zip(parts, classes, strict=True)
    ]
    return _split(sides[0], sides[1], len(classes[1]))


@cache
def vowels() -> Split:
    """Two Japanese vowels (25, 12) as cepstral coefficients in time, and which of 9 men said them; as the archive splits them."""
    arrays = _arrays()
    sides = [
        [arrays[f"JapaneseVowels_{part}"].transpose(0, 2, 1).copy(), arrays[f"JapaneseVowels_{part}_classes"]]
        for part in ("TRAIN", "TEST")
    ]
    return _split(sides[0], sides[1], len(sides[1][0]))


def _random_kernels(series: torch.Tensor, kernels: int) -> np.ndarray:
    """ROCKET's features (series, 2 * kernels): how often each random convolution is positive, and its largest value."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(kernels):
        size = int(rng.choice([7, 9, 11]))
        weights = rng.normal(size=size)
        dilation = int(2 ** rng.uniform(0, np.log2((series.shape[1] - 1) / (size - 1))))
        padding = dilation * (size // 2) * int(rng.integers(2))
        kernel = torch.as_tensor(weights - weights.mean(), dtype=torch.float32)[None, None]
        signal = functional.conv1d(series[:, None], kernel, padding=padding, dilation=dilation) + rng.uniform(-1, 1)
        found += [(signal > 0).float().mean((1, 2)), signal.amax((1, 2))]
    return torch.stack(found, 1).numpy()


def _make_appliances(_: Path) -> sources.Arrays:
    series, classes = _all("ACSF1")
    windows = torch.as_tensor(series.reshape(-1, 146))
    return {"features": _random_kernels(windows, 500), "classes": np.repeat(classes, 10)}


@cache
def appliances() -> Split:
    """1,000 features of random kernels on a tenth of a recording each, unscaled, and which of 10 appliances was recorded.

    Reference: Dempster et al., "ROCKET: Exceptionally fast and accurate time series classification using random
    convolutional kernels", 2020, arXiv:1910.13051.
    """
    arrays = sources.prepared("aeon_kernels", "aeon", _make_appliances)
    held = np.arange(len(arrays["classes"])) // 10 % 4 == 3
    sides = [[arrays[name][side] for name in ("features", "classes")] for side in (~held, held)]
    return _split(sides[0], sides[1], int(held.sum()))
