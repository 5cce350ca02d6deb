"""To fit rules on: classes of clothes, by convolutions, residual and very deep networks, and under wrong labels."""

from __future__ import annotations

from functools import partial

from tasks import build
from tasks import models as small
from torch import nn, optim
from torch.nn import functional

from lr_search import Workload

from . import fashion_models as models
from .data_fashion import clothes, mislabelled
from .task import LifelikeTask, family

Momentum = partial(optim.SGD, momentum=0.9)
STEPS = 1000


def cnn_fashion_sgd() -> Workload:
    """Two convolutions and a hidden layer, plain SGD."""
    return build.workload(
        lambda: models.cnn(12, 24), optim.SGD, build.cross_entropy, clothes(), batch_size=32, num_steps=STEPS
    )


def lenet_fashion_adam() -> Workload:
    """LeNet-5 on the images as they are, Adam."""
    return build.workload(models.lenet, optim.Adam, build.cross_entropy, clothes(28), batch_size=32, num_steps=STEPS)


def cnn_fashion_momentum() -> Workload:
    """Strided convolutions at 256 examples a batch: 3,000 steps are 38 epochs."""
    return build.workload(
        lambda: models.cnn(8, 16, strided=True),
        Momentum,
        build.cross_entropy,
        clothes(),
        batch_size=256,
        num_steps=STEPS,
    )


def cnn_bn_fashion_momentum() -> Workload:
    """Three convolutions with BatchNorm, momentum and weight decay."""
    return build.workload(
        lambda: models.cnn_bn(16, 32, 64),
        partial(Momentum, weight_decay=5e-4),
        build.cross_entropy,
        clothes(),
        batch_size=64,
        num_steps=STEPS,
    )


def cnn_bn_fashion_adamw() -> Workload:
    """BatchNorm with dropout, label smoothing and AdamW's weight decay."""
    return build.workload(
        lambda: models.cnn_bn(16, 32, 64, dropout=0.2),
        partial(optim.AdamW, weight_decay=0.05),
        build.loss_of(functional.cross_entropy, label_smoothing=0.1),
        clothes(),
        batch_size=32,
        num_steps=STEPS,
    )


def separable_bn_fashion_rmsprop() -> Workload:
    """Separable convolutions as in MobileNet, with the RMSprop that those are trained with."""
    return build.workload(
        lambda: models.separable(16, 32, 64),
        partial(optim.RMSprop, alpha=0.9, momentum=0.9, eps=0.0316, weight_decay=1e-5),
        build.cross_entropy,
        clothes(),
        batch_size=32,
        num_steps=STEPS,
    )


def resnet_fashion_nesterov() -> Workload:
    """Residual blocks with BatchNorm, Nesterov's momentum and weight decay."""
    return build.workload(
        lambda: models.resnet(8, 16),
        partial(Momentum, nesterov=True, weight_decay=5e-4),
        build.cross_entropy,
        clothes(),
        batch_size=32,
        num_steps=STEPS,
    )


def resnet_gn_fashion_adamw() -> Workload:
    """Residual blocks with GroupNorm, AdamW and clipped gradients."""
    return build.workload(
        lambda: models.resnet(8, 16, norm=partial(nn.GroupNorm, 4)),
        partial(optim.AdamW, weight_decay=0.05),
        build.cross_entropy,
        clothes(),
        batch_size=32,
        num_steps=STEPS,
        clip_norm=1.0,
    )


def preactivated_fashion_nadam() -> Workload:
    """Residual blocks whose BatchNorms come first, NAdam."""
    return build.workload(
        lambda: models.preactivated(8, 16),
        optim.NAdam,
        build.cross_entropy,
        clothes(),
        batch_size=32,
        num_steps=STEPS,
    )


def deep_mlp_fashion_sgd() -> Workload:
    """Twelve linear layers without norms, plain SGD."""
    return build.workload(
        lambda: models.deep_mlp(12, 96), optim.SGD, build.cross_entropy, clothes(), batch_size=64, num_steps=STEPS
    )


def deep_cnn_fashion_adam() -> Workload:
    """Twelve convolutions without norms, Adam."""
    return build.workload(
        lambda: models.deep_cnn(12, 8), optim.Adam, build.cross_entropy, clothes(), batch_size=32, num_steps=STEPS
    )


def mlp_wrong_labels_fashion_adam() -> Workload:
    """1,000 examples, of which 30% are called wrong: 3,000 steps learn them by heart."""
    return build.workload(
        lambda: nn.Sequential(nn.Flatten(), small.mlp(196, 128, 128, 10)),
        optim.Adam,
        build.cross_entropy,
        mislabelled(train=1_000, wrong=0.3),
        batch_size=32,
        num_steps=STEPS,
    )


def cnn_wrong_labels_fashion_momentum() -> Workload:
    """2,000 examples, of which 20% are called wrong, against weight decay."""
    return build.workload(
        lambda: models.cnn(12, 24),
        partial(Momentum, weight_decay=5e-4),
        build.cross_entropy,
        mislabelled(train=2_000, wrong=0.2),
        batch_size=32,
        num_steps=STEPS,
    )


TASKS: list[LifelikeTask] = [
    *family("fit", "fashion", "convolutions", cnn_fashion_sgd, cnn_fashion_momentum, dear=[lenet_fashion_adam]),
    *family(
        "fit",
        "fashion",
        "convolutions with BatchNorm",
        cnn_bn_fashion_momentum,
        cnn_bn_fashion_adamw,
        dear=[separable_bn_fashion_rmsprop],
    ),
    *family(
        "fit",
        "fashion",
        "residual convolutions",
        resnet_fashion_nesterov,
        resnet_gn_fashion_adamw,
        dear=[preactivated_fashion_nadam],
    ),
    *family("fit", "fashion", "very deep plain", deep_mlp_fashion_sgd, dear=[deep_cnn_fashion_adam]),
    *family("fit", "fashion", "label noise", mlp_wrong_labels_fashion_adam, cnn_wrong_labels_fashion_momentum),
]
