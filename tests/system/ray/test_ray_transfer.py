"""Pilots on Ray: the bits of those in this process, also where a worker is killed on the way; several at once to rounding."""

from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

import lr_search as lrs
from lr_search.scaling.told import transfers_of
from lr_search.testing.small_comparisons import TIMES
from lr_search_ray import RayExecutor
from tests.helpers.on_ray import Noted
from tests.helpers.workloads import line

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]
LONG = 480  # steps of a full training; its pilots have 30 and 120


def compared(workload: lrs.Workload, executor: Any = None) -> lrs.Comparison:
    return lrs.compare(
        workload, strategies=["transfer"], schedules=["cosine"], budget=0.8, seeds=1, lr_range=(1e-3, 1.0),
        range_test={"num_steps": 20}, executor=executor, storage=optuna.storages.InMemoryStorage(), progress=False,
    )  # fmt: skip


def pilots_of(comparison: lrs.Comparison) -> pd.DataFrame:
    whole = comparison.all_trials
    return whole[whole["kind"] == "pilot"].drop(columns=[*TIMES, "optimizer"]).reset_index(drop=True)


@pytest.fixture(scope="module")
def here() -> lrs.Comparison:
    return compared(line(num_steps=LONG))


def test_pilots_on_ray_are_those_of_this_process_though_a_worker_is_killed(
    here: lrs.Comparison, tmp_path: Path
) -> None:
    killed = Noted(tmp_path / "steps", "killed", at=25)  # in the first pilot that comes so far: range tests do not
    found = compared(line(num_steps=LONG, optimizer=killed), RayExecutor(max_failures=2, max_concurrent_trials=1))
    assert killed.mishaps == 1
    pd.testing.assert_frame_equal(pilots_of(found), pilots_of(here), check_exact=True)
    (one,), (other,) = transfers_of(found.records), transfers_of(here.records)
    assert (one.lr, one.interval) == (other.lr, other.interval)


def test_pilots_that_a_worker_trains_together_are_the_same_to_rounding(here: lrs.Comparison) -> None:
    found = compared(line(num_steps=LONG), RayExecutor(fused_width=3, max_concurrent_trials=1))
    pd.testing.assert_frame_equal(pilots_of(found), pilots_of(here), rtol=1e-4, atol=1e-6)
