"""The networks for images of clothes, (batch, 1, pixels, pixels)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

Norm = Callable[[int], nn.Module]


def he(network: nn.Module) -> nn.Module:
    """The network with He's normal weights and no biases (He et al., 2015, arXiv:1502.01852)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def unit(
    before: int, after: int, *, stride: int = 1, size: int = 3, groups: int = 1, norm: bool = True
) -> nn.Sequential:
    """Convolution, BatchNorm (or a bias), ReLU."""
    convolution = nn.Conv2d(before, after, size, stride, padding=size // 2, groups=groups, bias=not norm)
    return nn.Sequential(convolution, *([nn.BatchNorm2d(after)] if norm else []), nn.ReLU())


def cnn(*channels: int, hidden: int = 64, classes: int = 10, strided: bool = False) -> nn.Sequential:
    """Convolutions for 14 x 14, each followed by pooling or else of stride 2, and two linear layers."""
    layers: list[nn.Module] = []
    side = 14
    for before, after in pairwise((1, *channels)):
        layers += (
            [unit(before, after, stride=2, norm=False)]
            if strided
            else [unit(before, after, norm=False), nn.MaxPool2d(2)]
        )
        side = (side + 1) // 2 if strided else side // 2
    wide = channels[-1] * side**2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(wide, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def lenet() -> nn.Sequential:
    """LeNet-5 with ReLU and pooling by maximum, for 28 x 28."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def pooled(channels: int, out: int = 10, *, dropout: float = 0.0) -> nn.Sequential:
    """The mean over the pixels, and a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, out))


def cnn_bn(*channels: int, out: int = 10, dropout: float = 0.0) -> nn.Sequential:
    """Convolutions of stride 2 with BatchNorm, pooled."""
    units = [unit(before, after, stride=2) for before, after in pairwise((1, *channels))]
    return nn.Sequential(*units, pooled(channels[-1], out, dropout=dropout))


def separable(*channels: int) -> nn.Sequential:
    """Convolutions over space, then over channels, each with BatchNorm, as in MobileNet (arXiv:1704.04861)."""
    layers = [unit(1, channels[0], stride=2)]
    for before, after in pairwise(channels):
        layers += [unit(before, before, groups=before), unit(before, after, size=1)]
    return nn.Sequential(*layers, pooled(channels[-1]))


class Block(nn.Module):
    """relu(shortcut(x) + body(x)), two convolutions with norms (He et al., 2015, arXiv:1512.03385)."""

    def __init__(self, before: int, after: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False), norm(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False), norm(after),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), norm(after))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, before, height, width) to (batch, after, height / stride, width / stride)."""
        return functional.relu(self.shortcut(images) + self.body(images))


class PreBlock(nn.Module):
    """x + body(x), norms and ReLUs before the convolutions (He et al., 2016, arXiv:1603.05027)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
        )  # fmt: skip
        same = stride == 1 and before == after
        self.shortcut = None if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, before, height, width) to (batch, after, height / stride, width / stride)."""
        ready = self.first(images)
        through: torch.Tensor = self.body(ready)
        return through + (images if self.shortcut is None else self.shortcut(ready))


def resnet(*channels: int, classes: int = 10, norm: Norm = nn.BatchNorm2d) -> nn.Module:
    """A convolution of stride 2, a block for each number of channels, all but the first of stride 2, pooled; He's weights."""
    stem = nn.Sequential(nn.Conv2d(1, channels[0], 3, 2, padding=1, bias=False), norm(channels[0]), nn.ReLU())
    blocks = [
        Block(before, after, 1 if i == 0 else 2, norm)
        for i, (before, after) in enumerate(pairwise((channels[0], *channels)))
    ]
    return he(nn.Sequential(stem, *blocks, pooled(channels[-1], classes)))


def preactivated(*channels: int) -> nn.Module:
    """As `resnet`, of blocks whose norms come first."""
    blocks = [
        PreBlock(before, after, 1 if i == 0 else 2)
        for i, (before, after) in enumerate(pairwise((channels[0], *channels)))
    ]
    stem = nn.Conv2d(1, channels[0], 3, 2, padding=1, bias=False)
    return he(nn.Sequential(stem, *blocks, nn.BatchNorm2d(channels[-1]), nn.ReLU(), pooled(channels[-1])))


def deep_mlp(layers: int, width: int, pixels: int = 14) -> nn.Module:
    """That many linear layers with ReLU, no norms; He's weights."""
    hidden = [nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(layers - 2)]
    first = (nn.Flatten(), nn.Linear(pixels**2, width), nn.ReLU())
    return he(nn.Sequential(*first, *hidden, nn.Linear(width, 10)))


def deep_cnn(layers: int, channels: int) -> nn.Module:
    """That many convolutions with ReLU, no norms: the first half on 7 x 7, the others twice as many channels on 4 x 4; He's weights."""
    sizes = (1, *[channels] * (layers // 2), *[2 * channels] * (layers - layers // 2))
    units = [unit(before, after, stride=2 if before != after else 1, norm=False) for before, after in pairwise(sizes)]
    return he(nn.Sequential(*units, pooled(2 * channels)))


def encoder(channels: int, out: int) -> nn.Sequential:
    """Images of 14 x 14 to vectors, by two convolutions of stride 2."""
    return nn.Sequential(
        unit(1, channels, stride=2, norm=False), unit(channels, 2 * channels, stride=2, norm=False),
        nn.Flatten(), nn.Linear(32 * channels, out),
    )  # fmt: skip


def decoder(latent: int, channels: int) -> nn.Sequential:
    """Vectors to the logits of pixels, 14 x 14."""
    return nn.Sequential(
        nn.Linear(latent, 32 * channels), nn.ReLU(), nn.Unflatten(1, (2 * channels, 4, 4)),
        nn.ConvTranspose2d(2 * channels, channels, 3, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
    )  # fmt: skip


class Vae(nn.Module):
    """A variational autoencoder of pixels between 0 and 1 (Kingma and Welling, 2013, arXiv:1312.6114).

    Args:
        encode: images to means and log variances, (batch, 2 * latent).
        decode: (batch, latent) to the pixels' logits.
    """

    def __init__(self, encode: nn.Module, decode: nn.Module) -> None:
        super().__init__()
        self.encode, self.decode = encode, decode

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The negative evidence bound an image, with Bernoulli's likelihood: (batch, ...) to ()."""
        mean, log_var = self.encode(images).chunk(2, dim=1)
        logits = self.decode(mean + (0.5 * log_var).exp() * torch.randn_like(mean))
        unlikely = functional.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        divergence = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum()
        bound: torch.Tensor = (unlikely + divergence) / len(images)
        return bound
