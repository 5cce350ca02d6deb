"""Networks for patches of 16 x 16 pixels."""
# mypy: disable-error-code=no-any-return
# (what a module returns is Any to torch)

from __future__ import annotations

import math

import torch
from tasks import models
from torch import nn
from torch.nn import functional


class ViT(nn.Module):
    """Attention between 16 parts of a picture and a class token: (batch, 1, 16, 16) to logits (batch, classes).

    Reference: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, arXiv:2010.11929.
    """

    def __init__(self, classes: int, *, width: int = 24, blocks: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.parts = nn.Linear(16, width)
        self.token = nn.Parameter(torch.zeros(width))
        self.place = nn.Parameter(0.02 * torch.randn(17, width))
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(models.transformer_block(width, causal=False) for _ in range(blocks)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        parts = self.parts(functional.pixel_unshuffle(images, 4).flatten(2).transpose(1, 2))
        tokens = torch.cat([self.token.expand(len(parts), 1, -1), parts], dim=1)
        return self.head(self.blocks(self.drop(tokens + self.place))[:, 0])


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution, then LayerNorm and a perceptron at every place, scaled: (batch, width, h, w) to the same."""

    def __init__(self, width: int, size: int = 5) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, size, padding=size // 2, groups=width)
        self.pointwise = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.scale = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        mixed = self.pointwise(self.depthwise(images).permute(0, 2, 3, 1))
        return images + (self.scale * mixed).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Two stages of one block each: (batch, 3, 16, 16) to logits (batch, classes).

    Reference: Liu et al., "A ConvNet for the 2020s", 2022, arXiv:2201.03545.
    """

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=4),
            nn.GroupNorm(1, width),
            ConvNeXtBlock(width),
            nn.GroupNorm(1, width),
            nn.Conv2d(width, 2 * width, 2, stride=2),
            ConvNeXtBlock(2 * width, 3),
        )
        self.head = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.head(self.stages(images).mean((2, 3)))


def _convolve(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU())


class UNet(nn.Module):
    """Noisy pictures (batch, 1, 16, 16) to the noise in them; one level down, with its shortcut.

    Reference: Ronneberger et al., "U-Net", 2015, arXiv:1505.04597.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = _convolve(1, width)
        self.down = nn.Sequential(nn.MaxPool2d(2), _convolve(width, 2 * width), _convolve(2 * width, 2 * width))
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.last = nn.Sequential(_convolve(2 * width, width), nn.Conv2d(width, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        fine = self.first(images)
        return self.last(torch.cat([fine, self.up(self.down(fine))], dim=1))


def espcn(width: int = 24) -> nn.Sequential:
    """Pictures (batch, 3, h, w) to ones of twice the resolution, shuffled from channels at the end.

    Reference: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN", 2016,
    arXiv:1609.05158.
    """
    return nn.Sequential(
        nn.Conv2d(3, width, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(width, width // 2, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(width // 2, 12, 3, padding=1),
        nn.PixelShuffle(2),
    )


class TimedBlock(nn.Module):
    """A residual block of a diffusion model, moved by the time: (batch, width, h, w) and (batch, hidden) to the former."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(4, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.moved = nn.Linear(hidden, width)
        self.second = nn.Sequential(nn.GroupNorm(4, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        nn.init.zeros_(self.second[-1].weight)  # type: ignore[arg-type]

    def forward(self, images: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return images + self.second(self.first(images) + self.moved(time)[:, :, None, None])


class Denoiser(nn.Module):
    """Noised pictures (batch, 1, 16, 16) and times (batch,) in [0, 1] to the noise; it works on parts of 4 x 4 pixels.

    Reference: Ho et al., "Denoising Diffusion Probabilistic Models", 2020, arXiv:2006.11239.
    """

    frequencies: torch.Tensor

    def __init__(self, width: int = 32, blocks: int = 2, hidden: int = 48) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.exp(torch.linspace(0, math.log(1000), 16)))
        self.time = nn.Sequential(nn.Linear(32, hidden), nn.SiLU())
        self.inward = nn.Conv2d(16, width, 1)
        self.blocks = nn.ModuleList(TimedBlock(width, hidden) for _ in range(blocks))
        self.outward = nn.Sequential(nn.GroupNorm(4, width), nn.SiLU(), nn.Conv2d(width, 16, 1))

    def forward(self, images: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """See the class."""
        angles = time.unsqueeze(1) * self.frequencies
        known = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        inner = self.inward(functional.pixel_unshuffle(images, 4))
        for block in self.blocks:
            inner = block(inner, known)
        return functional.pixel_shuffle(self.outward(inner), 4)


class SimSiam(nn.Module):
    """Two views (batch, 3, 16, 16) to what each is foretold to be and what the other is, both (2 * batch, width).

    Reference: Chen and He, "Exploring Simple Siamese Representation Learning", 2021, arXiv:2011.10566.
    """

    def __init__(self, channels: int = 16, width: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
        )
        self.projector = nn.Sequential(
            nn.Linear(8 * channels, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(width, width // 4, bias=False),
            nn.BatchNorm1d(width // 4),
            nn.ReLU(),
            nn.Linear(width // 4, width),
        )

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        projected = self.projector(self.encoder(torch.cat([first, second])))
        return self.predictor(projected), projected.detach().roll(len(first), 0)
