"""The one test of the default run that starts Ray: all others need `-m ray`."""

import pandas as pd

import lr_search as lrs
from tests.helpers.workloads import line


def test_two_trials_on_a_real_worker_give_what_they_give_here():
    from lr_search_ray import RayExecutor
    from tests.helpers.on_ray import TIMES, start_ray, stop_ray

    settings = {
        "strategies": ["grid"],
        "schedules": ["constant"],
        "seeds": 1,
        "budget": 2,
        "storage": None,
        "progress": False,
    }
    here = lrs.compare(line(), **settings)
    start_ray()
    try:
        there = lrs.compare(line(), executor=RayExecutor(max_concurrent_trials=1), **settings)
    finally:
        stop_ray()
    frames = [comparison.trials.drop(columns=TIMES) for comparison in (there, here)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    assert there.trials["worker"].notna().all()
