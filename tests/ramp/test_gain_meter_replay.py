"""The forward pass that the gain ratio adds: under the same random numbers, leaving no trace, or not at all."""

import gc
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lr_search as lrs
from lr_search.errors import InvalidInputError

OPTIMIZERS = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1),
    "momentum": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    "adam": lambda params: torch.optim.Adam(params, lr=0.1),
}


class Counting(nn.Module):
    """Buffers that a forward pass writes to, and one that it replaces; the loss depends on all of them."""

    def __init__(self, dropout_net):
        super().__init__()
        self.net = dropout_net()
        self.register_buffer("calls", torch.zeros(()), persistent=False)
        self.register_buffer("replaced", torch.zeros(3))
        self.register_buffer("absent", None)

    def forward(self, inputs):
        outputs = self.net(inputs) * (1 + 1e-6 * self.calls) + 1e-6 * self.replaced
        self.calls += 1
        self.replaced = self.replaced + outputs.detach().mean(0)
        return outputs


def net(seed_all, make):
    seed_all(0)
    model = make()
    seed_all(1)
    return model


def shuffled(examples):
    return DataLoader(TensorDataset(*examples), batch_size=8, shuffle=True)


def ramped(model, batches, loss, kind="sgd", **options):
    options = {"start_lr": 1e-4, "end_lr": 0.5, "num_steps": 40} | options
    return lrs.range_test(model, OPTIMIZERS[kind](model.parameters()), batches, loss, **options)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_with_and_without_it_the_losses_are_the_same_bits(seed_all, dropout_net, examples, cross_entropy, kind):
    make = lambda: Counting(dropout_net)  # noqa: E731
    with_it, without = (
        ramped(net(seed_all, make), shuffled(examples), cross_entropy, kind, gain_ratio=asked)
        for asked in (None, False)
    )
    assert with_it.gain_ratio is not None
    assert without.gain_ratio is None
    assert with_it.loss.tolist() == without.loss.tolist()


def drawing(draw):
    """A loss that keeps some inputs by chance: `draw` gives uniform numbers of a shape."""

    def loss(model, batch):
        inputs, classes = batch
        kept = torch.as_tensor(draw(tuple(inputs.shape))) > 0.4
        return nn.functional.cross_entropy(model(inputs.double() * kept), classes)

    return loss


@pytest.mark.parametrize(
    "draw",
    [
        lambda shape: torch.rand(shape),
        lambda shape: np.random.random(shape),  # noqa: NPY002
        lambda shape: np.reshape([random.random() for _ in range(shape[0] * shape[1])], shape),
    ],
    ids=["torch", "numpy", "python"],
)
def test_the_same_masks_are_drawn_again(seed_all, global_rng, examples, draw):
    def ran(asked):
        model = net(
            seed_all, lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 3)).double()
        )
        drawn = []

        def loss(model, batch):
            drawn.append(1)
            return drawing(draw)(model, batch)

        before = global_rng()
        curve = ramped(model, shuffled(examples), loss, end_lr=0.01, gain_ratio=asked)
        assert global_rng() == before
        return curve

    measured, plain = ran(True), ran(False)
    # to first order, which other masks would hide: they move the loss by a tenth, and a step by a ten-thousandth
    assert measured.gain_ratio == pytest.approx(np.ones(40), abs=0.02)
    assert measured.loss.tolist() == plain.loss.tolist()


def test_accumulated_batches_see_their_own_masks_again(seed_all, examples):
    model = net(seed_all, lambda: nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.Linear(16, 3)).double())
    curve = ramped(model, shuffled(examples), drawing(torch.rand), end_lr=0.01, accumulate=3, gain_ratio=True)
    assert curve.gain_ratio == pytest.approx(np.ones(40), abs=0.02)


def own_generator():
    generator = torch.Generator().manual_seed(0)
    return drawing(lambda shape: torch.rand(shape, generator=generator))


def call_counter():
    calls = []

    def loss(model, batch):
        calls.append(1)
        return nn.functional.cross_entropy(model(batch[0].double()), batch[1]) + 0.01 * len(calls)

    return loss


def gradient_penalty(model, batch):
    inputs = batch[0].double().requires_grad_()
    outputs = model(inputs)
    slopes = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)[0]
    return nn.functional.cross_entropy(outputs, batch[1]) + slopes.square().mean()


@pytest.mark.parametrize(
    ("make_loss", "message"),
    [
        (own_generator, "comes out the same when it is evaluated again on the same batch, but got another"),
        (call_counter, "comes out the same when it is evaluated again on the same batch, but got another"),
        (lambda: gradient_penalty, "can be evaluated again, under torch.no_grad.., but got RuntimeError: element 0"),
    ],
    ids=["own generator", "call counter", "gradient penalty"],
)
def test_a_loss_that_cannot_be_evaluated_again_has_none_and_is_refused_where_it_was_asked_for(
    seed_all, examples, make_loss, message
):
    make = lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).double()  # noqa: E731
    curve = ramped(net(seed_all, make), shuffled(examples), make_loss())
    assert (curve.gain_ratio, len(curve.loss), dict(curve.metrics)) == (None, 40, {})
    assert 0 < curve.num_forwards <= 11  # of the first block
    model = net(seed_all, make)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InvalidInputError, match=f"gain_ratio=True needs a loss that {message}"):
        ramped(model, shuffled(examples), make_loss(), gain_ratio=True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_gradient_penalty_trains_as_it_does_without(seed_all, examples):
    make = lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).double()  # noqa: E731
    tried, plain = (
        ramped(net(seed_all, make), shuffled(examples), gradient_penalty, gain_ratio=asked) for asked in (None, False)
    )
    assert tried.loss.tolist() == plain.loss.tolist()


