"""What a suggestion says beside its reason: whose LR it is, how it lies to bounds(), and when a ramp began too high."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.curves.curve import LRCurve
from tests.helpers.workloads import data, line, squared_error


def valley(steps, low=1e-3, high=100.0, cut=None):
    """A loss that falls from an LR of 0.03 on and blows up beyond 10, in a ramp of so many steps, cut off after some."""
    lr = np.geomspace(low, high, steps)
    loss = 2.3 - 1.5 / (1 + (0.03 / lr) ** 2) + (lr / 10) ** 3
    return LRCurve(lr[:cut], loss[:cut], stopped="finished" if cut is None else "diverged")


def test_a_short_ramp_that_blew_up_near_its_end_did_not_begin_too_high():
    suggestion = valley(20, cut=18).suggest()
    assert suggestion.status != "diverged_at_start"
    assert 0.01 < suggestion.lr < 10


@pytest.mark.parametrize(("steps", "cut", "early"), [(100, 9, True), (100, 19, True), (20, 4, True), (20, 9, False)])
def test_it_counts_how_much_of_the_lr_the_ramp_spanned(steps, cut, early):
    """The usual ramp spans 8 decades: 19 of its 100 steps are 1.5, 9 of 20 are 3.4."""
    lr = np.geomspace(1e-7, 10, steps)[:cut]
    curve = LRCurve(lr, [2.3] * (cut - 1) + [50.0], stopped="diverged")
    assert (curve.suggest().status == "diverged_at_start") == early


def test_an_lbfgs_ramp_of_twenty_steps_that_blew_up_late():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 10, generator=generator)
    labels = (inputs[:, :3].sum(dim=1) > 0).long()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=4)
    batches = [(inputs[i : i + 32], labels[i : i + 32]) for i in range(0, 256, 32)]
    loss = lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1])  # noqa: E731
    curve = lrs.range_test(model, optimizer, batches, loss, start_lr=1e-4, end_lr=100.0, num_steps=20)
    assert curve.stopped != "finished"
    assert 10 < len(curve.lr) < 20
    assert curve.suggest().status != "diverged_at_start"
    assert curve.suggest().lr > 1e-3


@pytest.mark.parametrize(
    ("curve", "first", "second"),
    [
        (valley(100), "Range test of 100 steps, LR 0.001 to 100: loss 2.3 to 0.8", "1000 steps of a decaying schedule"),
        (valley(100, cut=90).planned("triangular2", 300), "Range test of 90 steps, LR 0.001 to 31.3: ", "300 steps of triangular2"),
        (LRCurve.pool([valley(100)] * 2), "Range tests of 2 seeds, LR 0.001 to 100: loss 2.3 to ", "1000 steps of a decaying schedule"),
    ],
    ids=["one", "blown up", "pooled"],
)  # fmt: skip
def test_a_curve_is_printed_in_two_lines(curve, first, second):
    lines = str(curve).splitlines()
    suggestion = curve.suggest()
    assert lines[0].startswith(first)
    assert lines[0].endswith({"finished": "ran to its end", "diverged": "blew up"}[curve.stopped])
    width = 10**suggestion.log10_std
    assert lines[1] == f"suggests {suggestion.lr:.3g} ({suggestion.status}), give or take x{width:.2g}, for {second}"
    assert len(lines) == 2
    assert max(map(len, lines)) <= 80
    assert len(repr(curve)) < 80
    assert "\n" not in repr(curve)


def grouped(model, ratios):
    return [
        {"params": [parameter], "lr": 0.1 * ratio} for parameter, ratio in zip(model.parameters(), ratios, strict=True)
    ]


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ((1, 1), ""),
        ((1, 4), "The LR is the first parameter group's; another trains at {1}."),
        ((1, 2, 4, 8), "The LR is the first parameter group's; 3 others train at {1} to {3}."),
        ((1, 2, 2, 1), "The LR is the first parameter group's; 2 others train at {1}."),
    ],
)
@pytest.mark.parametrize("how", ["live", "workload", "seeds"])
def test_with_several_groups_it_says_whose_lr_it_is(how, ratios, said):
    layers = len(ratios) // 2
    make = lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(layers)))  # noqa: E731
    if how == "live":
        model = make()
        curve = lrs.range_test(model, torch.optim.SGD(grouped(model, ratios), lr=0.1), data(), squared_error)
    else:
        work = line(model=make, optimizer=partial(torch.optim.SGD), param_groups=lambda model: grouped(model, ratios))
        curve = work.range_test(**({"seeds": 2} if how == "seeds" else {}))
    suggestion = curve.suggest()
    assert suggestion.group_lrs == pytest.approx([suggestion.lr * ratio for ratio in ratios])
    assert ("parameter group" in suggestion.reason) == bool(said)
    assert suggestion.reason.endswith(said.format(*(f"{lr:.3g}" for lr in suggestion.group_lrs)))


def test_a_saved_curve_keeps_its_groups(tmp_path):
    curve = LRCurve(np.geomspace(1e-3, 1, 30), np.linspace(2, 1, 30), group_ratios=(1.0, 0.25))
    curve.save(tmp_path / "curve.json")
    assert LRCurve.load(tmp_path / "curve.json").group_ratios == (1.0, 0.25)


def test_where_the_groups_are_not_known_it_is_one_lr():
    suggestion = LRCurve.from_arrays(np.geomspace(1e-3, 1, 30), np.linspace(2, 1, 30)).suggest()
    assert suggestion.group_lrs == (suggestion.lr,)


@pytest.mark.parametrize("rule", list(lrs.suggest.RULES))
def test_it_says_when_it_lies_outside_the_bounds_for_cycles(rule):
    """With a gain ratio, which `gain_ratio` reads far below where the loss falls."""
    curve = valley(100, cut=90)
    measured = LRCurve(curve.lr, curve.loss, gain_ratio=1 / (1 + curve.lr / 0.05), stopped="diverged")
    base_lr, max_lr = measured.bounds()
    suggestion = measured.suggest(rule)
    side = "below" if suggestion.lr < base_lr else "above" if suggestion.lr > max_lr else ""
    found = re.search(r"The LR lies (above|below) bounds\(\) \((\S+) to (\S+)\)", suggestion.reason)
    assert (found[1] if found else "") == side
    if found:
        assert (float(found[2]), float(found[3])) == pytest.approx((base_lr, max_lr), rel=0.06)


def test_the_bounds_of_a_loss_that_does_not_descend_are_not_for_cycles():
    noise = np.random.default_rng(0).normal(1.4, 0.1, 100)
    suggestion = LRCurve(np.geomspace(1e-7, 10, 100), noise, stopped="finished").suggest()
    assert suggestion.status == "flat"
    assert "which does not descend: no ends for cycles." in suggestion.reason


def test_some_rule_does():
    curve = valley(100, cut=90)
    low = LRCurve(curve.lr, curve.loss, gain_ratio=1 / (1 + curve.lr / 0.005), stopped="diverged").suggest("gain_ratio")
    assert "The LR lies below bounds()" in low.reason
