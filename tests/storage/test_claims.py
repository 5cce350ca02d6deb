"""Claims: who may run a trial, in every kind of storage, and what becomes of one that was taken for lost."""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import lr_search as lrs
from lr_search.storage import ownership
from lr_search.storage.keys import OWNER
from lr_search.storage.open import open_storage
from lr_search.storage.ownership import Claim, at_work, claim_of
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation
from tests.helpers import sharing
from tests.helpers.workloads import line

ONE_STUDY: dict[str, Any] = {"strategies": ["grid"], "schedules": ["constant"], "seeds": 1, "budget": 3}
OUTCOME = Outcome("pruned", steps=10)


@pytest.fixture(params=["memory", "sqlite", "journal", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> optuna.storages.BaseStorage:
    if request.param == "memory":
        return optuna.storages.InMemoryStorage()
    if request.param == "journal":
        return JournalStorage(JournalFileBackend(str(tmp_path / "log")))
    if request.param == "sqlite":
        return open_storage(f"sqlite:///{tmp_path}/a.db")
    return open_storage(request.getfixturevalue("postgresql_server").new_database())


@pytest.fixture
def task(storage: optuna.storages.BaseStorage) -> StudyTask:
    return sharing.tasks(storage, **ONE_STUDY)[0]


def states(task: StudyTask) -> list[str]:
    return [trial.state.name for trial in task.trials()]


def lose(task: StudyTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweep as a process that takes all others for dead."""
    with monkeypatch.context() as patch:
        patch.setattr(ownership, "is_alive", lambda owner, started, now: False)
        assert task.sweep() == 1


def test_a_trial_is_signed_when_it_is_taken(task: StudyTask) -> None:
    assert task.ask() is not None
    trial = task.trials()[0]
    owner = trial.user_attrs[OWNER]
    assert trial.datetime_start is not None
    assert owner["seen"] >= trial.datetime_start.timestamp()
    assert at_work(trial)
    assert task.sweep() == 0


def test_a_released_trial_is_taken_again_and_signed_anew(task: StudyTask) -> None:
    first = task.ask()
    assert first is not None
    before = task.trials()[0]
    first.release()
    assert states(task) == ["WAITING"]
    assert task.ask() is not None
    after = task.trials()[0]
    assert states(task) == ["RUNNING"]
    assert after.params == before.params
    assert after.user_attrs[OWNER]["claim"] != before.user_attrs[OWNER]["claim"]
    assert after.user_attrs[OWNER]["seen"] >= after.datetime_start.timestamp()  # type: ignore[union-attr]


def test_a_trial_is_put_back_only_under_the_claim_it_runs_under(task: StudyTask) -> None:
    assert task.ask() is not None
    trial = task.trials()[0]
    claim, storage = claim_of(trial.user_attrs[OWNER]), task.storage
    assert not storage.put_back(trial._trial_id, None)
    assert not storage.put_back(trial._trial_id, Claim().id)
    assert states(task) == ["RUNNING"]
    assert storage.put_back(trial._trial_id, claim)
    assert not storage.put_back(trial._trial_id, claim)
    assert states(task) == ["WAITING"]


def test_one_of_two_takes_a_waiting_trial(task: StudyTask) -> None:
    job = task.ask()
    assert job is not None
    job.release()
    storage, trial_id = task.study._storage, task.trials()[0]._trial_id
    one, other = Claim(), Claim()
    assert storage.take_waiting(trial_id, one)
    assert not storage.take_waiting(trial_id, other)
    storage.renew(trial_id, other)
    assert claim_of(task.trials()[0].user_attrs[OWNER]) == one.id


@pytest.mark.parametrize("prunes", [False, True])
def test_of_two_that_see_one_place_left_one_takes_it_and_nothing_is_left_waiting(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch, prunes: bool
) -> None:
    """Only a storage that cannot look and make in one go keeps what the slower one made: a larger budget runs that."""
    changes = {**ONE_STUDY, "pruner": optuna.pruners.NopPruner() if prunes else None}
    one, other = (sharing.tasks(storage, **changes)[0] for _ in range(2))
    assert [job is not None for job in (one.ask(), one.ask())] == [True, True]
    seen, taken = [list(other.trials())], []

    def before_taking(study_id: int, now: Any = other.storage.before_taking) -> Any:
        if seen:
            taken.append(one.ask())  # between the other's look and its taking
            return seen.pop()
        return now(study_id)

    monkeypatch.setattr(other.storage, "before_taking", before_taking)
    assert other.ask() is None
    assert [job.number for job in taken if job is not None] == [2]
    monkeypatch.undo()
    database = isinstance(storage, _CachedStorage)
    assert states(one) == ["RUNNING"] * 3 + ([] if database else ["WAITING"])
    assert other.ask() is None
    larger = sharing.tasks(storage, **{**changes, "budget": 4})[0]
    job = larger.ask()
    assert job is not None
    assert job.number == 3
    assert states(one) == ["RUNNING"] * 4


def test_a_beat_is_a_later_sign_of_life(task: StudyTask) -> None:
    job = task.ask()
    assert job is not None
    stored = partial(task.storage.inner.get_all_trials, task.study._study_id)
    before = stored()[0].user_attrs[OWNER]
    job.beat()
    after = stored()[0].user_attrs[OWNER]
    assert after["seen"] > before["seen"]
    assert {**after, "seen": 0} == {**before, "seen": 0}


def test_a_trial_taken_for_lost_and_waiting_still_counts(task: StudyTask, monkeypatch: pytest.MonkeyPatch) -> None:
    job = task.ask()
    assert job is not None
    lose(task, monkeypatch)
    job.finish(OUTCOME)
    assert states(task) == ["PRUNED"]


def test_of_two_that_run_a_trial_taken_for_lost_the_first_counts(
    task: StudyTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = task.ask()
    lose(task, monkeypatch)
    second = task.ask()
    assert first is not None
    assert second is not None
    first.beat()  # it is not the first's any more
    first.release()
    assert states(task) == ["RUNNING"]
    second.beat()
    assert at_work(task.trials()[0])
    first.finish(OUTCOME)
    second.finish(Outcome("pruned", steps=20))
    assert states(task) == ["PRUNED"]
    assert task.trials()[0].user_attrs["record"]["steps"] == 10


def test_a_trial_that_another_has_finished_is_trained_no_further(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = sharing.tasks(storage, **ONE_STUDY, pruner=optuna.pruners.NopPruner())[0]
    first = task.ask()
    lose(task, monkeypatch)
    second = task.ask()
    assert first is not None
    assert second is not None
    evaluation = Evaluation(step=10, lr=0.1, train_loss=1.0, metrics={"loss": 1.0}, end_of_cycle=False)
    assert not second.report(evaluation)
    first.finish(OUTCOME)
    assert second.report(dataclasses.replace(evaluation, step=20))
    second.finish(OUTCOME)
    assert states(task) == ["PRUNED"]


def test_an_error_while_a_trial_is_taken_leaves_it_to_the_next_call(storage: optuna.storages.BaseStorage) -> None:
    class Breaking(lrs.samplers.RandomSampler):
        broken = True

        def point(self, number: int, name: str, distribution: Any) -> Any:
            if self.broken and number == 1:
                raise RuntimeError("no point")
            return super().point(number, name, distribution)

    sampler = Breaking()
    settings: dict[str, Any] = {**sharing.settings(**ONE_STUDY), "strategies": {"mine": sampler}, "storage": storage}
    with pytest.raises(RuntimeError, match="no point"):
        lrs.compare(line(), progress=False, **settings)
    study = next(s for s in storage.get_all_studies() if "/mine/" in s.study_name)
    made = (
        ["COMPLETE"] if isinstance(storage, _CachedStorage) else ["COMPLETE", "WAITING"]
    )  # in a database none before it is drawn
    assert [trial.state.name for trial in storage.get_all_trials(study._study_id)] == made
    Breaking.broken = False
    assert len(lrs.compare(line(), progress=False, **settings).trials) == 3


def test_a_trial_of_this_process_that_nobody_holds_is_lost(task: StudyTask) -> None:
    job = task.ask()
    assert job is not None
    assert task.sweep() == 0
    job._claim.drop()  # the answer to the taking did not arrive
    assert task.sweep() == 1
    assert states(task) == ["WAITING"]


def test_a_trial_taken_and_not_signed_is_left_alone_for_a_moment(task: StudyTask) -> None:
    study, storage = task.study, task.storage
    trial_id = storage.create_new_trial(study._study_id)  # as a storage without transactions has it for a moment
    assert task.sweep() == 0
    started = task.trials()[0].datetime_start
    assert started is not None
    assert not ownership.is_alive(None, started.timestamp(), time.time() + 2 * ownership.CLAIM_SECONDS)
    assert storage.put_back(trial_id, None)
    assert task.trials()[0].state == TrialState.WAITING


def test_a_range_test_in_the_place_of_one_that_failed_has_a_seed_of_its_own() -> None:
    changes = {**ONE_STUDY, "strategies": ["range_test"], "range_test": {"num_steps": 20, "curves": 2}}
    task = sharing.tasks(optuna.storages.InMemoryStorage(), **changes)[0]
    first, second = task.ask(), task.ask()
    assert task.ask() is None
    assert first is not None
    assert second is not None
    first.finish(Outcome("failed", reason="out of memory"))
    third = task.ask()
    assert third is not None
    assert task.ask() is None
    assert first.spec.seed == 0
    assert len({first.spec.seed, second.spec.seed, third.spec.seed}) == 3


@pytest.mark.parametrize("kind", ["memory", "journal"])
def test_a_comparison_on_a_storage_given_as_an_object(kind: str, tmp_path: Path) -> None:
    made = {
        "memory": optuna.storages.InMemoryStorage,
        "journal": lambda: JournalStorage(JournalFileBackend(str(tmp_path / "log"))),
    }
    storage = made[kind]()
    settings = sharing.settings(**ONE_STUDY)
    trials = lrs.compare(line(), storage=storage, progress=False, **settings).trials
    assert trials["state"].tolist() == ["COMPLETE"] * 3
    extended = lrs.compare(line(), storage=storage, progress=False, **{**settings, "budget": 4}).trials
    assert extended["started"].tolist()[:3] == trials["started"].tolist()
    assert len(extended) == 4
