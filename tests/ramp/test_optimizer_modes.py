"""Range tests with optimizers that have a train and an eval mode: taken in train mode, and put back."""

import copy
import itertools

import numpy as np
import pytest
import schedulefree

import lr_search as lrs
from lr_search.schedules import Constant
from lr_search.state.capture import capture
from tests.helpers.schedule_free import EVERY_KIND, KINDS, LR, by_hand, free, plain, same, seeded, wide
from tests.helpers.workloads import data, squared_error

RAMP = {"start_lr": 1e-4, "end_lr": 1.0, "num_steps": 20}


@EVERY_KIND
@pytest.mark.parametrize("showing", [False, True], ids=["train", "eval"])
def test_a_live_range_test_is_run_in_train_mode_and_puts_the_mode_back(kind, showing):
    model = seeded()
    optimizer = by_hand(model, kind, 12)
    undisturbed = copy.deepcopy(model), plain(copy.deepcopy(optimizer.state_dict()))
    reference = lrs.range_test(model, optimizer, data(), squared_error, **RAMP)  # from train mode
    if showing:
        optimizer.eval()
        undisturbed = copy.deepcopy(model), plain(copy.deepcopy(optimizer.state_dict()))
    curve = lrs.range_test(model, optimizer, data(), squared_error, **RAMP)
    assert optimizer.param_groups[0]["train_mode"] is not showing
    assert same(model, undisturbed[0])
    assert plain(optimizer.state_dict()) == undisturbed[1]
    assert len(curve.lr) == len(reference.lr)
    np.testing.assert_allclose(curve.loss, reference.loss, rtol=1e-4)


def test_its_curve_is_that_of_a_plain_loop():
    workload = free(optimizer=schedulefree.SGDScheduleFree)
    curve = workload.range_test(valid_batches=3, **RAMP)
    model = seeded()
    optimizer = schedulefree.SGDScheduleFree(model.parameters(), lr=1.0)
    for index, batch in enumerate(itertools.islice(itertools.cycle(data()), 20)):
        optimizer.eval()
        shown = np.mean([squared_error(model, each).item() for each in data()[:3]])
        optimizer.train()
        loss = squared_error(model, batch)
        assert curve.loss[index] == pytest.approx(loss.item(), rel=1e-4)
        assert curve.metrics["valid_loss"][index] == pytest.approx(shown, rel=1e-4)  # of the averaged weights
        optimizer.param_groups[0]["lr"] = 1e-4 * (1.0 / 1e-4) ** (index / 19)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert len(curve.loss) == 20


@pytest.mark.parametrize("kind", [KINDS["adamw"], KINDS["sgd"]])
def test_a_range_test_within_a_training_leaves_it_in_the_same_bits(kind):
    workload = free(optimizer=kind, model=wide)
    undisturbed = lrs.train(workload, Constant(LR))
    expected = [evaluation.metrics for evaluation in undisturbed]
    training = lrs.train(workload, Constant(LR))
    found = []
    for evaluation in training:
        found.append(evaluation.metrics)
        training.range_test(valid_batches=2, extend=True, **(RAMP | {"start_lr": 0.2}))
    assert found == expected
    assert same(training.model, undisturbed.model)


def test_a_range_test_within_a_training_begins_at_the_trained_weights():
    training = lrs.train(free(), Constant(LR))
    training.advance(16)  # two passes: the next batch is the first
    curve = training.range_test(**RAMP)
    model = seeded()
    by_hand(model, schedulefree.AdamWScheduleFree, 16)
    assert curve.loss[0] == pytest.approx(squared_error(model, data()[0]).item(), rel=1e-6)


def test_refinding_and_probing_work_with_it():
    found = lrs.refind(free(), Constant(LR), at=[0, 10, 30], range_test=RAMP)
    assert list(found.curves) == [0, 10, 30]
    trials = lrs.compare(free(), strategies=["probe"], schedules=["constant"], budget=6, seeds=1, storage=None).trials
    assert set(trials["outcome"]) == {"finished"}


def test_the_optimizers_character_does_not_depend_on_how_far_it_has_trained():
    model = seeded()
    fresh = schedulefree.SGDScheduleFree(model.parameters(), lr=1.0)
    trained = by_hand(seeded(), schedulefree.SGDScheduleFree, 20)
    from lr_search.optimizers.character import character

    found = character(fresh)
    assert found == character(trained)
    assert found["scaling"] == pytest.approx(1.0)  # its steps grow with the gradient, as SGD's


def test_capture_holds_the_mode():
    model = seeded()
    optimizer = by_hand(model, schedulefree.SGDScheduleFree, 5)
    before = copy.deepcopy(model)
    captured = capture(model, optimizer)
    optimizer.eval()
    captured.restore()
    assert optimizer.param_groups[0]["train_mode"]
    assert same(model, before)
