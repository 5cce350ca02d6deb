"""A skorch net that follows a schedule: the LR of each batch, and its refusals."""

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import InvalidInputError
from tests.lr_search_skorch.test_skorch_range_test import BATCH, EPOCHS, data, net

pytestmark = pytest.mark.trainers

STEPS = EPOCHS * 8


def lrs_of(fitted_with):
    """The LR at each training batch of a fit."""
    from skorch.callbacks import Callback

    class Recorder(Callback):
        def __init__(self):
            self.seen = []

        def on_grad_computed(self, net, named_parameters, **kwargs):
            self.seen.append([group["lr"] for group in net.optimizer_.param_groups])

    recorder = Recorder()
    return net([*fitted_with, recorder]).fit(*data()), np.array(recorder.seen)


def test_each_batch_has_the_lr_of_the_formula_from_the_optimizers_lr():
    from lr_search_skorch import Schedule

    _, seen = lrs_of([Schedule("cosine")])
    expected = 0.01 / 2 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS))
    np.testing.assert_allclose(seen[:, 0], expected, rtol=1e-9)


def test_a_schedule_of_ones_own_trains_as_torchs_scheduler_stepped_by_hand():
    from skorch.callbacks import LRScheduler

    from lr_search_skorch import Schedule

    ours = net([Schedule(lrs.schedules.StepDecay(lr=0.01, step_size=5, gamma=0.5))]).fit(*data())
    theirs = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=5, gamma=0.5, step_every="batch")
    assert ours.history[:, "valid_loss"] == net([theirs]).fit(*data()).history[:, "valid_loss"]


def test_its_peak_is_the_lr_that_a_range_test_before_it_set():
    from lr_search_skorch import RangeTest, Schedule

    test = RangeTest(schedule="cosine", num_steps=20)
    _, seen = lrs_of([test, Schedule("cosine")])
    assert seen[0, 0] == pytest.approx(test.suggestion_.lr)


def test_validation_batches_are_no_steps():
    from lr_search_skorch import Schedule

    schedule = Schedule("linear")
    net([schedule]).fit(*data())
    assert schedule.scheduler_.last_epoch == STEPS == EPOCHS * 160 / BATCH


def test_a_schedule_and_a_run_or_neither_are_refused():
    from lr_search_skorch import Schedule

    def train(run):
        with pytest.raises(InvalidInputError, match="either a schedule or a run"):
            Schedule("cosine", run=run)
        run.loss(run.lr)
        run.step()

    lrs.Trainable(train, num_steps=1).first_look()
    with pytest.raises(InvalidInputError, match="either a schedule or a run"):
        Schedule()


def test_a_controller_is_refused():
    from lr_search_skorch import Schedule

    with pytest.raises(InvalidInputError, match="the controller 'plateau'"):
        net([Schedule("plateau")]).fit(*data())


def test_a_net_with_two_optimizers_is_refused():
    from skorch import NeuralNetClassifier

    from lr_search_skorch import Schedule

    class Two(NeuralNetClassifier):
        def initialize_optimizer(self, *args, **kwargs):
            super().initialize_optimizer(*args, **kwargs)
            with self._current_init_context("optimizer"):
                self.second_ = torch.optim.SGD(self.module_.parameters(), lr=0.1)
            return self

    two = Two(nn.Linear(4, 2), criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0, callbacks=[Schedule("cosine")])
    with pytest.raises(InvalidInputError, match="one optimizer, but got 2"):
        two.fit(*data())
