"""Clipping, accumulation, precision, parameter groups, snapshots, momentum, and what waits for the device."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import lr_search as lrs
from lr_search.schedules import Constant, Schedule, Triangular
from tests.helpers.case_ids import case_id


def linear():
    return nn.Linear(6, 3)


@pytest.fixture
def batches(examples):
    """7 batches of 8, always in this order."""
    return [tuple(part[8 * i : 8 * i + 8] for part in examples) for i in range(7)]


@pytest.fixture
def plain(make_workload, batches):
    """A workload without randomness but in its weights."""

    def make(**changes):
        settings = {"model": linear, "optimizer": torch.optim.SGD, "train_data": lambda: batches}
        return make_workload(**(settings | changes))

    return make


def initial(seed_all, seed=0):
    seed_all(seed)
    model = linear()
    return model, torch.optim.SGD(model.parameters(), lr=0.3)


def test_clip_norm_scales_all_gradients_together(plain, batches, trained, cross_entropy, seed_all, weights):
    _, _, ours = trained(plain(clip_norm=0.05, num_steps=14), Constant(0.3))
    model, optimizer = initial(seed_all)
    clipped = 0
    for batch in batches * 2:
        optimizer.zero_grad()
        cross_entropy(model, batch).backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
        clipped += norm > 0.05
        for p in model.parameters():
            p.grad *= min(1.0, 0.05 / float(norm))
        optimizer.step()
    assert clipped == 14
    by_hand = weights(model)
    assert all(torch.allclose(ours[name], by_hand[name], atol=1e-5) for name in by_hand)


def test_clip_norm_leaves_smaller_gradients_alone(plain, trained, same_bits):
    (_, _, loose), (_, _, without) = (trained(plain(clip_norm=c), Constant(0.3)) for c in (1e6, None))
    assert same_bits(loose, without)


def test_accumulate_equals_one_big_batch_of_the_mean_loss(plain, batches, trained):
    big = [tuple(torch.cat(parts) for parts in zip(*batches[i : i + 2], strict=True)) for i in (0, 2, 4)]
    _, two, ours = trained(plain(accumulate=2, train_data=lambda: batches[:6], num_steps=9), Constant(0.3))
    _, one, expected = trained(plain(train_data=lambda: big, num_steps=9), Constant(0.3))
    assert all(torch.allclose(ours[name], expected[name], atol=1e-6) for name in ours)
    assert [e.step for e in two] == [e.step for e in one] == [0, 5, 9]
    assert [e.train_loss for e in two[1:]] == pytest.approx([e.train_loss for e in one[1:]], rel=1e-5)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_lower_precision_computes_in_it_and_keeps_the_weights(plain, trained, cross_entropy, precision, dtype):
    seen = set()

    def loss(model, batch):
        seen.add(model(batch[0]).dtype)
        return cross_entropy(model, batch)

    training, low, _ = trained(plain(loss=loss, precision=precision), Constant(0.3))
    _, full, _ = trained(plain(), Constant(0.3))
    assert seen == {dtype}  # in evaluations too
    assert {p.dtype for p in training.model.parameters()} == {torch.float32}
    assert [e.metrics["loss"] for e in low] == pytest.approx([e.metrics["loss"] for e in full], rel=0.02)
    assert low[-1].metrics != full[-1].metrics


def test_clip_norm_is_of_the_true_gradients_under_a_scaler(plain, trained, weights):
    (start, _, low), (_, _, full) = (
        trained(plain(clip_norm=0.05, precision=p), Constant(0.3)) for p in ("fp16", "fp32")
    )
    assert start.state_dict()["scaler"]["scale"] == 65536
    assert all(torch.allclose(low[name], full[name], atol=2e-3) for name in full)


def test_param_groups_keep_the_ratio_of_their_lrs(plain, batches, cross_entropy, trained, seed_all, same_bits, weights):
    def groups(model):
        return [{"params": [model.weight], "lr": 1.0}, {"params": [model.bias], "lr": 0.25, "weight_decay": 0.5}]

    training, _, ours = trained(plain(param_groups=groups, num_steps=7), Constant(0.5))
    model, _ = initial(seed_all)
    for batch in batches:
        weight, bias = torch.autograd.grad(cross_entropy(model, batch), (model.weight, model.bias))
        with torch.no_grad():
            model.weight.add_(weight, alpha=-0.5)
            model.bias.add_(bias.add(model.bias, alpha=0.5), alpha=-0.125)
    assert same_bits(ours, weights(model))
    assert [group["lr"] for group in training.optimizer.param_groups] == [0.5, 0.125]


def test_param_groups_without_lrs_have_the_same(plain, trained, same_bits):
    def groups(model):
        return [{"params": [model.weight]}, {"params": [model.bias]}]

    (_, _, ours), (_, _, expected) = (trained(plain(param_groups=g), Constant(0.5)) for g in (groups, None))
    assert same_bits(ours, expected)


def test_param_groups_leave_out_what_is_not_in_them(plain, trained, seed_all):
    _, _, ours = trained(plain(param_groups=lambda model: [model.weight]), Constant(0.5))
    model, _ = initial(seed_all)
    assert torch.equal(ours["bias"], model.bias.detach())
    assert not torch.equal(ours["weight"], model.weight.detach())


def test_the_first_lr_of_the_optimizer_does_not_matter(plain, trained, same_bits):
    def with_lr(value):
        return lambda params, lr: torch.optim.SGD(params, lr=value)

    (_, _, ours), (_, _, expected) = (trained(plain(optimizer=with_lr(v)), Constant(0.5)) for v in (7.0, 1e-9))
    assert same_bits(ours, expected)


def test_snapshots_are_the_weights_at_the_last_cycle_ends(make_workload, weights, same_bits):
    training = lrs.train(make_workload(num_steps=21), Triangular(0.01, 0.1, step_size=2.5), snapshots=3)
    seen = {}
    for evaluation in training:
        seen[evaluation.step] = weights(training.model)
    assert list(seen) == [0, 5, 10, 15, 20, 21]
    assert [kept.step for kept in training.snapshots] == [10, 15, 20]
    for kept in training.snapshots:
        assert same_bits({name: kept.weights[name] for name in seen[kept.step]}, seen[kept.step])


@pytest.mark.parametrize("schedule", [Triangular(0.01, 0.1, step_size=2.5), Constant(0.1)])
def test_no_snapshots_where_none_are_asked_for(make_workload, schedule):
    training = lrs.train(make_workload(), schedule)
    assert len(list(training)) == 5
    assert training.snapshots == []


def test_snapshots_change_no_weight(make_workload, trained, same_bits):
    schedule = Triangular(0.01, 0.1, step_size=2.5)
    (_, _, kept), (_, _, without) = (trained(make_workload(), schedule, snapshots=n) for n in (2, 0))
    assert same_bits(kept, without)


@dataclass(frozen=True)
class Falling(Schedule):
    """A constant LR, and a momentum that falls from 0.9 by 0.04 a step."""

    lr: float

    def values(self, steps):
        return np.full(steps.shape, self.lr)

    def momentum(self, step):
        return 0.9 - 0.04 * step

    def describe(self):
        return "falling momentum"


def test_a_schedule_moves_the_momentum(plain, batches, trained, cross_entropy, seed_all, weights):
    def sgd(params, lr):
        return torch.optim.SGD(params, lr=lr, momentum=0.5)

    _, _, ours = trained(plain(optimizer=sgd, num_steps=14), Falling(0.2))
    model, _ = initial(seed_all)
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    for step, batch in enumerate(batches * 2):
        gradients = torch.autograd.grad(cross_entropy(model, batch), list(model.parameters()))
        with torch.no_grad():
            for p, v, gradient in zip(model.parameters(), velocity, gradients, strict=True):
                v.mul_(0.9 - 0.04 * step if step else 0.0).add_(gradient)
                p.sub_(0.2 * v)
    by_hand = weights(model)
    assert all(torch.allclose(ours[name], by_hand[name], atol=1e-6) for name in by_hand)


def test_lbfgs_gets_its_closure(plain, examples):
    """Least squares has one minimum, and L-BFGS finds it to the last digits in a few steps."""
    inputs = examples[0].double()
    target = inputs @ torch.arange(18.0).reshape(6, 3).double() + 1
    whole = [(inputs, target)] * 2
    workload = plain(
        model=lambda: linear().double(),
        optimizer=torch.optim.LBFGS,
        loss=lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]),
        train_data=lambda: whole,
        valid_data=lambda: whole,
        num_steps=4,
    )
    training = lrs.train(workload, Constant(1.0))
    assert list(training)[-1].metrics["loss"] < 1e-8
    expected = torch.arange(18.0).reshape(6, 3).T.double()
    assert torch.allclose(training.model.weight, expected, atol=1e-3)


class ReadsOfTheDevice(TorchDispatchMode):
    """Counts `.item()`, `float()` and `bool()` of tensors: on a GPU each of them waits."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("changes", [{}, {"clip_norm": 0.1}, {"accumulate": 2}, {"precision": "bf16"}], ids=case_id)
def test_the_number_of_waits_for_the_device_does_not_grow_with_the_steps(plain, changes):
    def reads(num_steps, eval_every):
        with ReadsOfTheDevice() as mode:
            evaluations = list(lrs.train(plain(num_steps=num_steps, eval_every=eval_every, **changes), Constant(0.1)))
        return mode.count, len(evaluations)

    (short, two), (long, same), (often, five) = reads(20, 20), reads(60, 60), reads(60, 15)
    assert (two, same, five) == (2, 2, 5)
    assert short == long
    assert often > long  # it counts at all
