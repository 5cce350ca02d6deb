"""The range test of a training function: its losses, its LRs and its end."""

import math

import numpy as np
import pytest

import lr_search as lrs
from lr_search.errors import WorkloadError
from tests.helpers.functions import SMALL, STEPS, compared, descend, trainable_of


def test_a_range_test_ends_where_the_loss_blows_up_and_trains_no_further():
    calls = []

    def train(run):
        calls.append(run.ramping)
        descend(run)

    curve = trainable_of(train).range_test(start_lr=1e-3, end_lr=1e4, num_steps=40)
    assert curve.stopped == "diverged"
    assert curve.gain_ratio is None
    assert 1.0 < curve.lr[-1] < 1e4
    np.testing.assert_allclose(curve.lr, np.geomspace(1e-3, 1e4, 40)[: len(curve.lr)])
    x, losses = 0.0, []
    for lr in curve.lr:
        losses.append((x - 3) ** 2)
        x -= lr * 2 * (x - 3)
    np.testing.assert_allclose(curve.loss, losses)
    assert calls == [True]


@pytest.mark.parametrize("ramp", [{}, {"ramp": "linear", "start_lr": 0.0}])
@pytest.mark.parametrize("late", [False, True])
def test_the_losses_of_an_extended_ramp_are_those_of_its_lrs(ramp, late):
    def bowl(run):
        x = 0.0
        while True:
            loss, x = (x - 3) ** 2, x - run.lr * 2 * (x - 3)
            if not late:
                run.loss(loss)
            run.step()
            if late:
                run.loss(loss)

    settings = {"start_lr": 1e-5, "end_lr": 1e-2, "num_steps": 27, "extend": True, **ramp}  # no multiple of a block
    curve = trainable_of(bowl).range_test(**settings)
    assert len(curve.lr) > 27
    gaps = np.diff(curve.lr) if ramp else np.diff(np.log(curve.lr))
    np.testing.assert_allclose(gaps, gaps[0])
    x, losses = 0.0, []
    for lr in curve.lr:
        losses.append((x - 3) ** 2)
        x -= lr * 2 * (x - 3)
    np.testing.assert_allclose(curve.loss, losses)


def test_a_function_that_ends_before_the_ramp_does_is_told_so():
    def fixed(run):
        for _ in range(STEPS):
            run.loss(1.0 + 0 * run.lr)
            run.step()

    with pytest.raises(
        WorkloadError, match="must take the 60 steps of a range test, with a loss at each, but returned after 40"
    ):
        trainable_of(fixed).range_test(num_steps=60, end_lr=1e-3)


def test_a_loss_told_after_its_step_belongs_to_it_all_the_same():
    def late(run):
        x = 0.0
        for _ in range(run.num_steps):
            loss, x = (x - 3) ** 2, x - run.lr * 2 * (x - 3)
            run.step()
            run.loss(loss)

    curves = [trainable_of(train).range_test(start_lr=1e-3, end_lr=1e4, num_steps=40) for train in (descend, late)]
    np.testing.assert_array_equal(curves[0].loss, curves[1].loss)
    np.testing.assert_array_equal(curves[0].lr, curves[1].lr)


def test_of_several_losses_a_step_the_mean_counts():
    def accumulating(run):
        x = 0.0
        for _ in range(run.num_steps):
            for part in (0.5, 1.5):
                run.loss(part * (x - 3) ** 2)
            x -= run.lr * 2 * (x - 3)
            run.step()

    one, other = (
        trainable_of(train).range_test(start_lr=1e-3, end_lr=1e4, num_steps=40) for train in (descend, accumulating)
    )
    np.testing.assert_allclose(one.loss, other.loss)


def test_a_range_test_of_the_librarys_own_takes_the_place_of_the_functions():
    asked = []

    def own_range_test(seed, settings):
        asked.append((seed, settings.num_steps, settings.gain_ratio))
        return trainable_of(descend).range_test(seed, start_lr=1e-3, end_lr=1e4)

    trainable = lrs.Trainable(descend, num_steps=STEPS, own_range_test=own_range_test)
    assert trainable.range_test(3, num_steps=30, gain_ratio=True).plan.num_steps == STEPS
    lrs.compare(trainable, **{**SMALL, "budget": 3, "range_test": {"num_steps": 20}})
    assert asked == [(3, 30, True), (0, 20, None)]


def every_other_step(run):
    x = 0.0
    for step in range(run.num_steps):
        if step % 2 == 0:
            run.loss((x - 3) ** 2 if step < 10 else math.nan)
        x -= run.lr * 2 * (x - 3)
        run.step()
        if run.due:
            run.report(val_loss=1.0)


def test_a_range_test_with_losses_at_some_steps_only_is_refused():
    with pytest.raises(
        WorkloadError, match="its loss at every step of a range test, but told none between steps 1 and 3"
    ):
        trainable_of(every_other_step).range_test(end_lr=1e-3)


def test_the_step_of_a_loss_that_is_not_finite_is_told_though_others_have_none():
    comparison = compared(every_other_step, strategies={"one": 0.1}, schedules=["constant"], budget=1)
    assert "became nan at step 11" in comparison.trials["reason"].item()


def test_a_range_test_without_losses_is_refused():
    def silent(run):
        for _ in range(run.num_steps):
            run.step()
            if run.due:
                run.report(val_loss=run.lr)

    with pytest.raises(WorkloadError, match=r"silent\(run\) must tell its loss at every step of a range test"):
        compared(silent)
