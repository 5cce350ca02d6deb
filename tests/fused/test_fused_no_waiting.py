"""A fused step waits for no device: on the "meta" device, whose tensors have no values, whatever reads one raises."""

from functools import partial

import pytest
import torch
from torch import nn

from lr_search.fused.lane import Member
from lr_search.fused.support import Support
from lr_search.fused.trials import FusedTraining
from lr_search.schedules import Constant, by_name
from tests.helpers.workloads import line


def net():
    return nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


@pytest.mark.parametrize("stacks", [True, False], ids=["one optimizer", "an optimizer each"])
@pytest.mark.parametrize(
    "optimizer",
    [partial(torch.optim.SGD, momentum=0.9, nesterov=True), partial(torch.optim.AdamW, foreach=True)],
    ids=["sgd", "adamw"],
)
@pytest.mark.parametrize("changes", [{}, {"clip_norm": 0.1, "accumulate": 2}], ids=["plain", "clipped, accumulated"])
def test_steps_read_nothing(optimizer, stacks, changes):
    workload = line(model=net, optimizer=optimizer, device="meta", **changes)
    names = tuple(name for name, _ in net().named_parameters())
    support = Support(trained=names, stacks=stacks, metrics=True, draws=True)
    schedules = [Constant(0.1), by_name("one_cycle", lr=0.3, num_steps=30), Constant(1e-3)]
    training = FusedTraining([Member(workload, schedule) for schedule in schedules], 0, [support] * 3)
    losses = training._losses(until=3)
    assert (losses.shape, losses.device.type) == ((3, 3), "meta")
    with pytest.raises(NotImplementedError):  # as it does here, where they are read
        training.advance(1)
