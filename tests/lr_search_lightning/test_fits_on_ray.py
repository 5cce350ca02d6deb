"""Fits of a comparison on a worker of Ray."""

import pandas as pd
import pytest

import lr_search_lightning as lrl
from tests.helpers.lightning_nets import Data, Net, bare_trainer

pytestmark = [
    pytest.mark.trainers,
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]


@pytest.mark.usefixtures("shared_ray")
def test_fits_on_a_worker_of_ray_give_what_they_give_here():
    from lr_search_ray import RayExecutor
    from tests.helpers.on_ray import TIMES

    settings = {
        "strategies": ["grid"],
        "schedules": ["cosine"],
        "budget": 2,
        "seeds": 1,
        "storage": None,
        "progress": False,
    }
    here = lrl.compare(Net, Data(), trainer=lambda: bare_trainer(max_epochs=4), **settings)
    executor = RayExecutor(max_concurrent_trials=1)
    there = lrl.compare(Net, Data(), trainer=lambda: bare_trainer(max_epochs=4), executor=executor, **settings)
    pd.testing.assert_frame_equal(there.trials.drop(columns=TIMES), here.trials.drop(columns=TIMES), check_exact=True)
