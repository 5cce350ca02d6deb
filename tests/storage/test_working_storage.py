"""A storage as a process works on it: writes what Optuna writes, in few transactions, and knows what others have written."""

import math
from collections import Counter
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState

import lr_search as lrs
from lr_search.executors.work import Work
from lr_search.storage.kept_file import database_of
from lr_search.storage.keys import OWNER
from lr_search.storage.open import RECORD_GONE, open_storage
from lr_search.storage.ownership import Claim
from lr_search.storage.working.database_storage import DatabaseStorage
from lr_search.storage.working.working_storage import WorkingStorage
from lr_search.storage.working.wrapped import working_storage
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation
from tests.helpers import sharing
from tests.helpers.workloads import line

VALUES = [1.5, math.inf, -math.inf]
REPORTS = {0: 2.0, 3: math.inf, 4: -math.inf, 5: math.nan}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def opened(request: pytest.FixtureRequest, tmp_path: Any) -> BaseStorage:
    if request.param == "sqlite":
        return open_storage(f"sqlite:///{tmp_path}/a.db")
    return open_storage(request.getfixturevalue("postgresql_server").new_database())


@pytest.fixture
def study(opened: BaseStorage) -> optuna.Study:
    return study_in(working_storage(opened))


def study_in(storage: BaseStorage) -> optuna.Study:
    return optuna.create_study(
        storage=storage, study_name="a", sampler=optuna.samplers.RandomSampler(seed=0), load_if_exists=True
    )


def working(study: optuna.Study) -> DatabaseStorage:
    storage = study._storage
    assert isinstance(storage, DatabaseStorage)
    return storage


def asked(study: optuna.Study, number: int, **sizes: int) -> optuna.Trial:
    """A trial that was drafted, drawn and begun."""
    storage = working(study)
    storage.before_taking(study._study_id)
    draft = storage.draft(study._study_id, number, Claim())
    trial = optuna.Trial(study, draft)
    _draw(trial, **sizes)
    begun = storage.begin([draft])
    assert begun is not None
    trial._trial_id = trial._cached_frozen_trial._trial_id = begun[0]
    return trial


def _draw(trial: optuna.Trial, low: float = 1e-5) -> None:
    trial.suggest_float("lr", low, 1.0, log=True)
    trial.suggest_int("cycles", 1, 4)
    trial.suggest_categorical("kind", ["a", None, 3])


def rows(opened: BaseStorage) -> dict[str, list[tuple[Any, ...]]]:
    """What a database holds of trials, but for times, what they are signed with, and the numbers of the rows themselves."""
    found = {}
    database = database_of(opened)
    assert database is not None
    with database.engine.connect() as connection:
        for table in models.BaseModel.metadata.tables.values():
            if table.name.startswith("trial"):
                columns = [c for c in table.c if c.name == "trial_id" or not c.primary_key]
                each = [
                    tuple(
                        value is not None if "datetime" in c.name else value
                        for c, value in zip(columns, row, strict=True)
                    )
                    for row in connection.execute(sqlalchemy.select(*columns))
                ]
                found[table.name] = sorted((row for row in each if OWNER not in row), key=repr)
    return found


def lives(study: optuna.Study, ask: Any) -> None:
    """Trials of every kind of end."""
    for number, value in enumerate(VALUES):
        trial = ask(study, number)
        for step, reported in REPORTS.items():
            trial.report(reported, step)
        trial.set_user_attr("record", {"text": "\u00e9 '\"", "numbers": [1, 2.5, None, math.inf], "empty": {}})
        trial.set_user_attr("record", [number])
        trial.storage.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.5)
        study.tell(trial, value)
    pruned, failed = ask(study, len(VALUES)), ask(study, len(VALUES) + 1)
    pruned.report(1.0, 7)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(failed, state=TrialState.FAIL)
    ask(study, len(VALUES) + 2)  # which goes on


@pytest.mark.parametrize("grouped", [False, True])
def test_it_writes_what_optuna_writes(study: optuna.Study, opened: BaseStorage, tmp_path: Any, grouped: bool) -> None:
    def theirs(study: optuna.Study, _number: int) -> optuna.Trial:
        trial = study.ask()
        _draw(trial)
        return trial

    peer = RDBStorage(f"sqlite:///{tmp_path}/peer.db")
    lives(study_in(peer), theirs)
    if grouped:
        with working(study).together():
            lives(study, asked)
    else:
        lives(study, asked)
    assert rows(opened) == rows(peer)
    ours, read = (
        working(study).get_all_trials(study._study_id),
        optuna.load_study(study_name="a", storage=opened).trials,
    )
    for mine, stored in zip(ours, read, strict=True):
        assert mine.user_attrs[OWNER]["claim"]
        assert repr(mine) == repr(stored)  # nan is no equal of nan


