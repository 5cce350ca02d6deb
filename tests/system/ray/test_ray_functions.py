"""Training functions on a real Ray: the same trials as here, pruned ones stopped where they are."""

import optuna
import pandas as pd
import pytest

import lr_search as lrs
from lr_search_ray import RayExecutor
from tests.helpers.functions import fit_line, trainable_of
from tests.helpers.on_ray import TIMES

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


def test_a_function_gives_on_ray_what_it_gives_here():
    settings = {
        "strategies": ["grid", "range_test"],
        "schedules": ["constant", "sgdr"],
        "seeds": 1,
        "budget": 3,
        "range_test": {"num_steps": 20},
        "pruner": optuna.pruners.ThresholdPruner(upper=8.0),
        "storage": None,
        "progress": False,
    }
    here = lrs.compare(trainable_of(fit_line), **settings)
    there = lrs.compare(trainable_of(fit_line), executor=RayExecutor(max_concurrent_trials=2), **settings)
    frames = [comparison.trials.drop(columns=TIMES) for comparison in (there, here)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    assert set(here.trials["state"]) >= {"COMPLETE", "PRUNED"}
