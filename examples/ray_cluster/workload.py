"""What the cluster trains: a small network on scikit-learn's handwritten digits.

Each machine reads the data itself, when a training starts: nothing large is sent. Data of your own would be downloaded, or read
from a folder that all machines share, in `images` likewise.
"""

from functools import cache, partial

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lr_search as lrs

TRAIN = 1437  # of 1797 images


@cache  # once a process
def images() -> TensorDataset:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return TensorDataset(
        torch.tensor(data.data[order] / 16, dtype=torch.float32), torch.tensor(data.target[order], dtype=torch.long)
    )


def batches(part: slice, *, shuffle: bool) -> DataLoader:
    return DataLoader(TensorDataset(*images()[part]), batch_size=32, shuffle=shuffle, drop_last=shuffle)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def loss(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
    inputs, classes = batch
    return nn.functional.cross_entropy(model(inputs), classes)


def workload() -> lrs.Workload:
    return lrs.Workload(
        model=network,
        optimizer=partial(torch.optim.SGD, momentum=0.9),
        loss=loss,
        train_data=partial(batches, slice(TRAIN), shuffle=True),
        valid_data=partial(batches, slice(TRAIN, None), shuffle=False),
        num_steps=300,
        eval_every=50,
    )
