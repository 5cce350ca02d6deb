"""RayExecutor on a real Ray: trials that are really stopped, GPUs, threads and randomness. The same answers: its contract."""

import os
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

import lr_search as lrs
from lr_search.schedules import Constant
from lr_search.training.controller import Control, Controller
from lr_search.training.evaluation import Evaluation
from lr_search_ray import RayExecutor
from tests.helpers.on_ray import Noted, Place
from tests.helpers.workloads import line

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


def compare(workload: lrs.Workload, executor: Any = None, **settings: Any) -> lrs.Comparison:
    """One seed, and nothing kept; on as many workers as there is room for."""
    storage = optuna.storages.InMemoryStorage()
    common = {"strategies": ["grid"], "schedules": ["constant"], "seeds": 1, "progress": False, "storage": storage}
    return lrs.compare(workload, executor=executor or RayExecutor(), **{**common, **settings})


def test_what_the_pruner_cuts_is_pruned_in_optuna_and_stopped_in_ray(tmp_path: Path) -> None:
    made = Noted(tmp_path / "steps")
    workload = line(num_steps=60, optimizer=made)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    found = compare(workload, RayExecutor(max_concurrent_trials=1), budget=8, pruner=pruner, lr_range=(1e-4, 0.5))
    trials = found.trials
    assert set(trials["state"]) == {"COMPLETE", "PRUNED"}
    taken = Counter(made.steps())
    for trial in trials.itertuples():
        (steps,) = (count for lr, count in taken.items() if np.isclose(lr, trial.lr, rtol=1e-9))
        assert steps == trial.steps
        assert (steps < 60) == (trial.state == "PRUNED")
    assert trials["steps"].sum() == taken.total() <= 8 * 60
    assert taken.total() > 7 * 60  # what pruned trials left, others took
    study = found.storage.get_all_studies()[0]  # type: ignore[union-attr]
    states = [trial.state.name for trial in found.storage.get_all_trials(study._study_id)]  # type: ignore[union-attr]
    assert states == list(trials["state"])


def places(folder: Path, processes: int, resources: dict[str, float]) -> tuple[list[dict[str, Any]], lrs.Comparison]:
    """Where workers find themselves, of which so many are at it at once."""
    place = Place(folder, os.getpid(), processes)
    found = compare(line(train_data=place), RayExecutor(resources_per_trial=resources), budget=processes)
    return place.noted(), found


def test_trials_share_gpus_and_each_sees_its_own(tmp_path: Path) -> None:
    noted, _ = places(tmp_path, 3, {"gpu": 0.5})  # of two GPUs
    assert sorted(each["cuda"] for each in noted) in (["0", "0", "1"], ["0", "1", "1"])
    assert all(each["gpus"] == [each["cuda"]] for each in noted)


def test_a_trial_without_a_gpu_sees_none_and_has_as_many_threads_as_cpus(tmp_path: Path) -> None:
    noted, found = places(tmp_path, 1, {"cpu": 2})
    assert noted == [{"cuda": "", "gpus": [], "threads": 2}]
    assert set(found.trials["device"]) == {"cpu (2 threads)"}


@dataclass(frozen=True)
class Drawing(Controller):
    """Draws its LR outside of the training's own randomness, where user code may: from all three global generators."""

    lr: float

    @property
    def schedule(self) -> Constant:
        return Constant(self.lr)

    def start(self, training: lrs.Training) -> Control:
        return DrawingControl(self.lr)

    def describe(self) -> str:
        return "random"


class DrawingControl:
    def __init__(self, lr: float) -> None:
        self.lr = lr

    def __call__(self, evaluation: Evaluation) -> Constant:
        drawn = random.random() + np.random.random() + float(torch.rand(()))  # noqa: NPY002
        return Constant(self.lr * (1 + drawn))


@pytest.mark.parametrize("reuse", [True, False])
def test_a_trial_finds_a_worker_that_had_others_as_a_new_one(tmp_path: Path, reuse: bool) -> None:
    made = Noted(tmp_path / "steps")
    executor = RayExecutor(max_concurrent_trials=1, reuse_actors=reuse)
    found = compare(
        line(optimizer=made),
        executor,
        strategies={"first": 0.1, "second": 0.1},
        schedules={"drawn": Drawing},
    )
    first, second = found.trials["objective"]
    assert first == second
    drawn = found.evaluations[found.evaluations["step"] > 0]["lr"]
    assert (drawn > 0.1).all()
    assert len(made.workers()) == (1 if reuse else 2)
