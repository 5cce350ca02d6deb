"""To fit rules on: images of clothes given back, generated, told apart by views, learnt from a teacher or after other classes."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from tasks import build
from tasks import models as small
from tasks.data import Split, Tensors
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import fashion_models as models
from .data_fashion import clothes, half, kept_weights
from .sources import Arrays, prepared
from .task import LifelikeTask, family

Momentum = partial(optim.SGD, momentum=0.9)
STEPS = 1000


def conv_autoencoder_fashion_adam() -> Workload:
    """A convolutional autoencoder with a bottleneck of 16."""

    def model() -> nn.Module:
        return nn.Sequential(models.encoder(8, 16), models.decoder(16, 8), nn.Sigmoid())

    return build.workload(
        model, optim.Adam, build.reconstruction, clothes(scaled=False), batch_size=32, num_steps=STEPS
    )


def denoising_fashion_adagrad() -> Workload:
    """A perceptron takes noise off images of 28 x 28, judged by each pixel's cross-entropy; Adagrad."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        pixels = batch[0].flatten(1)
        noisy = (pixels + 0.3 * torch.randn_like(pixels)).clamp(0, 1)
        return functional.binary_cross_entropy_with_logits(model(noisy), pixels)

    return build.workload(
        lambda: small.mlp(784, 128, 784),
        optim.Adagrad,
        loss,
        clothes(28, scaled=False),
        batch_size=64,
        num_steps=STEPS,
    )


def _bound(model: nn.Module, batch: Tensors) -> torch.Tensor:
    """What `Vae` gives of the images."""
    bound: torch.Tensor = model(batch[0])
    return bound


def vae_fashion_adam() -> Workload:
    """A variational autoencoder of perceptrons on images of 28 x 28; the loss is summed over the pixels."""

    def model() -> nn.Module:
        encode = nn.Sequential(nn.Flatten(), small.mlp(784, 128, 32))
        return models.Vae(encode, nn.Sequential(small.mlp(16, 128, 784), nn.Unflatten(1, (1, 28, 28))))

    return build.workload(model, optim.Adam, _bound, clothes(28, scaled=False), batch_size=64, num_steps=STEPS)


def conv_vae_fashion_adamw() -> Workload:
    """A variational autoencoder of convolutions, AdamW and clipped gradients."""
    return build.workload(
        lambda: models.Vae(models.encoder(8, 32), models.decoder(16, 8)),
        partial(optim.AdamW, weight_decay=0.01),
        _bound,
        clothes(scaled=False),
        batch_size=32,
        num_steps=STEPS,
        clip_norm=1.0,
    )


@cache
def _taught() -> Split:
    """The images, their classes, and the logits of a larger network that was trained on the same."""
    split = clothes()

    def source() -> Workload:
        optimizer = partial(optim.AdamW, weight_decay=0.05)
        return build.workload(teacher, optimizer, build.cross_entropy, split, batch_size=64, num_steps=1200)

    def teacher() -> nn.Module:
        return models.cnn_bn(32, 64, 128)

    def make(_: Path) -> Arrays:
        network = build.loaded(teacher(), build.trained_weights(source(), 2e-3)).eval()
        with torch.no_grad():
            return {
                part: torch.cat([network(some) for some in images.split(500)]).numpy()
                for part, (images, _) in split._asdict().items()
            }

    logits = prepared("fashion_taught", "fashion", make)
    return Split(
        (*split.train, torch.as_tensor(logits["train"])),
        (*split.valid, torch.as_tensor(logits["valid"])),
    )


