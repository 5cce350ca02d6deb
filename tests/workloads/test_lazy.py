"""Lazy layers have their shapes and their weights before anything else looks at them: the same in every training of a seed."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import WorkloadError
from lr_search.schedules import Constant


def lazy_net():
    return nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Dropout(0.2), nn.Tanh(), nn.LazyLinear(3))


@pytest.fixture
def workload(make_workload):
    return make_workload(model=lazy_net)


def weights(model):
    return [value.tolist() for value in model.state_dict().values()]


def test_shapes_are_those_that_the_data_give(workload):
    shapes = [tuple(p.shape) for p in workload.build()[0].parameters()]
    assert shapes == [(5, 6), (5,), (5,), (5,), (3, 5), (3,)]


def test_every_training_of_a_seed_begins_with_the_same_weights(workload):
    first = lrs.train(workload, Constant(0.1), seed=3)
    begun = weights(first.model)
    assert [*map(float, first.model[1].running_mean)] == [0.0] * 5
    next(first)  # evaluated, which another training is not
    second = lrs.train(workload, Constant(0.1), seed=3)
    first.advance(5), second.advance(5)
    assert weights(first.model) == weights(second.model) != begun
    assert begun != weights(lrs.train(workload, Constant(0.1), seed=4).model)


def test_the_range_test_begins_with_the_weights_of_the_trainings(workload):
    """The first losses at an LR that moves nothing yet are those of a training that stands still."""
    curve = workload.range_test(seed=3, start_lr=1e-12, end_lr=1e-10, num_steps=20)
    still = list(lrs.train(replace(workload, num_steps=20, eval_every=1), Constant(1e-12), seed=3))
    assert curve.loss[:10] == pytest.approx([each.train_loss for each in still[1:11]], rel=1e-5)
    assert workload.range_test(seeds=[3, 4]).lr.size


def test_a_saved_training_goes_on_in_another(workload):
    training, other = (lrs.train(workload, Constant(0.1)) for _ in range(2))
    next(training), next(training)
    other.load_state_dict(training.state_dict())
    assert list(training) == list(other)
    assert weights(training.model) == weights(other.model)


def test_the_optimizer_sees_shapes(make_workload):
    def by_shape(model):
        matrices = [p for p in model.parameters() if p.ndim > 1]
        return [{"params": matrices}, {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}]

    optimizer = make_workload(model=lazy_net, param_groups=by_shape).build()[1]
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 4]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_comparisons_are_the_same_under_both_executors(make_workload, dropout):
    def net():
        return nn.Sequential(nn.LazyLinear(5), nn.Dropout(dropout), nn.Tanh(), nn.LazyLinear(3))

    def found(executor):
        comparison = lrs.compare(
            make_workload(model=net), strategies=["grid"], schedules=["constant"], budget=3, seeds=2, storage=None,
            lr_range=(1e-3, 1e-1), executor=executor,
        )  # fmt: skip
        return comparison.trials[["seed", "number", "lr", "objective", "state"]]

    one_by_one, fused = found(lrs.LocalExecutor()), found(lrs.FusedExecutor())
    pd.testing.assert_frame_equal(one_by_one, fused, rtol=1e-4)
    assert set(one_by_one["state"]) == {"COMPLETE"}


def test_snapshots_are_put_into_models_of_the_same_shapes(workload):
    training = lrs.train(replace(workload, combine="softmax"), Constant(0.1), snapshots=2)
    list(training)
    ensemble = lrs.SnapshotEnsemble(replace(workload, combine="softmax"), training.snapshots)
    assert ensemble(torch.zeros(2, 6)).shape == (2, 3)


class InTrainingOnly(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.aside = nn.LazyLinear(3), nn.LazyLinear(3)

    def forward(self, inputs):
        return self.head(inputs) + (0.1 * self.aside(inputs) if self.training else 0.0)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.aside = nn.LazyLinear(3), nn.LazyLinear(3)

    def forward(self, inputs):
        return self.head(inputs)


def test_a_layer_that_takes_part_in_training_only_has_its_shape(make_workload):
    model = make_workload(model=InTrainingOnly).build()[0]
    assert model.aside.weight.shape == (3, 6)
    assert model.training


def test_a_layer_that_is_never_called_is_refused(make_workload):
    with pytest.raises(WorkloadError, match=r"but these got none: aside.weight, aside.bias. Call them in the model's"):
        lrs.train(make_workload(model=Unused), Constant(0.1))
    with pytest.raises(WorkloadError, match=r"but these got none: aside.weight, aside.bias"):
        lrs.compare(make_workload(model=Unused), storage=None)


def test_data_without_batches_are_refused(make_workload):
    with pytest.raises(WorkloadError, match="train_data must give batches, but got none"):
        lrs.train(make_workload(model=lazy_net, train_data=list), Constant(0.1))
