"""Optimizers that evaluate the loss themselves are known by their step's signature or source, and get a closure."""

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from lr_search.optimizers.closures import takes_closure
from lr_search.schedules import Constant
from tests.helpers.wrapped_optimizers import SAM, WRAPPERS

SGD = torch.optim.SGD


class Refusing(SGD):
    def step(self, closure=None):
        if closure is None:
            raise ValueError("no closure")
        loss = closure()
        super().step()
        return loss


class Denying(SGD):
    @torch.no_grad()
    def step(self, closure=None):
        with torch.enable_grad():
            if not closure:
                raise ValueError


class Calling(SGD):
    def step(self, closure=None):
        loss = closure()
        super().step()
        return loss


class Requiring(SGD):
    def step(self, closure):
        return super().step(closure)


class HandingOn(Refusing):
    def step(self, closure=None):
        return super().step(closure)


class Wrapping(SGD):
    """As accelerate's."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.optimizer = Refusing(params, lr=lr)

    def step(self, closure=None):
        self.optimizer.step(closure)


class Either(SGD):
    def step(self, closure=None):
        loss = None
        if closure is not None:
            loss = closure()
        super().step()
        return loss


class Replacing(SGD):
    def step(self, closure=None):
        closure = closure or (lambda: None)
        closure()
        super().step()


class InOneLine(SGD):
    def step(self, closure=None):
        loss = None if closure is None else closure()
        return super().step() or loss


class WithoutClosure(SGD):
    def step(self):
        return super().step()


class HandingOnToTorch(SGD):
    def step(self, closure=None):
        return super().step(closure)


@pytest.mark.parametrize("kind", [SAM, torch.optim.LBFGS, Refusing, Denying, Calling, Requiring, HandingOn, Wrapping])
def test_a_step_that_cannot_do_without_is_known(kind):
    assert takes_closure(kind([nn.Parameter(torch.zeros(1))], lr=0.1))


OPTIONAL = [Either, Replacing, InOneLine, WithoutClosure, HandingOnToTorch]
OPTIONAL += [torch.optim.SGD, torch.optim.AdamW, torch.optim.Adafactor, torch.optim.NAdam, *WRAPPERS.values()]


@pytest.mark.parametrize("make", OPTIONAL)
def test_a_step_that_can_do_without_is_known(make):
    assert not takes_closure(make([nn.Parameter(torch.zeros(1))], lr=0.1))


@pytest.fixture
def batches():
    return list(torch.randn(6, 8, 3, generator=torch.Generator().manual_seed(0)))


def loss(model, batch):
    return (model(batch) - batch.sum(1, keepdim=True).sin()).square().mean()


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def by_hand(batches, lrs_of_steps):
    """SAM in plain PyTorch, as its own authors' README steps it: the losses and the model."""
    model = net()
    optimizer = SAM(model.parameters(), lr=0.1)
    losses = []
    for step, lr in enumerate(lrs_of_steps):
        optimizer.param_groups[0]["lr"] = lr
        batch = batches[step % len(batches)]

        def closure(batch=batch):
            value = loss(model, batch)
            value.backward()
            return value

        losses.append(float(closure().detach()))
        optimizer.step(closure)
        optimizer.zero_grad()
    return losses, model


def test_sam_is_range_tested_as_a_loop_written_by_hand_and_put_back(batches):
    model = net()
    optimizer = SAM(model.parameters(), lr=0.1)
    before = [p.tolist() for p in model.parameters()]
    curve = lrs.range_test(model, optimizer, batches, loss, start_lr=1e-3, end_lr=0.1, num_steps=20)
    assert curve.loss == pytest.approx(by_hand(batches, curve.lr)[0], rel=1e-5)
    assert curve.gain_ratio is None
    assert [p.tolist() for p in model.parameters()] == before
    assert not optimizer.state
    with pytest.raises(InvalidInputError, match=r"evaluates the loss several times a step\. Leave gain_ratio out"):
        lrs.range_test(model, optimizer, batches, loss, gain_ratio=True)
    with pytest.raises(InvalidInputError, match=r"SAM\) must train without a GradScaler"):
        lrs.range_test(model, optimizer, batches, loss, scaler=torch.amp.GradScaler("cpu"))


def workload(optimizer, batches):
    return lrs.Workload(
        model=net, optimizer=optimizer, loss=loss, train_data=lambda: batches, valid_data=lambda: batches,
        num_steps=12, eval_every=6,
    )  # fmt: skip


def test_sam_is_trained_as_by_hand_saved_and_compared(batches):
    work = workload(SAM, batches)
    training = lrs.train(work, Constant(0.05))
    next(training), next(training)
    other = lrs.train(work, Constant(0.05))
    other.load_state_dict(training.state_dict())
    weights = [[p.tolist() for p in each.model.parameters()] for each in (training, other) if list(each)]
    assert weights[0] == weights[1]
    expected = by_hand(batches, [0.05] * 12)[1]
    for got, wanted in zip(weights[0], expected.parameters(), strict=True):
        assert torch.allclose(torch.tensor(got), wanted)
    found = lrs.compare(work, strategies=["grid"], schedules=["constant"], budget=2, seeds=1, storage=None)
    assert found.trials["state"].tolist() == ["COMPLETE", "COMPLETE"]


def test_a_need_that_shows_in_the_first_step_only_is_told():
    made = {"torch": torch}
    exec(  # without a source that could be read
        "class Hidden(torch.optim.SGD):\n    def step(self, closure=None):\n        closure()\n        super().step()",
        made,
    )
    model = nn.Linear(3, 1)
    optimizer = made["Hidden"](model.parameters(), lr=0.1)
    with pytest.raises(
        WorkloadError, match=r"Hidden.step\(\) has a default .* raised TypeError.* def step\(self, closure\)"
    ):
        lrs.range_test(model, optimizer, [torch.ones(2, 3)] * 2, loss)


def test_an_exception_of_a_step_that_is_not_for_want_of_a_closure_stays():
    class Broken(SGD):
        def step(self, closure=None):
            raise TypeError("no such thing")

    model = nn.Linear(3, 1)
    with pytest.raises(TypeError, match="no such thing"):
        lrs.range_test(model, Broken(model.parameters(), lr=0.1), [torch.ones(2, 3)] * 2, loss)


def test_a_step_that_does_not_call_its_closure_is_told():
    class Idle(SGD):
        def step(self, closure):
            pass

    model = nn.Linear(3, 1)
    with pytest.raises(WorkloadError, match=r"must call it, but Idle.step\(\) did not"):
        lrs.range_test(model, Idle(model.parameters(), lr=0.1), [torch.ones(2, 3)] * 2, loss)