def test_what_another_process_reads_is_what_was_written(study: optuna.Study, opened: BaseStorage) -> None:
    lives(study, asked)
    other = study_in(working_storage(opened))
    assert repr(other.trials) == repr(optuna.load_study(study_name="a", storage=opened).trials)


def counted(opened: BaseStorage) -> Counter[str]:
    counts: Counter[str] = Counter()
    database = database_of(opened)
    assert database is not None
    sqlalchemy.event.listen(database.engine, "commit", lambda _: counts.update(["commits"]))
    sqlalchemy.event.listen(database.engine, "before_cursor_execute", lambda *_: counts.update(["statements"]))
    return counts


EVALUATION = Evaluation(step=30, lr=0.1, train_loss=1.0, metrics={"loss": 1.0}, end_of_cycle=True)


def test_a_trial_takes_two_transactions_and_a_wave_no_more(opened: BaseStorage) -> None:
    settings: dict[str, Any] = {"strategies": ["random"], "schedules": ["constant"], "seeds": 2, "budget": 20}
    tasks = sharing.tasks(opened, **settings)
    work = Work(tasks)
    ten = [work.next() for _ in range(2)]  # what their samplers need is kept now
    counts = counted(opened)
    ten += [work.next() for _ in range(8)]
    assert counts["commits"] == 8
    for job in ten:
        assert job is not None
        job.finish(Outcome("finished", steps=30, evaluations=[EVALUATION]))
    assert counts["commits"] == 18
    counts.clear()
    wave = work.several(20)
    assert len(wave) == 20
    assert {len([job for job in wave if job.task is task]) for task in tasks} == {10}
    with tasks[0].storage.together():
        for job in wave:
            job.finish(Outcome("finished", steps=30, evaluations=[EVALUATION]))
    assert counts["commits"] == 3
    assert counts["statements"] < 60 + 20
    assert [t.number for t in tasks[0].trials()] == list(range(15))
    assert {t.state for task in tasks for t in task.trials()} == {TrialState.COMPLETE}


def test_a_draft_that_comes_too_late_is_none_and_the_next_one_knows_why(
    study: optuna.Study, opened: BaseStorage
) -> None:
    mine, other = working(study), study_in(working_storage(opened))
    mine.before_taking(study._study_id)
    drafts = [mine.draft(study._study_id, number, Claim()) for number in range(2)]
    faster = asked(other, 0)
    assert mine.begin(drafts) is None
    mine.drop(drafts)
    assert [trial._trial_id for trial in mine.before_taking(study._study_id)] == [faster._trial_id]
    assert asked(study, 1).number == 1
    assert len(optuna.load_study(study_name="a", storage=opened).trials) == 2


def test_trials_of_others_that_are_read_beside_a_draft_are_in_its_place(
    study: optuna.Study, opened: BaseStorage
) -> None:
    """A pruner reads all trials of its study at any moment."""
    mine, other = working(study), study_in(working_storage(opened))
    mine.before_taking(study._study_id)
    drafts = [mine.draft(study._study_id, number, Claim()) for number in range(2)]
    faster = asked(other, 0)
    assert [trial._trial_id for trial in mine.refresh(study._study_id)] == [faster._trial_id, *drafts]
    drafts.append(mine.draft(study._study_id, 2, Claim()))
    assert mine.begin(drafts) is None
    mine.drop(drafts)
    late = [mine.draft(study._study_id, 0, Claim())]  # of who looked before that
    assert mine.begin(late) is None
    mine.drop(late)
    assert asked(study, 1).number == 1
    assert [trial.number for trial in optuna.load_study(study_name="a", storage=opened).trials] == [0, 1]


def test_a_sampler_sees_the_drafts_before_it_as_running(study: optuna.Study) -> None:
    storage = working(study)
    storage.before_taking(study._study_id)
    for number in range(2):
        trial = optuna.Trial(study, storage.draft(study._study_id, number, Claim()))
        trial.suggest_float("lr", 1e-5, 1.0, log=True)
    seen = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    assert ["lr" in trial.params for trial in seen] == [True, True]


def test_what_was_read_does_not_change_under_the_reader(study: optuna.Study) -> None:
    trial = asked(study, 0)
    before = working(study).get_all_trials(study._study_id, deepcopy=False)[0]
    trial.report(1.0, 3)
    trial.set_user_attr("a", 1)
    study.tell(trial, 1.0)
    assert (before.state, before.values, before.intermediate_values) == (TrialState.RUNNING, None, {})
    assert list(before.user_attrs) == [OWNER]


