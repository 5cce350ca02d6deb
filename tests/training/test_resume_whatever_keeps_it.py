"""A resumed training, a snapshot and an evaluation: what modules and optimizers keep in attributes goes along, or is left alone."""

import io

import pytest
import torch
from torch import nn

import lr_search as lrs
from tests.helpers.keeping_models import MODELS, Centred, first_four
from tests.helpers.wrapped_optimizers import WRAPPERS


@pytest.fixture
def keeping(make_workload):
    """Workloads whose model keeps things in attributes."""

    def make(kind="attributes", **changes):
        return make_workload(**({"model": MODELS[kind], "loss": first_four} | changes))

    return make


def saved(training):
    buffer = io.BytesIO()
    torch.save(training.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def rest_resumed(make, schedule, at):
    """The evaluations of a training, and those of one that goes on after `at` of them, with its model."""
    whole = lrs.train(make(), schedule, snapshots=1)
    evaluations = list(whole)
    begun = lrs.train(make(), schedule, snapshots=1)
    for _ in range(at):
        next(begun)
    state = saved(begun)
    list(begun)
    resumed = lrs.train(make(), schedule, snapshots=1)
    resumed.load_state_dict(state)
    return evaluations[at:], list(resumed), whole, resumed


@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("kind", MODELS)
def test_a_training_goes_on_with_the_same_bits(keeping, constant, weights, same_bits, kind, at):
    rest, resumed, whole, other = rest_resumed(lambda: keeping(kind), constant(), at)
    assert repr(resumed) == repr(rest)
    assert same_bits(weights(other.model), weights(whole.model))


@pytest.mark.parametrize("kind", WRAPPERS)
def test_with_what_an_optimizer_keeps_outside_its_state(make_workload, constant, weights, same_bits, kind):
    make = lambda: make_workload(optimizer=lambda params, lr: WRAPPERS[kind](params, lr))  # noqa: E731
    rest, resumed, whole, other = rest_resumed(make, constant(), 3)
    assert repr(resumed) == repr(rest)
    assert same_bits(weights(other.model), weights(whole.model))


def test_with_what_the_loss_keeps(make_workload, constant):
    def make():
        criterion = Centred()
        return make_workload(loss=lambda model, batch: criterion(model(batch[0]), batch[1]))

    rest, resumed, _, _ = rest_resumed(make, constant(), 3)
    assert repr(resumed) == repr(rest)


def test_a_state_that_needs_an_object_which_is_not_there_is_refused(make_workload, constant):
    class Late(nn.Linear):
        def __init__(self):
            super().__init__(6, 3)
            self.note = None

        def forward(self, inputs):
            if self.training:
                self.note = Note()
            return super().forward(inputs)

    class Note:
        def __init__(self):
            self.count = 1

    training = lrs.train(make_workload(model=Late), constant())
    assert [next(training).step, next(training).step] == [0, 5]
    other = lrs.train(make_workload(model=Late), constant())
    with pytest.raises(
        lrs.errors.WorkloadError, match=r"model\.note needs an object of .*Note\. Make it where the model"
    ):
        other.load_state_dict(saved(training))


def test_a_state_of_another_version_is_refused(make_workload, constant):
    training = lrs.train(make_workload(), constant())
    state = training.state_dict()
    state["optimizer"] = state.pop("kept")["optimizer"]
    with pytest.raises(lrs.errors.InvalidInputError, match="must be one that this version saved"):
        training.load_state_dict(state)


@pytest.mark.parametrize("kind", MODELS)
def test_how_often_it_is_evaluated_changes_no_bit(keeping, constant, weights, same_bits, kind):
    often, seldom = (lrs.train(keeping(kind, eval_every=every), constant()) for every in (1, 20))
    assert len(list(often)) > len(list(seldom))
    assert same_bits(weights(often.model), weights(seldom.model))


@pytest.mark.parametrize("kind", MODELS)
def test_a_snapshot_holds_what_the_model_keeps(keeping, constant, kind):
    workload = keeping(kind)
    training = lrs.train(workload, constant(), snapshots=1)
    last = list(training)[-1].metrics
    (snapshot,) = training.snapshots
    averaged = lrs.average_weights(workload, [snapshot])
    assert training.evaluate(averaged) == last


def test_refinding_leaves_a_training_as_it_was(keeping, constant, weights, same_bits):
    trained = []
    for at in ([20], [0, 7, 20]):
        seen = []
        workload = keeping(loss=lambda model, batch, seen=seen: seen.append(model) or first_four(model, batch))
        lrs.refind(workload, constant(), at=at, range_test={"num_steps": 20})
        trained.append(weights(seen[-1]))
    assert same_bits(*trained)


def test_a_workloads_range_test_leaves_the_losss_modules_alone(make_workload):
    criterion = Centred()
    workload = make_workload(loss=lambda model, batch: criterion(model(batch[0]), batch[1]))
    first, again = (workload.range_test(num_steps=20) for _ in range(2))
    assert (criterion.calls, criterion.centre.tolist()) == (0, [0, 0, 0])
    assert again.loss.tolist() == first.loss.tolist()
