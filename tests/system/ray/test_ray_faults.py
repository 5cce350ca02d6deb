"""What goes wrong on Ray's workers: a trial goes on from its last checkpoint, or is a failure in words; the others never notice.

Every comparison here is one in which something happens at a step of its trainings, beside the same on this machine's own in which
nothing does. An optimizer counts the steps, and notes in a folder which it really took.
"""

import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

import lr_search as lrs
from lr_search.errors import StorageError, WorkloadError
from lr_search_ray import RayExecutor
from tests.helpers.on_ray import ALWAYS, Noted, require_same
from tests.helpers.workloads import line

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]
STEPS = 60
SETTINGS: dict[str, Any] = {"schedules": ["constant"], "seeds": 1, "progress": False, "lr_range": (1e-3, 0.5)}
EVERY_EVALUATION = {"checkpoint_seconds": 0.0}
NEVER = {"checkpoint_seconds": 1e9}


def compare(executor: Any, **settings: Any) -> lrs.Comparison:
    storage = settings.pop("storage", None) or optuna.storages.InMemoryStorage()
    return lrs.compare(line(num_steps=STEPS), executor=executor, storage=storage, **{**SETTINGS, **settings})


def of(frame: pd.DataFrame, optimizer: str) -> pd.DataFrame:
    """The trials of one optimizer, without what differs from run to run, or by its name."""
    chosen = frame[frame["optimizer"] == optimizer].reset_index(drop=True)
    return chosen.drop(columns=["optimizer", "seconds", "started", "ended", "worker"])


# two trainings for each of several optimizers, and in one of them something happens at step 35
LRS = (0.02, 0.2)
KINDS = ("killed", "away", "out of memory")  # once


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def optimizers(folder: Path) -> dict[str, Noted]:
    once = {kind: Noted(folder / kind, kind, at=35) for kind in KINDS}
    forever = {"at": 35, "times": ALWAYS, "lr": LRS[1]}
    return {
        **once,
        "bug": Noted(folder / "bug", "bug", **forever),
        "lost": Noted(folder / "lost", "killed", **forever),
    }


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"strategies": {"low": LRS[0], "high": LRS[1]}}


@pytest.fixture(scope="module")
def undisturbed(folder: Path, settings: dict[str, Any]) -> pd.DataFrame:
    found = compare(lrs.LocalExecutor(), optimizers={"none": Noted(folder / "none")}, **settings)
    assert (found.trials["state"] == "COMPLETE").all()
    return of(found.trials, "none")


@pytest.fixture(scope="module")
def comparison(optimizers: dict[str, Noted], settings: dict[str, Any]) -> lrs.Comparison:
    executor = RayExecutor(max_concurrent_trials=1, max_failures=1, **EVERY_EVALUATION)
    return compare(executor, optimizers=optimizers, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_once_costs_what_was_done_since_the_last_checkpoint(
    comparison: lrs.Comparison, optimizers: dict[str, Noted], undisturbed: pd.DataFrame, kind: str
) -> None:
    pd.testing.assert_frame_equal(of(comparison.trials, kind), undisturbed, check_exact=True)
    optimizer = optimizers[kind]
    assert optimizer.mishaps == 1
    assert len(optimizer.steps()) == 2 * STEPS + 6  # the sixth step after the checkpoint at 30 was begun


@pytest.mark.parametrize("kind", KINDS)
def test_evaluations_come_once(comparison: lrs.Comparison, kind: str) -> None:
    evaluations = comparison.evaluations.query("metric == 'loss'")
    for _, each in evaluations[evaluations["optimizer"] == kind].groupby("strategy", observed=True):
        assert each["step"].tolist() == list(range(0, STEPS + 1, 10))


@pytest.mark.parametrize("kind", ["bug", "lost"])
def test_the_others_never_notice(comparison: lrs.Comparison, undisturbed: pd.DataFrame, kind: str) -> None:
    ours, theirs = (frame[frame["strategy"] == "low"] for frame in (of(comparison.trials, kind), undisturbed))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def failed(comparison: lrs.Comparison, kind: str) -> pd.Series:
    trials = comparison.trials
    (trial,) = (row for _, row in trials[(trials["optimizer"] == kind) & (trials["strategy"] == "high")].iterrows())
    assert (trial["state"], trial["outcome"]) == ("FAIL", "failed")
    return trial


def test_the_same_exception_again_is_a_failure_as_on_this_machine(
    comparison: lrs.Comparison, optimizers: dict[str, Noted], settings: dict[str, Any], folder: Path
) -> None:
    local = Noted(folder / "local", "bug", at=35, times=ALWAYS, lr=LRS[1], here=True)
    theirs = compare(lrs.LocalExecutor(), optimizers={"bug": local}, **settings)
    pd.testing.assert_frame_equal(of(comparison.trials, "bug"), of(theirs.trials, "bug"), check_exact=True)
    assert optimizers["bug"].mishaps == 2
    assert failed(comparison, "bug")["reason"].startswith("ValueError: a bug of mine (on_ray.py, line ")
    assert failed(comparison, "bug")["steps"] == 35
    ours, theirs = (
        next(trial for record in each.records if "/high/" in record.name and "/bug/" in record.name for trial in record.trials)
        for each in (comparison, theirs)
    )  # fmt: skip
    assert ours.outcome["error"].startswith("Traceback (most recent call last):")
    assert ours.outcome["error"] == theirs.outcome["error"]


def test_workers_lost_too_often_are_a_failure_in_words(
    comparison: lrs.Comparison, optimizers: dict[str, Noted]
) -> None:
    assert optimizers["lost"].mishaps == 2
    trial = failed(comparison, "lost")
    assert trial["reason"] == "its worker was lost: The actor died unexpectedly before finishing this task (2 times)"
    assert trial["steps"] == 30  # to the last checkpoint


def local_and_lost(
    folder: Path, at: int, executor: dict[str, Any], state: str = "", **settings: Any
) -> tuple[lrs.Comparison, Noted]:
    """The same comparison undisturbed, and on one worker that is killed once before the step after `at`: they must be the same.

    Args:
        folder: for notes.
        at: when.
        executor: its settings.
        state: only in the last trial that ends so; whichever comes first.
        **settings: of the comparison.

    Returns:
        It, and what made its optimizers on Ray.
    """
    local = compare(lrs.LocalExecutor(), optimizers={"SGD": Noted(folder / "local")}, **settings)
    lr = local.trials["lr"][local.trials["state"] == state].iloc[-1] if state else None
    lost = Noted(folder / "lost", "killed", at, lr=lr)
    found = compare(RayExecutor(max_concurrent_trials=1, **executor), optimizers={"SGD": lost}, **settings)
    require_same(found, local)
    assert lost.mishaps == 1
    return found, lost


ONE = {"strategies": {"mine": 0.1}}


@pytest.mark.parametrize(
    ("schedule", "at", "executor", "again"),
    [
        ("plateau", 38, {"checkpoint_every": 7}, 3),  # its checkpoints lie between the evaluations
        ("sgdr", 58, EVERY_EVALUATION, None),
    ],
)
def test_a_killed_training_goes_on_from_its_checkpoint(
    tmp_path: Path, schedule: str, at: int, executor: dict[str, Any], again: int | None
) -> None:
    found, lost = local_and_lost(tmp_path, at, executor, schedules=[schedule], **ONE)
    if again is None:  # from the last cycle's beginning
        ends = found.evaluations["step"][found.evaluations["end_of_cycle"]]
        again = at - int(ends[ends < at].max())
    assert len(lost.steps()) == STEPS + again + 1  # the step in which it was killed was begun
    assert len(lost.workers()) == 2
    assert found.trials["steps"].tolist() == [STEPS]  # what was lost is not charged


def test_range_tests_on_the_way_come_out_the_same(tmp_path: Path) -> None:
    found, lost = local_and_lost(tmp_path, 55, {"checkpoint_every": 7}, schedules=["refind"], **ONE)
    assert found.trials["steps"].iloc[0] > STEPS
    assert len(lost.steps()) < found.trials["steps"].iloc[0] + 40  # one ramp at most is run again


def test_without_checkpoints_it_begins_again_and_what_the_pruner_was_told_is_not_told_again(tmp_path: Path) -> None:
    settings = {"strategies": ["grid"], "budget": 5, "lr_range": (1e-4, 0.5)}
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=15)
    found, lost = local_and_lost(tmp_path, 15, NEVER, "PRUNED", pruner=pruner, **settings)
    assert len(lost.steps()) == found.trials["steps"].sum() + 15 + 1