def test_another_range_of_a_parameter_is_refused_as_optuna_refuses_it(study: optuna.Study) -> None:
    asked(study, 0)
    storage = working(study)
    trial = optuna.Trial(study, storage.draft(study._study_id, 1, Claim()))
    with pytest.raises(ValueError, match="different distribution kind"):
        trial.suggest_int("lr", 1, 4)


@pytest.mark.parametrize("grouped", [False, True])
def test_what_another_process_has_ended_stays_as_it_left_it(
    study: optuna.Study, opened: BaseStorage, grouped: bool
) -> None:
    trial, storage = asked(study, 0), working(study)
    peer = optuna.load_study(study_name="a", storage=opened)
    peer.tell(0, 7.0)
    if grouped:
        with storage.together():
            trial.report(1.0, 3)
            trial.set_user_attr("record", 1)
            study.tell(trial, 1.0)
    else:
        with pytest.raises(UpdateFinishedTrialError):
            trial.report(1.0, 3)
        with pytest.raises(UpdateFinishedTrialError):
            trial.report(1.0, 4)
    (now,) = storage.refresh(study._study_id)
    assert (now.value, now.intermediate_values, list(now.user_attrs)) == (7.0, {}, [OWNER])
    assert peer.trials[0].value == 7.0


def test_what_another_process_has_written_of_the_same_trial_is_written_over(
    study: optuna.Study, opened: BaseStorage
) -> None:
    """Of one that was taken for lost: both run it, and the first to end it counts."""
    trial = asked(study, 0)
    database = database_of(opened)
    assert database is not None
    database.set_trial_user_attr(trial._trial_id, "record", 0)
    database.set_trial_intermediate_value(trial._trial_id, 3, 9.0)
    trial.report(1.0, 3)
    with working(study).together():
        trial.set_user_attr("record", 1)
        study.tell(trial, 2.0)
    stored = optuna.load_study(study_name="a", storage=opened).trials[0]
    assert (stored.value, stored.user_attrs["record"], stored.intermediate_values) == (2.0, 1, {3: 1.0})
    assert working(study).refresh(study._study_id)[0].value == 2.0


def test_a_study_that_was_deleted_is_said_to_be_gone(study: optuna.Study, opened: BaseStorage) -> None:
    trial, storage = asked(study, 0), working(study)
    optuna.delete_study(study_name="a", storage=opened)
    with pytest.raises(KeyError, match=RECORD_GONE):
        storage.refresh(study._study_id)
    with pytest.raises(KeyError, match=RECORD_GONE):
        study.tell(trial, 1.0)
    draft = storage.draft(study._study_id, 1, Claim())
    with pytest.raises(KeyError, match=RECORD_GONE):
        storage.begin([draft])


def test_a_database_that_optuna_opened_is_locked_too(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    study = study_in(
        working_storage(optuna.storages.get_storage(RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 0.05}})))
    )
    with working(study)._writing():
        other = sqlalchemy.create_engine(url, connect_args={"timeout": 0.05})
        with pytest.raises(sqlalchemy.exc.OperationalError, match="locked"), other.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        other.dispose()


def test_one_is_made_of_any_storage_once(opened: BaseStorage) -> None:
    once = working_storage(opened)
    assert working_storage(once) is once
    assert isinstance(once, DatabaseStorage)
    plain = working_storage(InMemoryStorage())
    assert isinstance(plain, WorkingStorage)
    assert not isinstance(plain, DatabaseStorage)


def test_a_sampler_of_optunas_that_keeps_notes_works_on_it(tmp_path: Any) -> None:
    """The grid sampler writes to the trial before it is drawn; the evolution strategy after it has ended."""
    for sampler in (
        optuna.samplers.GridSampler({"lr": [1e-3, 1e-2, 0.1, 0.5]}),
        optuna.samplers.NSGAIISampler(population_size=2),
    ):
        name = type(sampler).__name__
        found = lrs.compare(
            line(), strategies={name: sampler}, schedules=["constant"], lr_range=(1e-3, 0.5), seeds=1, budget=3,
            storage=f"sqlite:///{tmp_path}/a.db", name=name, progress=False,
        )  # fmt: skip
        assert found.trials["state"].tolist() == ["COMPLETE"] * 3
        studies = open_storage(f"sqlite:///{tmp_path}/a.db").get_all_studies()
        (study,) = [each for each in studies if each.study_name.startswith(f"{name}/")]
        stored = optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{tmp_path}/a.db").trials
        assert all(trial.system_attrs for trial in stored)
