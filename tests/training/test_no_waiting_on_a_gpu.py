"""A GPU is not waited for within any step: of a training, of a range test, of trainings that are fused. torch itself is asked."""

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.fused.lane import Member
from lr_search.fused.support import support_of
from lr_search.fused.trials import FusedTraining
from lr_search.training.step import Stepper
from tests.helpers.devices import DEVICES, forbid_waits, on_device

OPTIMIZERS = {
    "momentum": lambda params, lr=0.01: torch.optim.SGD(params, lr=lr, momentum=0.9, nesterov=True),
    "adamw": lambda params, lr=0.01: torch.optim.AdamW(params, lr=lr),
}
OPTIONS = [
    {},
    {"clip_norm": 0.1, "accumulate": 2},
    {"precision": "bf16"},
]  # a GradScaler waits: it looks for infs itself
STEPS = 40


def cross_entropy(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def accuracy(model, batch):
    right = (model(batch[0]).argmax(1) == batch[1]).float()
    return {"loss": cross_entropy(model, batch), "accuracy": right, "right": (right.sum(), len(right))}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training(make_workload, monkeypatch, device, optimizer, options):
    workload = make_workload(optimizer=OPTIMIZERS[optimizer], device=device, num_steps=STEPS, eval_every=20, **options)
    calls = forbid_waits(monkeypatch, Stepper, "step", device)
    one_cycle = lrs.schedules.by_name("one_cycle", lr=0.01, num_steps=STEPS)
    assert [evaluation.step for evaluation in lrs.train(workload, one_cycle)] == [0, 20, STEPS]
    assert calls() == STEPS


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_range_test(examples, dropout_net, monkeypatch, device, optimizer, options):
    batches = [tuple(part[8 * i : 8 * i + 8] for part in examples) for i in range(7)]  # moved as they come
    model = dropout_net().to(device)
    live = OPTIMIZERS[optimizer](model.parameters())
    calls = forbid_waits(monkeypatch, Stepper, "step", device)
    for more in ({}, {"metrics": accuracy}, {"metrics": accuracy, "valid_data": on_device(batches, device)}):
        curve = lrs.range_test(
            model, live, batches, cross_entropy, start_lr=1e-6, end_lr=1e-3, num_steps=STEPS, **more, **options
        )
        assert curve.stopped == "finished"
        assert curve.gain_ratio is not None
    assert calls() == 3 * STEPS


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trainings_that_are_fused(make_workload, monkeypatch, device, optimizer, options):
    workload = make_workload(optimizer=OPTIMIZERS[optimizer], device=device, num_steps=STEPS, eval_every=20, **options)
    support = support_of(workload, 0)
    assert support.reason == ""
    schedules = [lrs.schedules.by_name("cosine", lr=lr, num_steps=STEPS) for lr in (1e-3, 1e-2, 3e-2)]
    training = FusedTraining([Member(workload, schedule) for schedule in schedules], 0, [support] * 3)
    calls = forbid_waits(monkeypatch, FusedTraining, "_one_step", device)
    assert sum(len(lanes) for lanes in training) == 3 * 3
    training.close()
    assert calls() == STEPS
    assert {lane.stopped for lane in training.lanes} == {"finished"}


@pytest.mark.gpu
def test_what_waits_is_found(make_workload, monkeypatch):
    def waiting(model, batch):
        loss = cross_entropy(model, batch)
        loss.item()
        return loss

    forbid_waits(monkeypatch, Stepper, "step", "cuda")
    training = lrs.train(make_workload(loss=waiting, device="cuda"), lrs.schedules.Constant(0.01))
    with pytest.raises(RuntimeError, match="synchroniz"):
        list(training)