def distilled_fashion_adam() -> Workload:
    """A small CNN learns a larger one's logits at temperature 4, and a little the classes (arXiv:1503.02531)."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        images, classes, taught = batch
        logits = model(images)
        given, wanted = (functional.log_softmax(each / 4, dim=1) for each in (logits, taught))
        soft = functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
        return 0.9 * 16 * soft + 0.1 * functional.cross_entropy(logits, classes)

    return build.workload(
        lambda: models.cnn(8, 16, hidden=32), optim.Adam, loss, _taught(), batch_size=64, num_steps=STEPS
    )


def _view(images: torch.Tensor) -> torch.Tensor:
    """Each image cropped, moved, perhaps mirrored, of another contrast, and under noise."""
    count = len(images)
    scale = 0.6 + 0.4 * torch.rand(count)
    mirrored = 1 - 2 * torch.randint(2, (count,))
    moved = (1 - scale[:, None]) * (2 * torch.rand(count, 2) - 1)
    turned = torch.diag_embed(torch.stack([mirrored * scale, scale], 1))
    grid = functional.affine_grid(torch.cat([turned, moved[:, :, None]], 2), list(images.shape), align_corners=False)
    seen = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return (0.6 + 0.8 * torch.rand(count, 1, 1, 1)) * seen + 0.1 * torch.randn_like(seen)


def _embedder() -> nn.Module:
    """Convolutions with BatchNorm, and a projection of two layers to 32 numbers."""
    return nn.Sequential(models.cnn_bn(8, 16, 32, out=64), nn.ReLU(), nn.Linear(64, 32))


def simclr_fashion_adamw() -> Workload:
    """Two random views of an image must find each other among 128 (SimCLR, arXiv:2002.05709)."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        images = batch[0]
        vectors = functional.normalize(model(_view(torch.cat([images, images]))), dim=1)
        alike = (vectors @ vectors.T / 0.2).fill_diagonal_(-torch.inf)
        return functional.cross_entropy(alike, torch.arange(len(vectors)).roll(len(images)))

    (images, _), (valid, _) = clothes()
    optimizer = partial(optim.AdamW, weight_decay=0.01)
    whole = Split((images,), (valid[:960],))  # whole batches: the loss grows with the number of views to choose from
    return build.workload(_embedder, optimizer, loss, whole, batch_size=64, valid_batch=64, num_steps=STEPS)


def supervised_contrastive_fashion_momentum() -> Workload:
    """Images of a class must be near each other, those of others far (arXiv:2004.11362)."""

    def loss(model: nn.Module, batch: Tensors) -> torch.Tensor:
        images, classes = batch
        vectors = functional.normalize(model(images), dim=1)
        itself = torch.eye(len(images), dtype=torch.bool)
        chances = functional.log_softmax((vectors @ vectors.T / 0.1).masked_fill(itself, -1e9), dim=1)
        partners = (classes[:, None] == classes) & ~itself
        return -((chances * partners).sum(1) / partners.sum(1).clamp(min=1)).mean()

    (images, classes), (valid, valid_classes) = clothes()
    whole = Split((images, classes), (valid[:960], valid_classes[:960]))
    return build.workload(
        _embedder,
        partial(Momentum, weight_decay=1e-4),
        loss,
        whole,
        batch_size=96,
        valid_batch=96,
        num_steps=STEPS,
    )


def _five_cnn() -> nn.Sequential:
    return models.cnn(12, 24, classes=5)


def _five_resnet() -> nn.Module:
    return models.resnet(8, 16, classes=5)


def finetune_cnn_fashion_adam() -> Workload:
    """A CNN trained on five classes goes on with the other five: a new head, all layers."""

    def source() -> Workload:
        return build.workload(_five_cnn, optim.Adam, build.cross_entropy, half(0), batch_size=32, num_steps=800)

    weights = kept_weights("fashion_five_cnn", source, 1e-3)

    def model() -> nn.Module:
        network: Any = build.loaded(_five_cnn(), weights)
        network[-1].reset_parameters()
        return network  # type: ignore[no-any-return]

    return build.workload(model, optim.Adam, build.cross_entropy, half(1), batch_size=32, num_steps=STEPS)


def finetune_resnet_fashion_momentum() -> Workload:
    """A residual network goes on with 2,000 images of other classes: a new head, the rest at a tenth of its LR."""
    optimizer = partial(Momentum, weight_decay=5e-4)

    def source() -> Workload:
        return build.workload(_five_resnet, optimizer, build.cross_entropy, half(0), batch_size=32, num_steps=800)

    weights = kept_weights("fashion_five_resnet", source, 0.05)

    def model() -> nn.Module:
        network: Any = build.loaded(_five_resnet(), weights)
        network[-1][-1].reset_parameters()
        return network  # type: ignore[no-any-return]

    def groups(network: Any) -> list[dict[str, Any]]:
        return [
            {"params": network[-1].parameters(), "lr": 1e-2},
            {"params": network[:-1].parameters(), "lr": 1e-3},
        ]

    return build.workload(
        model,
        optimizer,
        build.cross_entropy,
        half(1, train=2_000),
        batch_size=32,
        num_steps=STEPS,
        param_groups=groups,
    )


TASKS: list[LifelikeTask] = [
    *family("fit", "fashion", "autoencoders", conv_autoencoder_fashion_adam, denoising_fashion_adagrad),
    *family("fit", "fashion", "variational autoencoders", vae_fashion_adam, dear=[conv_vae_fashion_adamw]),
    *family("fit", "fashion", "distillation", distilled_fashion_adam),
    *family(
        "fit", "fashion", "contrastive views", supervised_contrastive_fashion_momentum, dear=[simclr_fashion_adamw]
    ),
    *family(
        "fit", "fashion", "fine-tuning on other classes", finetune_cnn_fashion_adam, finetune_resnet_fashion_momentum
    ),
]
