"""The mean of several snapshots' weights, against torch's own averaged model and against plain sums."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

import lr_search as lrs
from lr_search.training.snapshots import Snapshot

FOUR_CYCLES = lrs.schedules.Triangular(0.01, 0.2, step_size=2.5)  # in 20 steps


class BatchNormNet(nn.Sequential):
    """Without anything random in its forward pass."""

    def __init__(self):
        super().__init__(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
        self.register_buffer("offset", torch.zeros(3))

    def forward(self, inputs):
        if self.training:
            self.offset += 1  # a buffer that is not a batch norm's
        return super().forward(inputs)


@pytest.fixture
def in_order(examples, make_workload):
    """A workload of a batch-norm net whose batches always come in the same order; keywords change anything."""
    loader = DataLoader(TensorDataset(*examples), batch_size=8, drop_last=True)
    return lambda **changes: make_workload(**({"model": BatchNormNet, "train_data": lambda: loader} | changes))


def snapshots_of(workload, schedule=FOUR_CYCLES, count=4):
    training = lrs.train(workload, schedule, snapshots=count)
    list(training)
    return training.snapshots


def model_of(workload, snapshot):
    model = workload.model()
    model.load_state_dict(snapshot.weights)
    return model


def test_it_is_torchs_averaged_model_with_its_statistics_updated(in_order, examples):
    workload = in_order()
    snapshots = snapshots_of(workload)
    theirs = AveragedModel(model_of(workload, snapshots[0]))
    for snapshot in snapshots:
        theirs.update_parameters(model_of(workload, snapshot))
    update_bn(workload.train_data(), theirs)
    expected = theirs.module.state_dict()
    found = lrs.average_weights(workload, snapshots).state_dict()
    last = snapshots[-1].weights
    assert found.keys() == expected.keys()
    for name in found.keys() - {"offset"}:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-6)
        if name != "0.bias":  # the norm behind it takes it away again, so that it never moves
            assert not torch.allclose(found[name].float(), last[name].float(), atol=1e-3), name
    assert int(found["1.num_batches_tracked"]) == 7
    assert torch.equal(found["offset"], last["offset"])  # the pass over the data is no training
    with torch.no_grad():
        model = lrs.average_weights(workload, snapshots)
        assert torch.allclose(model(examples[0]), theirs.module.eval()(examples[0]), atol=1e-5)


def test_parameters_are_the_mean_of_the_last(in_order):
    workload = in_order()
    snapshots = snapshots_of(workload)
    for last in (1, 2, 3, None):
        model = lrs.average_weights(workload, snapshots, last=last)
        taken = snapshots if last is None else snapshots[-last:]
        for name, parameter in model.named_parameters():
            expected = np.mean([snapshot.weights[name].double().numpy() for snapshot in taken], axis=0)
            np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-7)


def test_the_mean_is_taken_in_double_precision():
    workload = line()
    snapshots = [one_weight(value) for value in (1e8, 1.0, -1e8)]  # in single precision 1e8 + 1 is 1e8
    assert lrs.average_weights(workload, snapshots).weight.item() == pytest.approx(1 / 3)


def test_whole_numbers_are_the_last_snapshots():
    def counting():
        model = nn.Linear(1, 1, bias=False)
        model.table = nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)
        return model

    snapshots = [
        Snapshot(step, {"weight": torch.full((1, 1), float(step)), "table": torch.tensor([step, step + 1])})
        for step in (1, 4)
    ]
    model = lrs.average_weights(line(model=counting), snapshots)
    assert (model.weight.item(), model.table.tolist()) == (2.5, [4, 5])


def one_weight(value):
    return Snapshot(1, {"weight": torch.tensor([[float(value)]])})


def line(**changes):
    settings = {
        "model": partial(nn.Linear, 1, 1, bias=False),
        "optimizer": torch.optim.SGD,
        "loss": lambda model, batch: model(batch).pow(2).mean(),
        "train_data": lambda: [torch.ones(4, 1)] * 3,
        "valid_data": lambda: [torch.ones(4, 1)],
        "device": "cpu",
    }
    return lrs.Workload(**(settings | changes))


# ---- the pass over the training data ----


class Normed(nn.Module):
    """One weight and a batch norm after it."""

    def __init__(self, momentum=0.1):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))
        self.norm = nn.BatchNorm1d(1, momentum=momentum, affine=False)

    def forward(self, x):
        return self.norm(x @ self.weight)


def normed_snapshot(value):
    return Snapshot(1, Normed().state_dict() | {"weight": torch.tensor([[float(value)]])})


@pytest.mark.parametrize(
    "pack", [lambda x: x, lambda x: {"x": x}, lambda x: [("name", x)]], ids=["tensor", "dict", "list"]
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_batches_of_any_format_are_seen_once_each(pack, accumulate):
    batches = [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]]), torch.tensor([[10.0], [14.0]])]
    seen = []

    def loss(model, batch):
        x = batch["x"] if isinstance(batch, dict) else batch[0][1] if isinstance(batch, list) else batch
        seen.append(model.training)
        assert not torch.is_grad_enabled()
        return model(x).pow(2).mean()

    workload = line(model=Normed, loss=loss, train_data=lambda: [pack(x) for x in batches], accumulate=accumulate)
    model = lrs.average_weights(workload, [normed_snapshot(1), normed_snapshot(3)])  # a weight of 2
    assert seen == [True] * 3
    assert model.norm.running_mean.item() == pytest.approx(2 * (1 + 5 + 12) / 3)
    assert model.norm.running_var.item() == pytest.approx(4 * (2 + 2 + 8) / 3)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("momentum", [0.3, None])
def test_the_norms_momentum_is_put_back(momentum):
    workload = line(model=partial(Normed, momentum), train_data=lambda: [torch.randn(4, 1) for _ in range(3)])
    assert lrs.average_weights(workload, [normed_snapshot(1)]).norm.momentum == momentum


def test_no_pass_where_nothing_is_normalised():
    def no_loss(model, batch):
        raise AssertionError("run")

    assert lrs.average_weights(line(loss=no_loss), [one_weight(1), one_weight(2)]).weight.item() == 1.5


def test_a_norm_that_the_model_keeps_in_eval_mode_keeps_its_statistics():
    class Frozen(Normed):
        def train(self, mode=True):
            super().train(mode)
            self.norm.eval()
            return self

    snapshot = normed_snapshot(1)
    snapshot.weights["norm.running_mean"].fill_(7.0)
    workload = line(model=Frozen, train_data=lambda: [torch.randn(4, 1) for _ in range(3)])
    assert lrs.average_weights(workload, [snapshot]).norm.running_mean.item() == 7.0


def test_data_without_an_end_is_walked_as_far_as_a_training_goes():
    workload = line(
        model=Normed,
        train_data=lambda: (torch.tensor([[float(i)], [float(i)]]) for i in itertools.count()),
        num_steps=5,
        accumulate=2,
    )
    model = lrs.average_weights(workload, [normed_snapshot(1)])
    assert int(model.norm.num_batches_tracked) == 10
    assert model.norm.running_mean.item() == pytest.approx(4.5)


def test_a_pass_longer_than_the_training_is_still_a_whole_one():
    workload = line(model=Normed, train_data=lambda: [torch.randn(4, 1) for _ in range(9)], num_steps=2)
    assert int(lrs.average_weights(workload, [normed_snapshot(1)]).norm.num_batches_tracked) == 9


def test_shuffling_and_dropout_follow_the_seed_and_leave_the_random_states_alone(make_workload, global_rng, same_bits):
    workload = make_workload()
    snapshots = snapshots_of(workload)
    before = global_rng()
    one, same, other = (lrs.average_weights(workload, snapshots, seed=seed).state_dict() for seed in (1, 1, 2))
    assert global_rng() == before
    assert same_bits(one, same)
    assert not same_bits(one, other)


def test_the_pass_runs_in_the_workloads_precision():
    seen = []

    def loss(model, batch):
        seen.append(torch.is_autocast_enabled("cpu"))
        return model(batch).pow(2).mean()

    workload = line(model=Normed, loss=loss, precision="bf16", train_data=lambda: [torch.randn(4, 1)] * 3)
    lrs.average_weights(workload, [normed_snapshot(1)])
    assert seen == [True] * 3


def test_it_can_be_trained_on(in_order):
    model = lrs.average_weights(workload := in_order(), snapshots_of(workload))
    workload.loss(model.train(), next(iter(workload.train_data()))).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
