"""skorch nets as the trials of a comparison."""

import math

import pandas as pd
import pytest

import lr_search as lrs
from lr_search.errors import WorkloadError
from lr_search.rng import seed_everything
from tests.lr_search_skorch.test_skorch_range_test import data, net

pytestmark = pytest.mark.trainers

STEPS = 24
TIMES = ["seconds", "started", "ended", "worker"]


def fit(callback):
    return net([callback], lr=0.5, seed=None).fit(*data())


@lrs.trainable(num_steps=STEPS, objective="valid_loss", eval_every=8)
def train(run):
    from lr_search_skorch import Schedule

    fit(Schedule(run=run))


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
def comparison():
    return compared()


def test_two_strategies_under_two_schedules(comparison):
    assert len(comparison.summary()) == 4
    assert (comparison.trials["steps"] == STEPS).all()
    assert math.isfinite(comparison.recommend().value)


def test_each_epoch_is_reported_with_the_nets_scores_alone(comparison):
    evaluations = comparison.evaluations
    assert set(evaluations["step"]) == {8, 16, 24}
    assert set(evaluations["metric"]) == {"valid_loss", "valid_acc", "train_loss"}


def test_pasted_code_gives_the_trials_objective_at_the_same_seed():
    comparison = compared(strategies={"mine": 0.3}, schedules=["one_cycle"], budget=1)
    names = {}
    exec(comparison.recommend().code, names)
    seed_everything(0)
    trained = fit(names["callbacks"][0])
    assert trained.history[-1, "valid_loss"] == comparison.trials["objective"].item()


def test_a_comparison_that_ctrl_c_ended_in_an_epoch_goes_on(tmp_path, monkeypatch, comparison):
    from lr_search_skorch import Schedule

    storage, batches, told = f"sqlite:///{tmp_path}/trials.db", [0], Schedule.on_batch_end

    def interrupted(self, *args, **kwargs):
        batches[0] += 1
        if batches[0] == 100:
            raise KeyboardInterrupt
        return told(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Schedule, "on_batch_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compared(storage=storage)
    resumed = compared(storage=storage)
    pd.testing.assert_frame_equal(resumed.trials.drop(columns=TIMES), comparison.trials.drop(columns=TIMES))


def test_a_loss_that_is_not_finite_ends_the_trial_as_diverged():
    comparison = compared(strategies={"mine": 1e30}, schedules=["constant"], budget=1)
    assert comparison.trials["outcome"].item() == "diverged"
    assert comparison.trials["steps"].item() < STEPS


def test_the_range_test_of_the_function_ends_the_fit():
    curve = train.range_test(start_lr=1e-4, end_lr=1e5, num_steps=20)
    assert curve.lr[0] == 1e-4
    assert curve.loss[0] == pytest.approx(math.log(2), abs=0.4)


def test_a_fit_of_other_steps_is_told_with_both_numbers():
    shorter = lrs.Trainable(train.train, num_steps=STEPS + 8, objective="valid_loss")
    with pytest.raises(WorkloadError, match="num_steps=32 steps, but returned after 24"):
        lrs.compare(
            shorter, strategies={"mine": 0.1}, schedules=["constant"], budget=1, seeds=1, storage=None, progress=False
        )
