"""Models of every kind, trained together and each by itself: the same losses and predictions after 50 steps."""

import numpy as np
import pytest
import torch
from torch import nn

from lr_search.fused.stack import Stack
from lr_search.fused.support import support_of
from lr_search.schedules import Constant
from lr_search.training.snapshots import rebuilt
from tests.helpers.fused_cases import (
    CASES,
    EVERY_CASE,
    Scaled,
    Tied,
    alone,
    assert_same,
    convolutions,
    fused,
    predictions,
    three_schedules,
    workload,
)


@EVERY_CASE
def test_a_model_is_trained_as_by_itself(case):
    schedules = three_schedules(case.lr)
    together = fused(case.work, schedules, snapshots=2)
    by_themselves = alone(case.work, schedules, snapshots=2)
    assert_same(together, by_themselves, case.rel)
    assert [run.steps for run in together] == [[0, 13, 26, 39, 50]] * 2 + [[0, 3, 10, 23, 50]]
    for one, other in zip(together, by_themselves, strict=True):
        assert other.evaluations[-1].metrics["loss"] < other.evaluations[0].metrics["loss"]  # it did learn
        assert [kept.step for kept in one.snapshots] == [kept.step for kept in other.snapshots]
        for got, expected in zip(one.snapshots, other.snapshots, strict=True):
            wanted = predictions(case.work, expected, case.predict)
            error = np.abs(predictions(case.work, got, case.predict) - wanted).max()
            assert error <= case.rel * np.abs(wanted).max()


def test_the_lanes_of_a_case_are_apart():
    # or else a lane could be compared with another's answer
    losses = [run.evaluations[-1].metrics["loss"] for run in alone(CASES["mlp"].work, three_schedules(0.05))]
    assert min(abs(a - b) for i, a in enumerate(losses) for b in losses[:i]) > 1e-3 * max(losses)


def test_running_statistics_are_each_models_own():
    work = workload(convolutions(lambda: nn.BatchNorm2d(4)))
    schedules = [Constant(lr) for lr in (1e-3, 1e-2, 5e-2)]
    means = []
    runs = zip(fused(work, schedules, snapshots=1), alone(work, schedules, snapshots=1), strict=True)
    for one, other in runs:
        got, expected = one.snapshots[-1].weights, other.snapshots[-1].weights
        for name in ("2.running_mean", "2.running_var", "2.num_batches_tracked"):
            assert torch.allclose(got[name], expected[name], rtol=1e-3, atol=1e-5)
        assert int(got["2.num_batches_tracked"]) == 50
        means.append(got["2.running_mean"])
    assert not torch.allclose(means[0], means[2], rtol=0.05)


def test_what_a_loss_does_not_move_stays():
    work = workload(Scaled)  # under weight decay
    start = Scaled()
    assert support_of(work, 0).trained == ("scale", *(f"net.{name}" for name, _ in start.net.named_parameters()))
    for run in fused(work, [Constant(0.05), Constant(0.01)], snapshots=1):
        weights = run.snapshots[-1].weights
        assert torch.equal(weights["unused"], start.unused)
        assert torch.equal(weights["frozen"], start.frozen)
        assert float(weights["scale"]) != 2.0


def test_tied_weights_stay_tied():
    work = workload(Tied)
    assert support_of(work, 0).trained == ("embedding.weight", "mix.weight", "mix.bias")
    for run in fused(work, [Constant(0.05), Constant(0.01)], snapshots=1):
        weights = run.snapshots[-1].weights
        assert torch.equal(weights["embedding.weight"], weights["out.weight"])
        model = rebuilt(work, run.snapshots[-1])
        assert model.out.weight is model.embedding.weight


def bias_free(model):
    return [model[0].weight, model[2].weight]


def test_what_the_optimizer_does_not_hold_stays():
    work = workload(param_groups=bias_free)
    assert support_of(work, 0).trained == ("0.weight", "2.weight")
    schedules = [Constant(0.05), Constant(0.01)]
    together, by_themselves = fused(work, schedules, snapshots=1), alone(work, schedules, snapshots=1)
    assert_same(together, by_themselves)
    for one, other in zip(together, by_themselves, strict=True):
        assert torch.equal(one.snapshots[-1].weights["0.bias"], other.snapshots[-1].weights["0.bias"])


def test_groups_in_another_order_than_the_models_parameters():
    work = workload(param_groups=lambda model: [model[2].bias, model[0].weight, model[2].weight, model[0].bias])
    assert support_of(work, 0).trained == ("2.bias", "0.weight", "2.weight", "0.bias")
    schedules = [Constant(0.05), Constant(0.01)]
    assert_same(fused(work, schedules), alone(work, schedules))


@pytest.mark.parametrize("seed", [1, 7])
def test_another_seed_has_other_weights_and_batches(seed):
    schedules = [Constant(0.05), Constant(0.01)]
    work = CASES["dropout"].work
    assert_same(fused(work, schedules, seed=seed), alone(work, schedules, seed=seed))
    assert fused(work, schedules, seed=seed)[0].evaluations != fused(work, schedules)[0].evaluations


def test_a_stack_gives_back_what_was_put_in(seed_all):
    seed_all(0)
    model = convolutions(lambda: nn.BatchNorm2d(4))()
    parameters = list(model.parameters())
    start = {name: value.clone() for name, value in model.state_dict().items()}
    stack = Stack(model, parameters, 3)
    stack.weights[1] += 1
    for buffer in stack.buffers:
        buffer[1] += 1
    for row, added in ((1, 1), (2, 0), (0, 0)):
        loaded = stack.loaded(row).state_dict()
        assert all(torch.equal(loaded[name], value + added) for name, value in start.items())
    assert next(iter(model.parameters())) is parameters[0]
    assert stack.width == 3
    assert stack.columns(parameters[0]) == (0, 36)
    assert stack.columns(parameters[1]) == (36, 40)
    with pytest.raises(KeyError):
        stack.columns(torch.zeros(1))


def test_a_swapped_model_is_whole_again_after_an_exception():
    model = nn.BatchNorm1d(2)
    weight, mean = model.weight, model.running_mean
    stack = Stack(model, list(model.parameters()), 2)
    with stack.swapped([torch.zeros(2)] * 2, [torch.ones(2)] * 3) as inside:
        assert torch.equal(inside.weight, torch.zeros(2))
        assert torch.equal(inside.running_mean, torch.ones(2))
    assert model.weight is weight
    with pytest.raises(ArithmeticError), stack.swapped([torch.zeros(2)] * 2, [torch.ones(2)] * 3):
        raise ArithmeticError
    assert model.weight is weight
    assert model.running_mean is mean
