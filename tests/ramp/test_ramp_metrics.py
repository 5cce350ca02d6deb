"""Metrics along a ramp: on the training batches, or on a few validation batches before every step."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from tests.helpers.case_ids import case_id


def metrics(model, batch):
    outputs = model(batch[0])
    random.random()
    np.random.random()  # noqa: NPY002
    return {
        "loss": nn.functional.cross_entropy(outputs, batch[1], reduction="none"),
        "accuracy": (outputs.argmax(1) == batch[1]).float(),
        "right": ((outputs.argmax(1) == 1) & (batch[1] == 1)).sum(),
        "share": ((batch[1] == 2).sum(), torch.tensor(float(len(batch[1])))),
    }


class Watched:
    """A loss that keeps a copy of the model before every step, and the batch."""

    def __init__(self, loss):
        self._loss, self.models, self.batches = loss, [], []

    def __call__(self, model, batch):
        if torch.is_grad_enabled():
            self.models.append(copy.deepcopy(model))
            self.batches.append(batch)
        return self._loss(model, batch)


@pytest.fixture
def live(examples, dropout_net, seed_all):
    def make():
        seed_all(0)
        model = dropout_net()
        generator = torch.Generator().manual_seed(3)
        loader = DataLoader(TensorDataset(*examples), batch_size=8, shuffle=True, generator=generator)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        seed_all(1)
        return model, optimizer, loader

    return make


def ramped(made, loss, **options):
    return lrs.range_test(*made, loss, start_lr=1e-4, end_lr=0.5, num_steps=30, gain_ratio=False, **options)


def test_metrics_of_the_training_batch_are_those_before_the_step_in_the_mode_of_training(live, cross_entropy):
    made = live()
    made[0][3].p = 0.0  # masks are drawn anew for metrics
    watched = Watched(cross_entropy)
    curve = ramped(made, watched, metrics=metrics)
    expected = []
    for model, (inputs, classes) in zip(watched.models, watched.batches, strict=True):
        outputs = model(inputs).argmax(1)
        expected.append(
            [(outputs == classes).float().mean(), ((outputs == 1) & (classes == 1)).sum(), (classes == 2).sum()]
        )
    assert curve.metrics["loss"] == pytest.approx(curve.loss, rel=1e-5)
    assert curve.metrics["accuracy"] == pytest.approx([float(row[0]) for row in expected])
    assert curve.metrics["right"] == pytest.approx([float(row[1]) for row in expected])
    sizes = [len(classes) for _, classes in watched.batches]
    assert curve.metrics["share"] == pytest.approx([float(row[2]) / n for row, n in zip(expected, sizes, strict=True)])
    assert set(curve.to_frame().columns) >= {"accuracy", "right", "share"}


@pytest.mark.parametrize(
    "options", [{"metrics": metrics}, {"valid": True}, {"metrics": metrics, "valid": True}], ids=case_id
)
@pytest.mark.parametrize("gain_ratio", [False, None])
def test_they_change_nothing_else(live, cross_entropy, global_rng, examples, options, gain_ratio):
    def ran(metrics=None, valid=False):
        made = live()
        own = torch.Generator().manual_seed(9)
        valid_data = DataLoader(TensorDataset(*examples), batch_size=10, shuffle=True, generator=own) if valid else None
        state = {name: value.clone() for name, value in made[0].state_dict().items()}
        before = global_rng(), own.get_state().tolist(), made[2].generator.get_state().tolist()
        curve = lrs.range_test(
            *made,
            cross_entropy,
            end_lr=0.5,
            num_steps=30,
            gain_ratio=gain_ratio,
            metrics=metrics,
            valid_data=valid_data,
        )
        assert (global_rng(), own.get_state().tolist(), made[2].generator.get_state().tolist()) == before
        assert all(torch.equal(value, state[name]) for name, value in made[0].state_dict().items())
        assert all(module.training for module in made[0].modules())
        return curve

    watched, plain = ran(**options), ran()
    assert watched.loss.tolist() == plain.loss.tolist()
    if gain_ratio is None:
        assert watched.gain_ratio.tolist() == pytest.approx(plain.gain_ratio.tolist(), nan_ok=True)


@pytest.mark.parametrize("count", [1, 3])
def test_the_sweep_is_the_same_first_batches_at_every_step_in_eval_mode(live, cross_entropy, examples, count):
    own = torch.Generator().manual_seed(9)
    valid = DataLoader(TensorDataset(*examples), batch_size=10, shuffle=True, generator=own)
    state = own.get_state()
    chosen = [batch for batch, _ in zip(valid, range(count), strict=False)]
    own.set_state(state)
    watched, made = Watched(cross_entropy), live()
    curve = ramped(made, watched, metrics=metrics, valid_data=valid, valid_batches=count)
    inputs, classes = (torch.cat(parts) for parts in zip(*chosen, strict=True))
    losses, right = [], []
    for model in watched.models:
        model.eval()
        outputs = model(inputs).detach()
        losses.append(float(nn.functional.cross_entropy(outputs, classes)))
        right.append(float((outputs.argmax(1) == classes).float().mean()))
    assert curve.metrics["valid_loss"] == pytest.approx(losses, rel=1e-5)
    assert curve.metrics["valid_accuracy"] == pytest.approx(right)
    assert set(curve.metrics) == {"valid_loss", "valid_accuracy", "valid_right", "valid_share"}
    assert (curve.num_forwards, curve.steps_charged) == (30 * count, 30 + 10 * count)


def test_without_metrics_the_sweep_has_the_loss_and_accumulated_batches_share_its_cost(live, cross_entropy, examples):
    valid = [(examples[0][:20], examples[1][:20])]
    watched = Watched(cross_entropy)
    curve = ramped(live(), watched, valid_data=valid, accumulate=2)
    expected = [float(cross_entropy(model.eval(), valid[0]).detach()) for model in watched.models[::2]]
    assert curve.metrics["valid_loss"] == pytest.approx(expected, rel=1e-5)
    assert curve.num_forwards == 15  # a batch is half of a step


def test_the_bounds_can_be_read_off_the_sweep(live, cross_entropy, examples):
    curve = ramped(live(), cross_entropy, metrics=metrics, valid_data=[examples])
    base_lr, max_lr = curve.bounds("valid_accuracy")
    assert 1e-4 <= base_lr < max_lr <= 0.5


def test_of_a_workload_it_evaluates_the_workloads_metrics(make_workload, cross_entropy, examples):
    watched = Watched(cross_entropy)
    workload = make_workload(
        loss=watched, metrics=metrics, valid_data=lambda: DataLoader(TensorDataset(*examples), batch_size=25)
    )
    curve = workload.range_test(2, num_steps=20, end_lr=0.5, valid_batches=2, gain_ratio=False)
    models = [model.eval() for model in watched.models]
    right = [float((model(examples[0][:50]).argmax(1) == examples[1][:50]).float().mean()) for model in models]
    assert curve.metrics["valid_accuracy"] == pytest.approx(right)
    assert curve.steps_charged == 20 + 14  # 40 passes
    plain = make_workload().range_test(2, num_steps=20, end_lr=0.5, gain_ratio=False)
    assert curve.loss.tolist() == plain.loss.tolist()
    assert not plain.metrics


def test_metrics_that_fail_are_the_users_exception_at_whatever_step(live, cross_entropy):
    for at in (1, 5, 11, 20):
        calls = []

        def failing(model, batch, at=at, calls=calls):
            calls.append(1)
            if len(calls) == at:
                raise OSError("in the middle")
            return {"one": 1.0}

        with pytest.raises(OSError, match="in the middle"):
            ramped(live(), cross_entropy, metrics=failing)


def test_a_loss_that_raises_at_the_first_step_of_a_block_is_the_users_too(live, cross_entropy):
    calls = []

    def loss(model, batch):
        calls.append(1)
        if len(calls) == 11:
            raise OSError("in the middle")
        return cross_entropy(model, batch)

    with pytest.raises(OSError, match="in the middle"):
        ramped(live(), loss, metrics=metrics)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"valid_data": []}, WorkloadError, "valid_data must give batches, but got none"),
        ({"valid_data": 5}, InvalidInputError, "valid_data must be an iterable or None, but got 5"),
        ({"valid_data": iter([1])}, InvalidInputError, "valid_data must be something that can be walked through again"),
        ({"valid_data": [1], "valid_batches": 0}, InvalidInputError, "valid_batches must be at least 1"),
        ({"metrics": lambda model, batch: {"x": torch.ones(2, 2)}}, WorkloadError, "The metric 'x' must be a tensor"),
    ],
    ids=case_id,
)
def test_what_breaks_a_rule_is_refused(live, cross_entropy, options, error, message):
    with pytest.raises(error, match=message):
        ramped(live(), cross_entropy, **options)
