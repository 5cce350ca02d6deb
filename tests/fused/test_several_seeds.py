"""Trainings of several seeds in lockstep, each on the weights and batches of its own."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lr_search.fused import seed_batches
from lr_search.fused.seed_batches import SeedsApartError, num_bytes, stack_batches
from lr_search.fused.support import support_of
from lr_search.schedules import Constant
from tests.helpers.fused_cases import (
    FEATURES,
    Attention,
    Scaled,
    alone,
    assert_same,
    convolutions,
    examples,
    fused,
    in_order,
    mlp,
    momentum_sgd,
    three_schedules,
    workload,
)

SEEDS = [0, 5, 0, 3, 5, 3]
SCHEDULES = three_schedules(0.02)


def loaded(**options):
    return DataLoader(TensorDataset(*examples()), batch_size=10, shuffle=True, **options)  # 4 of 10 and one of 8


def same(work, schedules=SCHEDULES, **options):
    ours = fused(work, schedules, seed=SEEDS[: len(schedules)], **options)
    assert_same(ours, alone(work, schedules, seed=SEEDS[: len(schedules)]))
    return ours


@pytest.mark.parametrize("model", [mlp, convolutions(lambda: nn.BatchNorm2d(4)), Attention, Scaled])
def test_each_is_as_by_itself(model):
    same(workload(model), three_schedules(0.02))


@pytest.mark.parametrize("optimizer", [momentum_sgd, torch.optim.Adam, torch.optim.Rprop])
def test_under_every_kind_of_optimizer(optimizer):
    sgd = workload(optimizer=torch.optim.SGD)
    same([sgd, *[workload(optimizer=optimizer)] * 3, sgd], [Constant(0.01)] * 5)


@pytest.mark.parametrize("options", [{}, {"generator": torch.Generator().manual_seed(3)}])
def test_loaders_shuffle_as_their_seeds_say(options):
    same(workload(train_data=partial(loaded, **options), accumulate=2, clip_norm=0.5))


def test_one_loader_for_all_seeds():
    loader = loaded()
    same(workload(train_data=lambda: loader))


def test_one_that_diverges_moves_no_other():
    ours = same(workload(), [Constant(lr) for lr in (0.01, 1e20, 0.02, 0.03)])
    assert [run.stopped for run in ours] == ["finished", "diverged", "finished", "finished"]


def test_those_that_are_cut_leave_the_rest_as_they_were():
    schedules = [Constant(0.01)] * 6
    ours = fused(workload(), schedules, seed=SEEDS, cut=lambda lane, step: lane.seed == 5 and step == 13)
    for one, other, seed in zip(ours, alone(workload(), schedules, seed=SEEDS), SEEDS, strict=True):
        if seed == 5:
            assert (one.stopped, one.step) == ("cut", 13)
        else:
            assert_same([one], [other])


def noisy():
    return [(inputs + 0.1 * torch.randn(inputs.shape), classes) for inputs, classes in in_order()]


@pytest.mark.parametrize(("valid_data", "passes"), [(in_order, 3 + 5), (noisy, 3 + 3 * 5)])
def test_one_pass_over_validation_data_that_are_the_same_for_all(valid_data, passes):
    begun = []

    class Counted(list):
        def __iter__(self):
            begun.append(self)
            return super().__iter__()

    def counted():
        return Counted(valid_data())

    work, schedules = workload(valid_data=counted), [Constant(0.01)] * 3
    support = support_of(work, 0)
    begun.clear()
    fused(work, schedules, seed=[0, 1, 2], support=support)
    assert len(begun) == passes  # one for each seed to compare them, then at each of 5 evaluations
    same(work, schedules)


def random_features():
    features = nn.Linear(FEATURES, FEATURES).requires_grad_(False)
    return nn.Sequential(features, nn.ReLU(), mlp())


class Turned(nn.Module):
    """Has random numbers in a tensor that is neither a parameter nor a buffer."""

    def __init__(self):
        super().__init__()
        self.turn, self.net = torch.randn(FEATURES, FEATURES), mlp()

    def forward(self, inputs):
        return self.net(inputs @ self.turn)


@pytest.mark.parametrize("model", [random_features, Turned])
def test_models_that_differ_in_what_is_not_trained_stay_apart(model):
    with pytest.raises((SeedsApartError, ValueError), match="differ"):
        fused(workload(model), SCHEDULES, seed=SEEDS[:3])


def test_what_cannot_be_stacked():
    one, other = torch.zeros(3, 2), torch.ones(3, 2)
    stacked = stack_batches([{"x": one, "y": [one]}, {"x": other, "y": [other]}], [1, 0, 1])
    assert stacked["x"].shape == stacked["y"][0].shape == (3, 3, 2)
    assert stacked["x"][:, 0, 0].tolist() == [1.0, 0.0, 1.0]
    for bad in (torch.ones(2, 2), torch.ones(3, 2).double(), 1.0, [one]):
        with pytest.raises(SeedsApartError, match="under every seed"):
            stack_batches([one, bad], [0, 1])


def test_what_is_drawn_ahead_is_bounded(monkeypatch):
    assert num_bytes([[torch.zeros(3), {"x": torch.zeros(2, dtype=torch.float64)}]]) == 28
    monkeypatch.setattr(seed_batches, "HELD_BYTES", 1)
    same(workload(), three_schedules(0.02))
