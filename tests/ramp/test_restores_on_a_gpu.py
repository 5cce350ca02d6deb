"""After a range test everything is as it was to the bit, a GPU's random state too."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn

import lr_search as lrs
from tests.helpers.devices import DEVICES, bits, drawn_from, on_device

OPTIMIZERS = {
    "momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    "adam": partial(torch.optim.Adam, lr=0.01),
    "adamw, fused": partial(torch.optim.AdamW, lr=0.01, amsgrad=True, fused=True),  # counts its steps on the device
}
STEPS, PASS = 14, 7


class Live:
    """A training loop with dropout and batch norm, and a GradScaler where it trains in fp16."""

    def __init__(self, examples, dropout_net, device, kind="momentum", precision="fp32"):
        torch.manual_seed(3)  # of every device
        self.device, self.precision = device, precision
        self.model = dropout_net().to(device)
        self.optimizer = OPTIMIZERS[kind](self.model.parameters())
        self.scaler = torch.amp.GradScaler(device, init_scale=2.0**10, growth_interval=5)
        self.scaler = self.scaler if precision == "fp16" else None
        self.batches = on_device([tuple(part[8 * i : 8 * i + 8] for part in examples) for i in range(PASS)], device)

    def train(self, steps):
        dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        for step in range(steps):
            self.optimizer.zero_grad()
            with nullcontext() if dtype is None else torch.autocast(self.device, dtype=dtype):
                loss = cross_entropy(self.model, self.batches[step % PASS])
            if self.scaler is None:
                loss.backward()
                self.optimizer.step()
            else:
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimizer)
                self.scaler.update()

    def range_test(self, loss, **options):
        settings = {"end_lr": 10.0, "num_steps": 40, "precision": self.precision, "scaler": self.scaler} | options
        return lrs.range_test(self.model, self.optimizer, self.batches, loss, **settings)

    def everything(self):
        return bits({
            "model": self.model.state_dict(),
            "gradients": [parameter.grad for parameter in self.model.parameters()],
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "modes": [module.training for module in self.model.modules()],
        })  # fmt: skip


def cross_entropy(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def failing(error, at, device):
    """A loss that draws from the device, and raises at the given call."""
    calls = []

    def loss(model, batch):
        calls.append(1)
        torch.rand(3, device=device)
        if len(calls) == at:
            next(model.parameters()).data.zero_()
            raise error("in the middle")
        return cross_entropy(model, batch)

    return loss


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_everything_is_as_it_was(examples, dropout_net, device, kind, precision):
    live = Live(examples, dropout_net, device, kind, precision)
    live.train(PASS)
    stood, drawn = live.everything(), drawn_from(device)

    def require_unchanged():
        assert live.everything() == stood
        assert drawn_from(device) == drawn

    assert live.range_test(cross_entropy, end_lr=1e-3).stopped == "finished"
    require_unchanged()
    rising = iter(range(1000))
    assert live.range_test(lambda m, b: cross_entropy(m, b) + 1.5 ** next(rising)).stopped == "diverged"
    require_unchanged()
    for error in (OSError, KeyboardInterrupt, torch.OutOfMemoryError):
        with pytest.raises(error, match="in the middle"):
            live.range_test(failing(error, at=14, device=device))  # the forward pass of a step
        require_unchanged()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_training_goes_on_in_the_same_bits(examples, dropout_net, device, kind, precision):
    def trained(tested):
        live = Live(examples, dropout_net, device, kind, precision)
        live.train(STEPS)
        if tested:
            live.range_test(cross_entropy)
        live.train(STEPS)
        return live.everything(), torch.rand(5, device=device).tolist()

    assert trained(tested=True) == trained(tested=False)


@pytest.mark.parametrize("device", DEVICES)
def test_a_range_test_of_a_workload_draws_from_no_global_generator(make_workload, device):
    torch.manual_seed(3)
    drawn = drawn_from(device)
    curves = [make_workload(device=device).range_test(num_steps=40) for _ in range(2)]
    assert drawn_from(device) == drawn
    assert curves[0].loss.tolist() == curves[1].loss.tolist()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_within_a_training_it_leaves_the_trainings_course(make_workload, constant, device, precision):
    def trained(tested):
        training = lrs.train(make_workload(device=device, precision=precision), constant(), seed=1)
        losses = []
        for evaluation in training:
            losses.append((evaluation.train_loss, evaluation.metrics["loss"]))
            if tested and evaluation.step == 10:
                training.range_test(num_steps=30)
        scaler = training.state_dict()["scaler"]
        return losses[1:], bits(training.model.state_dict()), bits(training.optimizer.state_dict()), scaler

    assert trained(tested=True) == trained(tested=False)
