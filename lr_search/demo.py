"""The demo's workload: scikit-learn's handwritten digits and a small convolutional network."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from lr_search.errors import MissingPackageError
from lr_search.workloads.supervised import classification
from lr_search.workloads.workload import Workload

TRAIN_SHARE = 0.8
AT_ONCE = 24  # trials: 25 CPU seconds for them all; 75 one by one, 31 with 8 at once, no less with 48


def small_cnn() -> nn.Module:
    """Two convolutions and two linear layers for 8 x 8 grey images of 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3, padding=1),  # (batch, 8, 8, 8)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (batch, 8, 4, 4)
        nn.Conv2d(8, 16, kernel_size=3, padding=1),  # (batch, 16, 4, 4)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (batch, 16, 2, 2)
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def digits() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Training and validation data: images (examples, 1, 8, 8), standardised, and classes (examples,).

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingPackageError('The demo needs scikit-learn: pip install "lr-search[demo]".') from error
    data = load_digits()
    images = data.images.astype(np.float32)[:, None]
    order = np.random.default_rng(0).permutation(len(images))
    cut = int(TRAIN_SHARE * len(images))
    train, valid = order[:cut], order[cut:]
    images = (images - images[train].mean()) / images[train].std()
    return (images[train], data.target[train]), (images[valid], data.target[valid])


def workload() -> Workload:
    """The demo's workload: `lr-search compare lr_search.demo:workload` is the demo with settings of your own."""
    train, valid = digits()
    return classification(
        model=small_cnn,
        optimizer=partial(torch.optim.SGD, momentum=0.9),
        train=train,
        valid=valid,
        batch_size=32,
        num_steps=300,
        eval_every=30,
        device="cpu",
    )