def test_a_loss_that_refuses_weights_that_are_not_finite_ends_the_ramp_at_the_same_step(seed_all, examples):
    def loss(model, batch):
        outputs = model(batch[0])
        if not outputs.isfinite().all():
            raise ValueError("not finite")
        return outputs.cos().mean()  # is never large itself

    def ran(asked):
        model = net(seed_all, lambda: nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3)))
        return ramped(model, shuffled(examples), loss, start_lr=1e-3, end_lr=1e50, num_steps=40, gain_ratio=asked)

    measured, plain = ran(True), ran(False)
    assert plain.stopped == measured.stopped == "non_finite"
    assert plain.loss.tolist() == measured.loss.tolist()
    assert np.isnan(measured.gain_ratio[-1])


def test_ctrl_c_in_the_extra_pass_leaves_everything_as_it_was(seed_all, examples, global_rng, dropout_net):
    model = net(seed_all, lambda: Counting(dropout_net))
    state = {name: value.clone() for name, value in (*model.named_parameters(), *model.named_buffers())}
    before = global_rng()

    def loss(model, batch):
        value = nn.functional.cross_entropy(model(batch[0]), batch[1])
        if not torch.is_grad_enabled() and model.calls > 5:
            model.calls -= 100
            random.random()
            raise KeyboardInterrupt
        return value

    with pytest.raises(KeyboardInterrupt):
        ramped(model, shuffled(examples), loss, gain_ratio=True)
    after = dict((*model.named_parameters(), *model.named_buffers()))
    assert all(torch.equal(value, after[name]) for name, value in state.items())
    assert global_rng() == before


def test_it_is_charged_a_third_of_a_step_a_pass(seed_all, examples, dropout_net, cross_entropy):
    calls = []

    def loss(model, batch):
        calls.append(torch.is_grad_enabled())
        return cross_entropy(model, batch)

    curve = ramped(net(seed_all, dropout_net), shuffled(examples), loss, gain_ratio=True)
    assert (calls.count(True), calls.count(False)) == (40, 41)
    assert (curve.num_steps, curve.num_forwards, curve.steps_charged) == (40, 41, 40 + 14)
    plain = ramped(net(seed_all, dropout_net), shuffled(examples), loss, gain_ratio=False)
    assert (plain.num_forwards, plain.steps_charged) == (0, 40)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"several": True}, "several losses are trained in turn"),
        ({"closure": True}, "evaluates the loss several times"),
    ],
)
def test_where_no_one_gradient_belongs_to_a_step_there_is_none(seed_all, examples, cross_entropy, changes, reason):
    def ran(**options):
        model = net(seed_all, lambda: nn.Linear(6, 3))
        optimizers, losses = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2), cross_entropy
        if "several" in changes:
            optimizers = [torch.optim.SGD([parameter], lr=0.1) for parameter in model.parameters()]
            losses = [cross_entropy, cross_entropy]
        return lrs.range_test(model, optimizers, shuffled(examples), losses, end_lr=0.1, num_steps=20, **options)

    assert (ran().gain_ratio, ran().num_forwards) == (None, 0)
    with pytest.raises(InvalidInputError, match=reason):
        ran(gain_ratio=True)


def test_one_copy_of_the_weights_while_it_runs_and_none_afterwards(seed_all):
    seed_all(0)
    model = nn.Linear(700, 500)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 700)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()

    def large():
        tensors = (t for t in gc.get_objects() if type(t) in (torch.Tensor, nn.Parameter) and t.numel() > 3e5)
        return len({t.untyped_storage().data_ptr() for t in tensors})

    seen, starts = [], []

    def loss(model, batch):
        starts.append(float(model.weight.detach().sum()))
        if len(starts) % 13 == 1:  # looking at every object takes long
            seen.append(large())
        return model(batch).square().mean()

    gc.collect()
    assert large() == 2  # weight and momentum
    gc.disable()  # what is let go of must be free at once, not when Python next looks for cycles
    try:
        curve = lrs.range_test(
            model, optimizer, torch.randn(2, 4, 700), loss, start_lr=3e3, end_lr=1e6, num_steps=20, extend=True
        )
        assert large() == 2
    finally:
        gc.enable()
    assert starts.count(starts[0]) > 3  # it began again lower
    assert len(seen) > 5
    assert curve.gain_ratio is not None
    # a copy of weight and momentum, one more of the weight, and a gradient
    assert max(seen) <= 2 + 2 + 1 + 1
