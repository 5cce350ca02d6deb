"""What is kept of checkpoints: only those of trials that run; nothing when a comparison has ended."""

import os
from functools import partial
from pathlib import Path

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


class CutsHigh(optuna.pruners.BasePruner):
    """Cuts what has a high LR, where it has a checkpoint already."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.params["lr"] > 0.02 and (trial.last_step or 0) >= 20


def test_trials_that_have_ended_leave_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = lrs.compare(
        line(loss=partial(noting, tmp_path, os.getpid())),
        strategies=["grid"],
        schedules=["constant"],
        lr_range=(1e-3, 0.5),
        budget=TRIALS,
        seeds=1,
        pruner=CutsHigh(),
        storage=None,
        progress=False,
        executor=RayExecutor(storage_path="shared", max_concurrent_trials=1, checkpoint_seconds=0.0),
    )
    counts = found.trials["state"].value_counts()
    assert counts["COMPLETE"] >= 3
    assert counts["PRUNED"] >= 3
    there = [int(word) for word in Path("there").read_text().split()]
    assert 0 < max(there) <= 2, "that of the only worker, about to replace its own"
    assert list(Path("shared").iterdir()) == []
