"""Patches of photographs: tasks to judge on."""

from __future__ import annotations

import math
from functools import partial

import torch
from tasks import build
from tasks.data import Tensors
from torch import nn, optim
from torch.nn import functional

import lr_search as lrs
from lr_search import Workload

from . import data_photos, photo_models
from .task import LifelikeTask, family

CLASSES = len(data_photos.PHOTOS)


def vit_photos_adamw() -> Workload:
    """Which photograph a grey patch is from, by attention between its parts, with dropout."""
    return build.workload(
        lambda: photo_models.ViT(CLASSES),
        partial(optim.AdamW, weight_decay=0.05),
        build.cross_entropy,
        data_photos.patches(grey=True),
        num_steps=1000,
        clip_norm=1.0,
    )


def vit_photos_lion() -> Workload:
    """The same under Lion, whose steps have one size whatever the gradients' is."""
    return build.workload(
        lambda: photo_models.ViT(CLASSES),
        partial(lrs.optimizers.by_name("lion"), weight_decay=0.5),
        build.cross_entropy,
        data_photos.patches(grey=True),
        num_steps=1000,
        clip_norm=1.0,
    )


def convnext_photos_adamw() -> Workload:
    """Which photograph a coloured patch is from; the layers' scales begin at 1e-6, so that blocks come in late."""
    return build.workload(
        lambda: photo_models.ConvNeXt(CLASSES),
        partial(optim.AdamW, weight_decay=0.05),
        build.cross_entropy,
        data_photos.patches(),
        num_steps=1000,
    )


def unet_photos_adam() -> Workload:
    """The noise in noisy patches, drawn anew in every training step."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        clean, fixed = batch
        noise = 0.4 * torch.randn_like(clean) if model.training else fixed
        return functional.mse_loss(model(clean + noise), noise)

    return build.workload(
        photo_models.UNet, optim.Adam, loss, data_photos.noisy(0.4), batch_size=16, num_steps=1000, valid_batch=350
    )


def espcn_photos_momentum() -> Workload:
    """Twice the resolution by a pixel shuffle, absolute errors; SGD with momentum and clipping."""
    return build.workload(
        photo_models.espcn,
        partial(optim.SGD, momentum=0.9),
        build.loss_of(functional.l1_loss),
        data_photos.halved(),
        batch_size=16,
        num_steps=1000,
        clip_norm=1.0,
    )


def ddpm_photos_adamw() -> Workload:
    """Diffusion: the noise at a random time under a cosine schedule, where the loss is noisy and falls slowly."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        clean = batch[0]
        time, noise = torch.rand(len(clean)), torch.randn_like(clean)
        angle = (0.5 * math.pi * time)[:, None, None, None]
        return functional.mse_loss(model(angle.cos() * clean + angle.sin() * noise, time), noise)

    return build.workload(
        photo_models.Denoiser,
        partial(optim.AdamW, weight_decay=0.01),
        loss,
        data_photos.patches(grey=True),
        batch_size=16,
        num_steps=1000,
        clip_norm=1.0,
    )


def _jittered(images: torch.Tensor) -> torch.Tensor:
    """Other contrast, brightness and colour an image, half of them mirrored."""
    mirrored = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
    contrast = 1 + 0.4 * (2 * torch.rand(len(images), 1, 1, 1) - 1)
    return contrast * mirrored + 0.4 * torch.randn(len(images), 3, 1, 1)


def simsiam_photos_momentum() -> Workload:
    """Two views of nearly one place, without negatives; judged against other places too, for a collapse would have the best loss."""

    def judged(model: nn.Module, batch: Tensors) -> dict[str, torch.Tensor]:
        predicted, wanted = model(*batch[:2])
        apart = functional.cosine_similarity(predicted, wanted.roll(1, 0))
        return {"loss": (apart - functional.cosine_similarity(predicted, wanted)).mean()}

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        first, second = map(_jittered, batch[:2]) if model.training else batch[:2]
        return -functional.cosine_similarity(*model(first, second)).mean()

    return build.workload(
        photo_models.SimSiam,
        partial(optim.SGD, momentum=0.9, weight_decay=1e-4),
        loss,
        data_photos.patches(views=2, shift=4),
        batch_size=64,
        num_steps=1000,
        metrics=judged,
    )


TASKS: list[LifelikeTask] = [
    *family("judge", "photos", "ViT", vit_photos_adamw, vit_photos_lion),
    *family("judge", "photos", "ConvNeXt-like", convnext_photos_adamw),
    *family("judge", "photos", "U-Net against noise", unet_photos_adam),
    *family("judge", "photos", "super-resolution", espcn_photos_momentum),
    *family("judge", "photos", "diffusion", ddpm_photos_adamw),
    *family("judge", "photos", "SimSiam", simsiam_photos_momentum),
]
