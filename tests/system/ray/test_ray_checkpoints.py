"""What is kept of checkpoints: only those of trials that run; nothing when a comparison has ended."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

import lr_search as lrs
from lr_search_ray import RayExecutor
from tests.helpers.workloads import line, squared_error

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]
TRIALS = 10


def noting(folder: Path, here: int, model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """The loss; notes on a worker how many checkpoints there are while it evaluates."""
    if os.getpid() != here and not model.training:
        there = len(list(folder.glob("shared/*/*/checkpoint_*")))
        with (folder / "there").open("a") as file:
            file.write(f"{there}\n")
    return squared_error(model, batch)


@pytest.mark.parametrize(
    ("pruner", "state"),
    [(None, "COMPLETE"), (optuna.pruners.ThresholdPruner(upper=0.0, n_warmup_steps=15), "PRUNED")],
    ids=["whole trials", "cut trials"],
)
def test_trials_that_have_ended_leave_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pruner: Any, state: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = lrs.compare(
        line(loss=partial(noting, tmp_path, os.getpid())),
        strategies=["grid"],
        schedules=["constant"],
        lr_range=(1e-3, 0.5),
        budget=TRIALS * (1 if pruner is None else 2 / 3),  # they are cut at step 20 of 30
        seeds=1,
        pruner=pruner,
        storage=None,
        progress=False,
        executor=RayExecutor(storage_path="shared", max_concurrent_trials=2, checkpoint_seconds=0.0),
    )
    assert found.trials["state"].tolist()[:8] == [state] * 8
    there = [int(word) for word in Path("there").read_text().split()]
    assert 0 < max(there) <= 4, "those of two workers, each about to replace its own"
    assert list(Path("shared").iterdir()) == []
