"""Keras models as the trials of a comparison."""

import math

import pandas as pd
import pytest

import lr_search as lrs
from lr_search.rng import seed_everything
from tests.lr_search_keras.keras_models import STEPS, compiled, data, fit

pytestmark = [pytest.mark.trainers, pytest.mark.usefixtures("keras")]

TIMES = ["seconds", "started", "ended", "worker"]


def trained(callback):
    import keras

    return fit(compiled(keras.optimizers.SGD(0.5, momentum=0.9), seed=None, metrics=["accuracy"]), callback)


@lrs.trainable(num_steps=STEPS, eval_every=8)
def train(run):
    from lr_search_keras import Schedule

    trained(Schedule(run=run))


def compared(**settings):
    small = {
        "strategies": ["grid", "range_test"],
        "schedules": ["constant", "cosine"],
        "seeds": 1,
        "storage": None,
        "progress": False,
    }
    return lrs.compare(
        train, **{**small, "budget": 2, "range_test": {"num_steps": 20}, "lr_range": (1e-3, 10.0), **settings}
    )


@pytest.fixture(scope="module")
def comparison(keras):
    return compared()


def test_two_strategies_under_two_schedules(comparison):
    assert len(comparison.summary()) == 4
    assert (comparison.trials["steps"] == STEPS).all()
    assert math.isfinite(comparison.recommend().value)


def test_each_epoch_is_reported_with_the_fits_logs(comparison):
    evaluations = comparison.evaluations
    assert set(evaluations["step"]) == {8, 16, 24}
    assert set(evaluations["metric"]) == {"loss", "val_loss", "accuracy", "val_accuracy", "train_loss"}


def test_pasted_code_gives_the_trials_objective_at_the_same_seed():
    comparison = compared(strategies={"mine": 0.3}, schedules=["one_cycle"], budget=1)
    names = {}
    exec(comparison.recommend().code, names)
    seed_everything(0)
    assert trained(names["callbacks"][0])["val_loss"][-1] == comparison.trials["objective"].item()


def test_a_comparison_that_ctrl_c_ended_goes_on(tmp_path, monkeypatch, comparison):
    from lr_search_keras import Schedule

    storage, batches, told = f"sqlite:///{tmp_path}/trials.db", [0], Schedule.on_train_batch_end

    def interrupted(self, *args, **kwargs):
        batches[0] += 1
        if batches[0] == 100:
            raise KeyboardInterrupt
        return told(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Schedule, "on_train_batch_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compared(storage=storage)
    resumed = compared(storage=storage)
    pd.testing.assert_frame_equal(resumed.trials.drop(columns=TIMES), comparison.trials.drop(columns=TIMES))


def test_a_loss_that_is_not_finite_ends_the_trial_as_diverged():
    def train(run):
        import keras

        from lr_search_keras import Schedule

        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        fit(model, Schedule(run=run))

    trainable = lrs.Trainable(train, num_steps=STEPS, eval_every=8)
    comparison = lrs.compare(
        trainable, strategies={"mine": 1e30}, schedules=["constant"], budget=1, seeds=1, storage=None, progress=False
    )
    assert comparison.trials["outcome"].item() == "diverged"


def test_a_trials_losses_are_those_of_keras_epochs(comparison):
    evaluations = comparison.evaluations
    told, logged = (evaluations[evaluations["metric"] == name]["value"] for name in ("train_loss", "loss"))
    assert told.to_list() == pytest.approx(logged.to_list(), rel=1e-5)


def test_a_first_look_ends_with_the_objective_of_the_untrained_model():
    import keras

    seed_everything(0)
    model = compiled(keras.optimizers.SGD(0.5), seed=None)
    untrained = model.evaluate(*data(), verbose=0)
    assert train.first_look(0).metrics["val_loss"] == pytest.approx(untrained, rel=1e-6)


def test_a_fit_ends_at_the_trials_steps_however_many_epochs_it_is_given():
    shorter = lrs.Trainable(train.train, num_steps=STEPS - 12, eval_every=8)
    comparison = lrs.compare(
        shorter, strategies={"mine": 0.1}, schedules=["cosine"], budget=1, seeds=1, storage=None, progress=False
    )
    assert comparison.evaluations["step"].unique().tolist() == [8, 12]


def test_the_range_test_of_the_function_ends_the_fit():
    curve = train.range_test(start_lr=1e-4, end_lr=1e5, num_steps=20)
    assert curve.lr[0] == 1e-4
    assert curve.loss[0] == pytest.approx(math.log(2), abs=0.5)
