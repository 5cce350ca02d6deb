"""Small trainings with Schedule-Free, and its own plain loop to compare them with."""

import itertools

import pytest
import schedulefree
import torch
from torch import nn

from tests.helpers.workloads import data, line, squared_error

LR = 0.05
KINDS = {
    "adamw": schedulefree.AdamWScheduleFree,
    "sgd": schedulefree.SGDScheduleFree,
    "radam": schedulefree.RAdamScheduleFree,
    "reference": schedulefree.SGDScheduleFreeReference,
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def network(width=8):
    return nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))


def wide():
    """Of so many weights, a few come back from the package's own switch in other bits."""
    return network(200)


def normed():
    return nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))


def free(**changes):
    """A workload with Schedule-Free whose 8 batches a pass come in their order."""
    settings = {"model": network, "optimizer": schedulefree.AdamWScheduleFree, "train_data": data}
    return line(**(settings | changes))


def by_hand(model, kind, num_steps, lr=LR, first=0):
    """The plain loop of Schedule-Free's README, never evaluated. Returns: the optimizer, in train mode."""
    optimizer = kind(model.parameters(), lr=lr)
    optimizer.train()
    for batch in itertools.islice(itertools.cycle(data()), num_steps):
        squared_error(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def seeded(make=network, seed=0):
    torch.manual_seed(seed)
    return make()


def same(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == called and torch.equal(a, b) for (name, a), (called, b) in pairs)


def plain(value):
    """An optimizer's state, so that == compares it."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
