"""Where trainings of one seed begin: the same weights, batches and random numbers, whoever asks for them."""

import pytest
import torch

import lr_search as lrs
from lr_search.training.step import Stepper


def equal(one, other):
    """Whether two batches, or two lists of parameters, are the same bits."""
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def workload(make_workload, dropout_net):
    return make_workload(model=dropout_net)


def by_hand(workload, seed_all, seed):
    """The weights and the first two batches of a seed, and the state of torch's generator before the first is drawn."""
    seed_all(seed)
    weights = list(workload.model().parameters())
    seed_all(seed)
    data = workload.train_data()
    state = torch.get_rng_state()
    batches = iter(data)
    return weights, state, [next(batches), next(batches)]


def test_the_weights_the_batches_and_the_random_state_are_those_of_the_seed(workload, seed_all):
    weights, state, drawn = by_hand(workload, seed_all, 3)
    seed_all(99)
    model, optimizer, batches = workload.begin(3)
    assert torch.equal(torch.get_rng_state(), state)
    assert equal(list(model.parameters()), weights)
    assert equal([p for group in optimizer.param_groups for p in group["params"]], weights)
    assert all(equal(next(batches), expected) for expected in drawn)


def test_the_batches_alone_are_the_same_without_a_model(workload):
    _, _, batches = workload.begin(5)
    expected = [next(batches), next(batches)]
    alone = workload.batches(5)
    assert all(equal(next(alone), each) for each in expected)


def test_steps_from_there_are_a_trainings_own(workload, seed_all):
    seed_all(99)
    model, optimizer, batches = workload.begin(4)
    stepper = Stepper.of(workload, model, optimizer)
    losses = [float(stepper.step(batches, 0.05)) for _ in range(6)]
    training = lrs.train(workload, lrs.schedules.Constant(0.05), seed=4)
    assert training.advance(6)
    assert equal(list(training.model.parameters()), list(model.parameters()))
    curve = workload.range_test(4, start_lr=0.05, end_lr=0.06, num_steps=20)
    assert curve.loss[0] == losses[0]


def test_a_stepper_steps_as_the_workload_says(make_workload):
    workload = make_workload(accumulate=2, clip_norm=1e-3)
    model, optimizer, batches = workload.begin(0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    Stepper.of(workload, model, optimizer).step(batches, 1.0)
    moved = torch.cat([(a - b.detach()).flatten() for a, b in zip(before, model.parameters(), strict=True)])
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-2)
    assert batches.state_dict()["drawn"] == 2
