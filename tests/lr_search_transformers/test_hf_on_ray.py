"""Trials of a Trainer on Ray's workers are those of this process."""

import pandas as pd
import pytest

import lr_search_transformers
from lr_search_ray import RayExecutor
from tests.helpers.on_ray import TIMES
from tests.lr_search_transformers.tiny_trainers import tiny_trainer

pytestmark = [pytest.mark.trainers, pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


def compared(folder, executor=None):
    settings = {"strategies": ["range_test"], "lr_range": (1e-4, 0.1), "budget": 4, "seeds": 1, "storage": None}
    trainer = tiny_trainer(folder)
    return lr_search_transformers.compare(trainer, executor=executor, progress=False, **settings).trials


def test_the_trials_on_ray_are_those_of_this_process(tmp_path):
    ours, theirs = compared(tmp_path), compared(tmp_path, RayExecutor(max_concurrent_trials=1))
    assert len(ours) >= 2
    pd.testing.assert_frame_equal(ours.drop(columns=TIMES), theirs.drop(columns=TIMES), check_exact=True)
