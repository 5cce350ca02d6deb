"""Trainings in lockstep: snapshots, metrics, cuts, and nobody's random numbers but their own."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.fused.lane import Member
from lr_search.fused.stack import Stack
from lr_search.fused.support import support_of
from lr_search.fused.trials import FusedTraining
from lr_search.fused.updates import StackedUpdate
from lr_search.schedules import Constant, by_name
from tests.helpers.fused_cases import (
    NUM_STEPS,
    alone,
    assert_same,
    assert_same_evaluations,
    convolutions,
    cross_entropy,
    dropouts,
    fused,
    three_schedules,
    workload,
)

LRS = (0.001, 0.003, 0.01, 0.02, 0.03, 0.05)
SCHEDULES = [Constant(lr) for lr in LRS]


@pytest.mark.parametrize("most", [2, 10])
def test_snapshots_are_those_of_each_by_itself(most):
    work = workload(convolutions(lambda: nn.BatchNorm2d(4)))
    schedules = three_schedules(0.02)
    for one, other in zip(fused(work, schedules, snapshots=most), alone(work, schedules, snapshots=most), strict=True):
        assert [kept.step for kept in one.snapshots] == [kept.step for kept in other.snapshots]
        for got, expected in zip(one.snapshots, other.snapshots, strict=True):
            assert (list(got.weights), got.seed) == (list(expected.weights), expected.seed)
            for name in (name for name in got.weights if name != "1.bias"):  # a norm follows: the loss does not feel it
                assert torch.allclose(got.weights[name], expected.weights[name], rtol=1e-2, atol=1e-4)


def test_none_are_kept_unless_asked_for():
    assert fused(workload(), SCHEDULES[:2])[0].snapshots == []


def one_by_one(model, batch):
    return {"loss": float(cross_entropy(model, batch).item())}


def per_example(model, batch):
    outputs, (_, classes) = model(batch[0]), batch
    return {
        "loss": nn.functional.cross_entropy(outputs, classes, reduction="none"),
        "accuracy": (outputs.argmax(1) == classes).float(),
        "mean": outputs.mean(),
        "seven": 7.0,
    }


def counted(model, batch):
    """The precision of class 0 and of one that is never predicted: what it is divided by depends on the model."""
    chosen = model(batch[0]).argmax(1)
    hits = ((chosen == 0) & (batch[1] == 0)).sum()
    loss = cross_entropy(model, batch)
    return {"loss": loss, "precision": (hits, (chosen == 0).sum()), "of_none": (hits * 0, (chosen == 9).sum())}


@pytest.mark.parametrize(("metrics", "batched"), [(one_by_one, False), (per_example, True), (counted, True)])
def test_metrics_are_those_of_each_by_itself(metrics, batched):
    work = workload(dropouts, metrics=metrics)
    assert support_of(work, 0).metrics is batched
    together = fused(work, SCHEDULES[:3])
    assert_same(together, alone(work, SCHEDULES[:3]))
    assert len({run.evaluations[-1].metrics["loss"] for run in together}) == 3
    assert set(together[0].evaluations[0].metrics) == set(metrics(dropouts(), support_batch(work)))


def support_batch(work):
    return next(iter(work.valid_data()))


def test_metrics_without_the_objective_are_the_workloads_fault():
    work = workload(metrics=lambda model, batch: {"error": cross_entropy(model, batch)})
    with pytest.raises(lrs.errors.WorkloadError, match="objective must be a metric"):
        fused(work, SCHEDULES[:2])


CUT = {1, 2, 4}  # after the evaluation at step 13


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        (dropouts, torch.optim.Adam),
        (dropouts, partial(torch.optim.SGD, momentum=0.9)),
        (dropouts, partial(torch.optim.ASGD, t0=5)),
        (convolutions(lambda: nn.BatchNorm2d(4)), partial(torch.optim.SGD, momentum=0.9)),
    ],
)
def test_the_others_go_on_when_some_are_cut(model, optimizer):
    work = workload(model, optimizer=optimizer)
    together = fused(work, SCHEDULES, cut=lambda lane, step: lane.index in CUT and step == 13)
    for index, (one, other) in enumerate(zip(together, alone(work, SCHEDULES), strict=True)):
        if index in CUT:
            assert (one.stopped, one.reason, one.steps) == ("cut", "cut after step 13", [0, 13])
            assert_same_evaluations(one.evaluations, other.evaluations[:2])
        else:
            assert_same([one], [other])


def test_the_rows_of_those_that_are_cut_are_let_go_of(monkeypatch):
    widths = []
    keep = Stack.keep
    monkeypatch.setattr(Stack, "keep", lambda self, rows: (widths.append(len(rows)), keep(self, rows)))
    fused(workload(), SCHEDULES, cut=lambda lane, step: lane.index == step // 13 - 1)
    assert widths == [5, 4, 3]  # after steps 13, 26 and 39


def test_several_evaluation_steps_and_cuts_at_each(monkeypatch):
    work, steps = workload(), []
    support = support_of(work, 0)
    step = StackedUpdate.step
    monkeypatch.setattr(StackedUpdate, "step", lambda self, *args: (steps.append(len(args[1])), step(self, *args)))
    schedules = [
        by_name(name, lr=0.02, num_steps=NUM_STEPS) for name in ("sgdr", "constant", "one_cycle", "triangular")
    ]
    ends = {(0, 3), (1, 13), (2, 26)}
    together = fused(work, schedules, cut=lambda lane, step: (lane.index, step) in ends, support=support)
    assert [run.stopped for run in together] == ["cut", "cut", "cut", "finished"]
    for one, other in zip(together, alone(work, schedules), strict=True):
        assert_same_evaluations(one.evaluations, other.evaluations[: len(one.evaluations)])
    assert sum(steps) == 3 + 13 + 26 + 50  # no step more than was asked for


def test_the_global_random_numbers_are_left_alone(global_rng):
    work = workload(dropouts)
    support = support_of(work, 0)
    before = global_rng()
    training = FusedTraining([Member(work, each) for each in SCHEDULES[:2]], 0, [support] * 2)
    assert global_rng() == before
    for _ in training:
        assert global_rng() == before
    training.close()
    assert global_rng() == before


def test_what_is_drawn_between_evaluations_changes_nothing(seed_all):
    def draw(lane, step):
        seed_all(step)
        return False

    work = workload(dropouts)
    seed_all(99)
    quiet = fused(work, SCHEDULES[:2])
    assert_same(fused(work, SCHEDULES[:2], cut=draw), quiet, rel=0)


def test_lanes_say_what_they_cost_and_judge_other_models():
    work = workload()
    training = FusedTraining([Member(work, each) for each in SCHEDULES[:2]], 0, [support_of(work, 0)] * 2)
    seen = [[lane.index for lane in lanes] for lanes in training]
    assert [indices for indices in seen if indices] == [[0, 1]] * 5
    model = lrs.train(work, Constant(0.1)).model
    expected = np.mean([cross_entropy(model, batch).item() for batch in work.valid_data()])
    assert training.lanes[1].evaluate(model)["loss"] == pytest.approx(expected, rel=1e-5)
    assert all(lane.seconds > 0 and lane.over for lane in training.lanes)
    training.close()
    with pytest.raises(lrs.errors.InvalidInputError, match="closed"):
        training.lanes[0].evaluate(model)


def test_a_lane_whose_metrics_raise_is_left_to_be_trained_alone():
    def picky(model, batch):
        loss = cross_entropy(model, batch).item()
        if loss < 1.2:
            raise ArithmeticError("too good")
        return {"loss": loss}

    schedules = [Constant(1e-5), Constant(0.05), Constant(1e-4)]
    work = workload(metrics=picky)
    training = FusedTraining([Member(work, each) for each in schedules], 0, [support_of(work, 0)] * 3)
    last = [[lane.step for lane in lanes] for lanes in training][-1]
    assert [(lane.alone, lane.stopped) for lane in training.lanes] == [
        (False, "finished"),
        (True, None),
        (False, "finished"),
    ]
    assert last == [50, 50]
