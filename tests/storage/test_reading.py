"""From a storage to records: a database is read in a few statements, and says what Optuna says."""

import math
import threading

import optuna
import pandas as pd
import pytest
import sqlalchemy

from lr_search.storage.keys import PLAN, RECORD
from lr_search.storage.open import open_storage
from lr_search.storage.reading import comparison_names, read_records
from tests.helpers.bowl import compare_in_bowl
from tests.helpers.study_records import PLAN as BY_HAND


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A database with a pruned comparison, another, and a study of someone else."""
    found = f"sqlite:///{tmp_path_factory.mktemp('reading')}/all.db"
    options = {"strategies": ["grid", "range_test"], "search_shape": True, "seeds": 1}
    compare_in_bowl(found, schedules=["sgdr", "constant"], name="one", **options)
    upper = optuna.pruners.ThresholdPruner(upper=100)
    compare_in_bowl(found, strategies=["grid"], schedules=["constant"], seeds=1, pruner=upper, name="two")
    theirs = optuna.create_study(storage=found, study_name="theirs")
    theirs.set_user_attr(PLAN, "not ours")
    theirs.optimize(lambda trial: trial.suggest_float("lr", 0, 1), n_trials=2)
    return found


def through_optuna(url, name):
    """study -> [(number, state, value, params, record)], as Optuna reads them."""
    found = {}
    for study_name in optuna.get_all_study_names(url):
        study = optuna.load_study(study_name=study_name, storage=url)
        plan = study.user_attrs.get(PLAN, {})
        if isinstance(plan, dict) and plan.get("comparison") == name:
            found[study_name] = [
                (t.number, t.state.name, t.value, t.params, t.user_attrs.get(RECORD, {})) for t in study.trials
            ]
    return found


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_database_says_what_optuna_says(url, name):
    expected = through_optuna(url, name)
    records = read_records(open_storage(url), name)
    assert {record.name for record in records} == set(expected)
    for record in records:
        assert len(record.trials) == len(expected[record.name]) > 0
        for trial, (number, state, value, params, outcome) in zip(record.trials, expected[record.name], strict=True):
            assert (trial.number, trial.state) == (number, state)
            assert {**trial.outcome, "evaluations": repr(trial.evaluations())} == {
                **outcome,
                "evaluations": repr(outcome["evaluations"]),  # a nan is not itself
            }
            if state == "COMPLETE":
                assert trial.value == value
            lr = params.pop("lr", math.nan)
            assert trial.lr == pytest.approx(lr, nan_ok=True)
            assert trial.shape == params
            assert {name: type(each) for name, each in trial.shape.items()} == {n: type(v) for n, v in params.items()}


def test_some_were_pruned_and_some_had_a_shape(url):
    states = {trial.state for record in read_records(open_storage(url), "two") for trial in record.trials}
    assert states == {"COMPLETE", "PRUNED"}
    shapes = [trial.shape for record in read_records(open_storage(url), "one") for trial in record.trials]
    assert {"cycles", "T_mult", "base_ratio"} == {name for shape in shapes for name in shape}
    assert all(isinstance(shape["cycles"], int) for shape in shapes if shape)


def test_another_programs_study_is_left_alone(url):
    assert comparison_names(open_storage(url)) == ["one", "two"]


def test_a_database_and_memory_give_the_same_frame(url):
    from lr_search.results.tables import trials_frame

    memory = optuna.storages.InMemoryStorage()
    for name in optuna.get_all_study_names(url):
        optuna.copy_study(from_study_name=name, from_storage=url, to_storage=memory)
    frames = [trials_frame(read_records(storage, "one")) for storage in (memory, open_storage(url))]
    pd.testing.assert_frame_equal(*frames, check_like=True)


def by_hand(storage, states):
    study = optuna.create_study(storage=storage, study_name="by hand")
    study.set_user_attr(PLAN, BY_HAND | {"kind": "search"})
    for state in states:
        if state == optuna.trial.TrialState.RUNNING:
            study.ask({"lr": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True)})
        else:
            study.enqueue_trial({"lr": 0.1})
    return study


@pytest.mark.parametrize("kind", ["memory", "database"])
def test_waiting_trials_are_not_there_yet_and_running_ones_have_no_outcome(kind, tmp_path):
    storage = open_storage(None if kind == "memory" else f"sqlite:///{tmp_path}/a.db")
    study = by_hand(storage, [optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.WAITING])
    storage.set_trial_user_attr(study.trials[0]._trial_id, RECORD, {"ended": "half-way"})
    (record,) = read_records(storage, "by hand")
    (trial,) = record.trials
    assert (trial.state, trial.outcome, trial.steps) == ("RUNNING", {}, 0)
    assert math.isnan(trial.value)


def test_reading_takes_no_lock_that_a_writer_waits_for(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/a.db")
    study = by_hand(storage, [])
    began, go_on = threading.Event(), threading.Event()
    seen = []

    def hold(_connection, _cursor, statement, *_):
        if "trial_user_attributes" in statement and not began.is_set():
            began.set()
            go_on.wait(20)

    sqlalchemy.event.listen(storage._backend.engine, "before_cursor_execute", hold)
    reader = threading.Thread(target=lambda: seen.append(read_records(storage, "by hand")))
    reader.start()
    try:
        assert began.wait(20)
        writer = open_storage(f"sqlite:///{tmp_path}/a.db")
        other = optuna.load_study(study_name="by hand", storage=writer)
        trial = other.ask()
        trial.set_user_attr(RECORD, {"ended": "finished", "steps": 0})
        other.tell(trial, 0.5)  # while the reader is in its transaction
        assert len(other.trials) == 1
    finally:
        go_on.set()
        reader.join()
    assert [len(record.trials) for record in seen[0]] == [0]
    assert [len(record.trials) for record in read_records(storage, "by hand")] == [1]
    assert study.study_name == "by hand"
