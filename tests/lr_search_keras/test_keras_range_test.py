"""The range test of a Keras model: what it records, what it sets, and that it leaves no other trace."""

import numpy as np
import pytest
import torch

from lr_search.errors import InvalidInputError, UnknownNameError, WorkloadError
from tests.lr_search_keras.keras_models import BATCH, STEPS, compiled, data, fit

pytestmark = [pytest.mark.trainers, pytest.mark.usefixtures("keras")]


def loader(batches):
    return torch.utils.data.DataLoader(batches, batch_size=None)


@pytest.fixture(scope="module")
def fitted(keras):
    from lr_search_keras import RangeTest

    callback = RangeTest(*data(), batch_size=BATCH, num_steps=40, schedule="cosine")
    model = compiled(keras.optimizers.SGD(0.01, momentum=0.9), metrics=["accuracy"])
    return callback, model, fit(model, callback)


def test_the_losses_are_those_of_batches_trained_one_by_one_at_the_ramps_lrs(keras):
    from lr_search_keras import RangeTest

    callback = RangeTest(*data(), batch_size=BATCH, num_steps=20, end_lr=3.0, shuffle=False)
    fit(compiled(keras.optimizers.Adam(0.01), dropout=0.0), callback)
    model, losses = compiled(keras.optimizers.Adam(0.01), dropout=0.0), []
    for step, lr in enumerate(np.geomspace(1e-7, 3.0, 20)):
        at = slice(step % 8 * BATCH, step % 8 * BATCH + BATCH)
        model.optimizer.learning_rate = lr
        model.reset_metrics()
        losses.append(float(model.train_on_batch(data()[0][at], data()[1][at])))
    np.testing.assert_allclose(callback.curve.lr, np.geomspace(1e-7, 3.0, 20))
    np.testing.assert_allclose(callback.curve.loss, losses[: len(callback.curve.loss)], rtol=1e-5)


def test_the_model_then_trains_as_if_it_had_been_built_with_the_lr(keras, fitted):
    callback, model, history = fitted
    assert float(model.optimizer.learning_rate) == pytest.approx(callback.suggestion.lr)
    built = compiled(keras.optimizers.SGD(callback.suggestion.lr, momentum=0.9), metrics=["accuracy"])
    assert fit(built) == history
    assert int(model.optimizer.iterations) == STEPS


def test_the_plan_is_the_fits_steps_and_the_schedule_that_was_named(fitted):
    plan = fitted[0].suggestion.plan
    assert (plan.num_steps, plan.schedule) == (STEPS, "cosine")


def test_steps_of_accumulated_gradients_take_several_batches(keras):
    from lr_search_keras import RangeTest

    callback = RangeTest(*data(), batch_size=5, num_steps=20)
    model = compiled(keras.optimizers.SGD(0.01, gradient_accumulation_steps=4))
    fit(model, callback, batch_size=5)
    assert callback.suggestion.plan.num_steps == STEPS
    assert int(model.optimizer.iterations) == STEPS
    assert callback.curve.num_steps <= 20


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of Keras, under NumPy 2
def test_an_interrupted_range_test_leaves_weights_and_optimizer_as_they_were(keras):
    from lr_search_keras import RangeTest

    class Interrupted(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from [data()] * 5
            raise KeyboardInterrupt

    model = compiled(keras.optimizers.Adam(0.01))
    weights = model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        fit(model, RangeTest(loader(Interrupted()), shuffle=False))
    assert all(map(np.array_equal, model.get_weights(), weights))
    assert int(model.optimizer.iterations) == 0


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_data_that_end_too_soon_are_refused(keras):
    from lr_search_keras import RangeTest

    class Once(torch.utils.data.IterableDataset):
        left = [data()] * 5

        def __iter__(self):
            while self.left:
                yield self.left.pop()

    with pytest.raises(WorkloadError, match="data for 20 steps, but they ended after 5"):
        fit(compiled(keras.optimizers.SGD(0.01)), RangeTest(loader(Once()), shuffle=False))


def test_batches_that_would_be_lost_to_the_training_are_refused():
    from lr_search_keras import RangeTest

    with pytest.raises(InvalidInputError, match="walked through again, but got 'generator'"):
        RangeTest(batch for batch in [data()])


def test_an_optimizer_whose_lr_follows_keras_own_schedule_is_refused(keras):
    from lr_search_keras import RangeTest

    model = compiled(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 100)))
    with pytest.raises(InvalidInputError, match="a number as its learning_rate, but got CosineDecay"):
        fit(model, RangeTest(*data()))


def test_an_unknown_schedule_is_refused_at_once(keras):
    from lr_search_keras import RangeTest

    with pytest.raises(UnknownNameError, match="cosine"):
        RangeTest(*data(), schedule="cosin")


def test_it_is_drawn_when_it_has_run(fitted):
    from lr_search_keras import RangeTest

    assert fitted[0].plot().get_xscale() == "log"
    with pytest.raises(InvalidInputError, match=r"Call model\.fit"):
        RangeTest(*data()).plot()