def test_different_exceptions_are_a_failure_when_there_were_too_many(tmp_path: Path) -> None:
    made = Noted(tmp_path / "steps", "another", at=35, times=ALWAYS)
    (trial,) = compare(RayExecutor(max_failures=2), optimizers={"SGD": made}, **ONE).trials.itertuples()
    assert trial.state == "FAIL"
    assert trial.reason.startswith("ConnectionError: the file server was away: 2 (on_ray.py, line ")
    assert made.mishaps == 3


def states(storage: optuna.storages.BaseStorage) -> list[str]:
    studies = storage.get_all_studies()
    return [trial.state.name for study in studies for trial in storage.get_all_trials(study._study_id)]


def test_what_is_wrong_with_the_workload_ends_it_with_that_error(tmp_path: Path) -> None:
    storage, broken = optuna.storages.InMemoryStorage(), Noted(tmp_path / "wrong", "workload", at=15)
    settings = {"optimizers": {"SGD": broken}, "strategies": ["grid"], "budget": 3, "storage": storage}
    with pytest.raises(WorkloadError, match="The loss must be one that can be computed"):
        compare(RayExecutor(max_concurrent_trials=1), **settings)
    assert broken.mishaps == 1
    assert set(states(storage)) <= {"WAITING", "COMPLETE"}


def test_a_storage_that_is_deleted_meanwhile_ends_it_and_what_is_known_goes_on(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/lr_search.db"
    settings: dict[str, Any] = {"strategies": ["grid"], "budget": 8, "name": "lost"}
    striker = threading.Thread(target=delete_when_begun, args=(storage, tmp_path / "lr_search.db"))
    striker.start()
    with pytest.raises(StorageError, match="was deleted or moved away") as raised:
        compare(RayExecutor(max_concurrent_trials=1), storage=storage, **settings)
    striker.join()
    known = str(raised.value).partition("with the storage ")[2].partition(" ")[0]
    assert 1 <= lrs.load(known, "lost").trials["state"].tolist().count("COMPLETE") < 8
    again = compare(lrs.LocalExecutor(), storage=known, **settings)
    assert again.trials["state"].tolist() == ["COMPLETE"] * 8


def delete_when_begun(storage: str, path: Path) -> None:
    """Once a trial is there."""
    while not path.exists() or "COMPLETE" not in states_of(storage):
        time.sleep(0.02)
    path.unlink()


def states_of(storage: str) -> list[str]:
    try:
        return list(lrs.load(storage, "lost").trials["state"])
    except lrs.errors.LRSearchError:  # nothing is there yet
        return []
