"""Training under autocast: bf16, and fp16 with a GradScaler; against plain PyTorch, on the CPU and on a GPU."""

from functools import partial

import pytest
import torch
from torch import nn

import lr_search as lrs
from tests.helpers.devices import DEVICES, bits

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
LR, STEPS = 0.05, 20


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("clip_norm", [None, 0.5], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("precision", DTYPES)
def test_as_a_plain_loop_trains(make_workload, constant, cross_entropy, device, precision, clip_norm):
    workload = make_workload(device=device, precision=precision, clip_norm=clip_norm, num_steps=STEPS)
    training = lrs.train(workload, constant(LR), seed=1)
    evaluations = list(training)
    assert training.stopped == "finished"
    assert evaluations[-1].metrics["loss"] < evaluations[0].metrics["loss"]
    assert {parameter.dtype for parameter in training.model.parameters()} == {torch.float32}

    model, optimizer, batches = workload.begin(1)
    optimizer.param_groups[0]["lr"] = LR
    scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")
    for _ in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast(device, dtype=DTYPES[precision]):
            loss = cross_entropy(model, next(batches))
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        scaler.step(optimizer)
        scaler.update()
    assert bits(training.model.state_dict()) == bits(model.state_dict())
    assert training.state_dict()["scaler"] == (scaler.state_dict() if precision == "fp16" else None)


def six(model, batch):
    """Its gradient for the only weight, from 0, is -6: fp16 ends at 65504, so a scale of 2^13 is the largest that it can take."""
    return 0.5 * ((model(batch).float() - 6) ** 2).sum()


def one_weight():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    return model


@pytest.fixture
def overflowing(make_workload):
    """Batches of 8 times 1/8 each, so that a batch's gradient is that of one example."""
    batches = torch.full((4, 8, 1), 1 / 8)
    return partial(
        make_workload, model=one_weight, loss=six, train_data=lambda: batches, valid_data=lambda: batches,
        optimizer=lambda params, lr: torch.optim.SGD(params, lr=lr), precision="fp16", num_steps=6, eval_every=1,
    )  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
def test_steps_whose_gradients_overflow_are_skipped(overflowing, constant, device):
    training = lrs.train(overflowing(device=device), constant(0.01))
    scales, weights = [], []
    for _ in training:
        scales.append(training.state_dict()["scaler"].get("scale"))
        weights.append(float(training.model.weight.detach()))
    assert scales == [2.0**16, 2.0**15, 2.0**14, 2.0**13, 2.0**13, 2.0**13, 2.0**13]
    assert weights[:4] == [0.0] * 4
    assert weights[4] == pytest.approx(0.06)  # 0.01 * 6
    assert weights[4] < weights[5] < weights[6]
    assert training.stopped == "finished"


@pytest.mark.parametrize("device", DEVICES)
def test_a_range_test_finds_the_scale_for_itself_and_leaves_the_trainings(overflowing, constant, device):
    training = lrs.train(overflowing(device=device), constant(0.01))
    next(training)
    next(training)
    stood = training.state_dict()["scaler"]
    assert stood["scale"] == 2.0**15
    curve = training.range_test(num_steps=20, start_lr=1e-5, end_lr=1e-3, gain_ratio=False)
    assert len(curve.loss) == 20
    assert curve.loss[0] == curve.loss[1] == curve.loss[2]  # its first two steps are skipped
    assert curve.loss[-1] < curve.loss[3] < curve.loss[2]
    assert training.state_dict()["scaler"] == stood
    assert float(training.model.weight.detach()) == 0.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", DTYPES)
def test_it_goes_on_from_a_saved_state_in_the_same_bits(make_workload, constant, tmp_path, device, precision):
    workload = make_workload(device=device, precision=precision)
    whole = lrs.train(workload, constant(LR), seed=1)
    list(whole)
    first, second = (lrs.train(workload, constant(LR), seed=1) for _ in range(2))
    first.advance(8)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True))
    list(second)
    assert bits(second.model.state_dict()) == bits(whole.model.state_dict())
    assert second.state_dict()["scaler"] == whole.state_dict()["scaler"]
