"""Patches of photographs, cut so that no pixel is on both sides."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from tasks.data import Split
from torch.nn import functional

from . import sources

PHOTOS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
SIDE, TILE, PATCH = 256, 32, 16  # pixels: of a photograph, of what stays on one side, of what is cut from it
TRAIN, VALID = 8400, 700


def _make(package: Path) -> sources.Arrays:
    from PIL import Image, ImageOps

    pictures = [Image.open(package / "skimage/data" / name).convert("RGB") for name in PHOTOS]
    squares = [ImageOps.fit(picture, (SIDE, SIDE), Image.Resampling.LANCZOS) for picture in pictures]
    return {"pixels": np.stack([np.asarray(square) for square in squares])}


@cache
def _tiles() -> tuple[np.ndarray, np.ndarray]:
    """Tiles (photographs, tiles, TILE, TILE, 3) to learn from, and others to validate on."""
    pixels = sources.prepared("photos", "photos", _make)["pixels"]
    grid = SIDE // TILE
    tiles = pixels.reshape(-1, grid, TILE, grid, TILE, 3).swapaxes(2, 3).reshape(-1, grid * grid, TILE, TILE, 3)
    order = np.random.default_rng(0).permutation(grid * grid)
    return tiles[:, order[12:]], tiles[:, order[:12]]


def _cut(tiles: np.ndarray, count: int, views: int, shift: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches (count, views, PATCH, PATCH, 3) at random places, one view at most `shift` from the first; of which photograph."""
    rng = np.random.default_rng(seed)
    photo = np.arange(count) % len(tiles)
    tile = rng.integers(tiles.shape[1], size=count)
    first = rng.integers(TILE - PATCH + 1, size=(count, 1, 2))
    places = first + rng.integers(-shift, shift + 1, size=(count, views, 2)) * (np.arange(views) > 0)[:, None]
    places = places.clip(0, TILE - PATCH)
    rows, columns = (places[..., axis, None] + np.arange(PATCH) for axis in (0, 1))
    picked = (photo[:, None, None, None], tile[:, None, None, None], rows[..., None], columns[..., None, :])
    return tiles[picked], photo


@cache
def patches(*, grey: bool = False, views: int = 1, shift: int = 0) -> Split:
    """Patches of 14 photographs, and which photograph.

    Args:
        grey: one channel in place of three.
        views: patches of nearly one place an example, as so many tensors.
        shift: of the later views, by up to so many pixels.

    Returns:
        Tensors (channels, 16, 16) of about zero mean and unit deviation, one a view, and the class; on each side.
    """
    sides = []
    for tiles, count, seed in zip(_tiles(), (TRAIN, VALID), (0, 1), strict=True):
        pixels, photo = _cut(tiles, count, views, shift, seed)
        values = torch.as_tensor(pixels).permute(1, 0, 4, 2, 3).float()
        values = (values.mean(2, keepdim=True) if grey else values) / 64 - 1.6
        sides.append((*values.contiguous(), torch.as_tensor(photo)))
    return Split(sides[0], sides[1])


@cache
def noisy(deviation: float) -> Split:
    """Grey patches (1, 16, 16), and noise to add; anew in each training step, where this noise is not used."""
    sides = []
    for seed, (clean, _) in enumerate(patches(grey=True)):
        generator = torch.Generator().manual_seed(seed)
        sides.append((clean, deviation * torch.randn(clean.shape, generator=generator)))
    return Split(sides[0], sides[1])


@cache
def halved() -> Split:
    """Patches of half the resolution (3, 8, 8), and of the whole (3, 16, 16)."""
    learnt, held = ((functional.avg_pool2d(sharp, 2), sharp) for sharp, _ in patches())
    return Split(learnt, held)
