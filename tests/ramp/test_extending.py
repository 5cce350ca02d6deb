"""range_test(..., extend=True): the ramp moves its own ends."""

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs


class Bowl(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, dtype=torch.float64))
        self.register_buffer("calls", torch.zeros(()))


def bowl(curvature, **options):
    """curvature / 2 * |weight - target|^2 with noisy targets, whose edge of stability is 2 / curvature."""
    model, firsts = Bowl(), []
    noise = 0.3 * torch.randn(40, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def loss(model, target):
        model.calls += 1
        if model.calls == 1:
            firsts.append((model.weight.tolist(), target.tolist()))
        return curvature / 2 * ((model.weight - target) ** 2).sum()

    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.0)
    curve = lrs.range_test(model, optimizer, list(noise), loss, **options)
    assert model.weight.tolist() == [1.0] * 4
    assert (model.calls.item(), optimizer.param_groups[0]["lr"], len(optimizer.state)) == (0, 0.5, 0)
    return curve, firsts


def test_where_the_loss_still_falls_at_the_end_it_goes_on_at_the_same_pace():
    options = {"start_lr": 1e-6, "end_lr": 1e-2, "num_steps": 80}
    short, _ = bowl(1.0, **options)
    long, firsts = bowl(1.0, **options, extend=True)
    assert (short.stopped, len(short.lr), long.stopped) == ("finished", 80, "diverged")
    assert long.lr[:80] == pytest.approx(short.lr, rel=1e-12)
    assert long.loss[:80].tolist() == short.loss.tolist()
    assert np.diff(np.log(long.lr)) == pytest.approx(np.log(1e4) / 79)
    assert 2 < long.lr[-1] < 5
    assert len(firsts) == 1
    assert len(long.lr) <= long.num_steps < len(long.lr) + 10


def test_without_a_gain_ratio_it_goes_on_until_the_descent_is_over():
    options = {"start_lr": 1e-6, "end_lr": 0.1, "num_steps": 80, "gain_ratio": False}
    short, long = bowl(1.0, **options)[0], bowl(1.0, **options, extend=True)[0]
    assert (short.stopped, len(short.lr)) == ("finished", 80)
    assert long.lr[-1] > 0.9
    assert long.loss[80:].mean() < 0.5 * short.loss[-5:].mean()


def test_it_ends_at_the_highest_lr_there_is():
    curve, _ = bowl(1e-9, start_lr=1e-3, end_lr=100.0, num_steps=40, extend=True)
    assert curve.stopped == "finished"
    assert 1e3 <= curve.lr[-1] <= 1e4  # a decade more would be beyond 1e4


def test_a_start_that_is_too_high_begins_again_lower_from_the_very_same_weights_and_batches():
    options = {"start_lr": 1.0, "end_lr": 10.0, "num_steps": 40, "gain_ratio": True}
    short, _ = bowl(100.0, **options)
    long, firsts = bowl(100.0, **options, extend=True)
    assert len(short.lr) < 20
    assert short.stopped == "diverged"
    assert len(firsts) >= 2
    assert all(first == firsts[0] for first in firsts)
    assert long.loss[0] == short.loss[0]
    assert long.lr[0] < 1.1e-3
    assert np.diff(np.log(long.lr)) == pytest.approx(np.log(10) / 39)
    assert 0.02 < long.lr[-1] < 0.04
    assert long.num_steps > len(long.lr) + len(short.lr) - 1  # the steps of the first start are counted
    assert long.num_forwards == long.num_steps + len(firsts)


def test_so_does_one_whose_loss_is_not_finite_at_once():
    short, _ = bowl(100.0, start_lr=1e200, end_lr=1e201, num_steps=20)
    assert (short.stopped, len(short.lr)) == ("non_finite", 1)
    long, firsts = bowl(1e150, start_lr=1e-20, end_lr=1e10, num_steps=20, extend=True)
    assert len(firsts) == 2  # no lower than 1e-12; the batch is looked at once more, for a fault of its own
    assert long.num_steps == 10
    assert long.lr[0] == 1e-20


def test_a_ramp_that_needs_nothing_is_left_alone():
    options = {"start_lr": 1e-5, "end_lr": 10.0, "num_steps": 60}
    plain, extended = bowl(1.0, **options)[0], bowl(1.0, **options, extend=True)[0]
    assert extended.lr.tolist() == plain.lr.tolist()
    assert extended.loss.tolist() == plain.loss.tolist()
    assert extended.num_steps == plain.num_steps


def test_a_linear_ramp_goes_on_in_steps_of_the_same_width():
    curve, _ = bowl(1.0, start_lr=0.0, end_lr=0.5, num_steps=51, ramp="linear", extend=True)
    assert curve.stopped == "diverged"
    assert np.diff(curve.lr) == pytest.approx(0.01)
    assert 2 < curve.lr[-1] < 3


def test_of_a_workload_each_start_has_the_weights_of_the_seed(make_workload, cross_entropy):
    firsts = []

    def model():
        made = torch.nn.Linear(6, 3)
        firsts.append(made.weight.tolist())
        return made

    def loss(model, batch):
        return 1e6 * cross_entropy(model, batch)

    workload = make_workload(model=model, loss=loss)
    curve = workload.range_test(0, start_lr=1.0, end_lr=100.0, num_steps=30, extend=True)
    assert len(firsts) >= 2
    assert all(first == firsts[0] for first in firsts)
    assert curve.lr[0] < 1e-2
