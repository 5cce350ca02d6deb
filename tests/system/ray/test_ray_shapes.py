"""Several optimizers, and data made of the model, on Ray's workers, with a checkpoint after each evaluation."""

import pandas as pd
import pytest

import lr_search as lrs
from lr_search_ray import RayExecutor
from tests.helpers.on_ray import TIMES
from tests.helpers.shapes import SHAPES

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.usefixtures("shared_ray")]


@pytest.mark.parametrize("shape", ["gan", "ppo"])
def test_trials_on_ray_give_what_they_give_here(shape: str) -> None:
    settings = {
        "strategies": ["grid"],
        "schedules": ["constant"],
        "budget": 2,
        "seeds": 1,
        "storage": None,
        "progress": False,
    }
    executor = RayExecutor(max_concurrent_trials=1, checkpoint_seconds=0.0)
    comparisons = [
        lrs.compare(SHAPES[shape](), **settings),
        lrs.compare(SHAPES[shape](), executor=executor, **settings),
    ]
    frames = [each.trials.drop(columns=TIMES) for each in comparisons]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
