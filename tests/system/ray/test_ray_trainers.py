"""Training functions of Accelerate, skorch and Keras on a worker of Ray give what they give here."""

import os

import pandas as pd
import pytest

import lr_search as lrs
from lr_search_ray import RayExecutor
from tests.helpers.on_ray import TIMES

pytestmark = [pytest.mark.trainers, pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


@lrs.trainable(num_steps=12)
def accelerated(run):
    from tests.own_loops.test_accelerate_trials import train

    train.train(run)


@lrs.trainable(num_steps=24, objective="valid_loss", eval_every=8)
def net(run):
    from tests.lr_search_skorch.test_skorch_trials import train

    train.train(run)


@lrs.trainable(num_steps=24, eval_every=8)
def model(run):
    os.environ["KERAS_BACKEND"] = "torch"
    from tests.lr_search_keras.test_keras_trials import train

    train.train(run)


@pytest.mark.parametrize("train", [accelerated, net, model], ids=["accelerate", "skorch", "keras"])
def test_a_trial_on_ray_is_that_of_this_process(train, monkeypatch):
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", "torch")
    settings = {"strategies": {"mine": 0.1}, "schedules": ["cosine"], "budget": 1, "lr_range": (1e-3, 10.0), "seeds": 1}
    settings |= {"storage": None, "progress": False}
    here = lrs.compare(train, **settings).trials
    there = lrs.compare(train, executor=RayExecutor(max_concurrent_trials=1), **settings).trials
    assert here["outcome"].tolist() == ["finished"]
    pd.testing.assert_frame_equal(there.drop(columns=TIMES), here.drop(columns=TIMES), check_exact=True)
