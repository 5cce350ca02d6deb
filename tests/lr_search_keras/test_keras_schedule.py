"""A Keras model that follows a schedule: the LR of each step, and its refusals."""

import numpy as np
import pytest

import lr_search as lrs
from lr_search.errors import InvalidInputError
from tests.lr_search_keras.keras_models import EPOCHS, STEPS, compiled, data, fit

pytestmark = [pytest.mark.trainers, pytest.mark.usefixtures("keras")]


def recorded(model, *callbacks, **settings):
    """(batches, 2): the LR and the momentum at each batch of a fit."""
    import keras

    class Recorder(keras.callbacks.Callback):
        seen = []  # noqa: RUF012

        def on_train_batch_begin(self, batch, logs=None):
            optimizer = self.model.optimizer
            self.seen.append((float(optimizer.learning_rate), getattr(optimizer, "momentum", np.nan)))

    fit(model, *callbacks, Recorder(), **settings)
    return np.array(Recorder.seen)


def test_each_step_has_the_lr_of_the_formula_from_the_optimizers_lr(keras):
    from lr_search_keras import Schedule

    seen = recorded(compiled(keras.optimizers.SGD(0.2)), Schedule("cosine"))
    np.testing.assert_allclose(seen[:, 0], 0.1 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of Keras, under NumPy 2
def test_a_schedule_of_ones_own_trains_as_keras_scheduler_of_the_same_lrs(keras):
    from lr_search_keras import Schedule

    ours = fit(compiled(keras.optimizers.Adam(1.0)), Schedule(lrs.schedules.StepDecay(lr=0.01, step_size=8, gamma=0.5)))
    theirs = keras.callbacks.LearningRateScheduler(lambda epoch, lr: 0.01 * 0.5**epoch)  # an epoch is 8 steps
    expected = fit(compiled(keras.optimizers.Adam(1.0)), theirs)
    assert ours["val_loss"] == expected["val_loss"]


def test_a_batch_whose_gradients_are_only_accumulated_is_no_step(keras):
    from lr_search_keras import Schedule

    model = compiled(keras.optimizers.SGD(0.2, gradient_accumulation_steps=4))
    seen = recorded(model, Schedule("linear"), batch_size=5)
    np.testing.assert_allclose(seen[:, 0], np.repeat(0.2 * (1 - np.arange(STEPS) / STEPS), 4), rtol=1e-5)


def test_one_cycle_moves_the_momentum_too(keras):
    from lr_search_keras import Schedule

    seen = recorded(compiled(keras.optimizers.SGD(0.2, momentum=0.5)), Schedule("one_cycle"))
    schedule = lrs.schedules.by_name("one_cycle", lr=0.2, num_steps=STEPS, steps_per_epoch=STEPS / EPOCHS)
    np.testing.assert_allclose(seen[:, 1], schedule.momentum(np.arange(STEPS)))


def test_a_step_that_the_scaler_of_fp16_skips_is_no_step(keras):
    from lr_search_keras import Schedule

    inner = keras.optimizers.SGD(0.2)
    scaler = keras.optimizers.LossScaleOptimizer(inner, initial_scale=1e38)
    model = compiled(scaler, loss_weights=[100.0])  # the scaled loss overflows until the scale is halved often enough
    seen = recorded(model, Schedule("linear"))
    taken = int(inner.iterations)
    assert 0 < taken < STEPS
    assert float(model.optimizer.learning_rate) == pytest.approx(0.2 * (1 - taken / STEPS))
    assert seen[0, 0] == seen[1, 0]


def test_a_schedule_and_a_run_or_neither_are_refused():
    from lr_search_keras import Schedule

    def train(run):
        with pytest.raises(InvalidInputError, match="either a schedule or a run"):
            Schedule("cosine", run=run)
        run.loss(run.lr)
        run.step()

    lrs.Trainable(train, num_steps=1).first_look()
    with pytest.raises(InvalidInputError, match="either a schedule or a run"):
        Schedule()


def test_data_of_unknown_length_need_a_schedule_that_is_laid_out(keras):
    from lr_search_keras import Schedule

    def batches():
        while True:
            yield tuple(part[:20] for part in data())

    model = compiled(keras.optimizers.SGD(0.1))
    with pytest.raises(InvalidInputError, match="steps_per_epoch"):
        model.fit(batches(), shuffle=False, callbacks=[Schedule("cosine")], verbose=0)
