"""Trials that another program added to our studies, and what it changed of ours, are refused in words wherever they would be read."""

import contextlib
import json
import sqlite3

import optuna
import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

import lr_search as lrs
from lr_search.errors import InvalidInputError, StorageError
from lr_search.storage.keys import OWNER, PLAN, RECORD
from lr_search.storage.open import open_storage
from lr_search.studies.study import StudyTask
from tests.helpers.bowl import compare_in_bowl

SMALL = {"strategies": ["grid", "range_test"], "schedules": ["constant"], "seeds": 1, "budget": 3}
GRID, TESTS = "bowl/grid/constant/SGD/seed 0", "bowl/range test/SGD/seed 0"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A comparison's file, made once."""
    path = tmp_path_factory.mktemp("foreign") / "all.db"
    compare_in_bowl(f"sqlite:///{path}", **SMALL)
    return path


def copied(path, folder):
    with (
        contextlib.closing(sqlite3.connect(path)) as there,
        contextlib.closing(sqlite3.connect(folder / "all.db")) as here,
    ):
        there.backup(here)
    return f"sqlite:///{folder / 'all.db'}"


@pytest.fixture(params=["sqlite", "journal"])
def url(request, made, tmp_path):
    """A copy of it, or the same comparison in another storage."""
    if request.param == "sqlite":
        return copied(made, tmp_path)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    storage = optuna.storages.JournalStorage(backend)
    held = open_storage(f"sqlite:///{made}")
    for study in held.get_all_studies():
        study_id = storage.create_new_study(study.directions, study.study_name)
        for key, value in study.user_attrs.items():
            storage.set_study_user_attr(study_id, key, value)
        for trial in held.get_all_trials(study._study_id):
            storage.create_new_trial(study_id, trial)
    return storage


def opened(url, name=GRID):
    return optuna.load_study(study_name=name, storage=url)


def optimized(url, name):
    opened(url, name).optimize(lambda trial: trial.suggest_float("lr", 1e-4, 1e-3, log=True) * 1e-9, n_trials=1)


def another_parameter(url, name):
    opened(url, name).optimize(lambda trial: trial.suggest_float("other", 0, 1) * 1e-9, n_trials=1)


def failed(url, name):
    opened(url, name).tell(opened(url, name).ask(), state=TrialState.FAIL)


def pruned(url, name):
    opened(url, name).tell(opened(url, name).ask(), state=TrialState.PRUNED)


def added(url, name):
    lr = {"lr": FloatDistribution(1e-4, 1, log=True)}
    opened(url, name).add_trial(create_trial(value=1e-9, params={"lr": 0.1}, distributions=lr))


def with_another_record(url, name):
    opened(url, name).add_trial(create_trial(value=1e-9, user_attrs={RECORD: {"steps": "many"}}))


def published(url):
    pytest.importorskip("optuna_dashboard")
    import lr_search_optuna

    lr_search_optuna.publish(lrs.load(url, "bowl"))


READERS = {
    "summary": lambda url: lrs.load(url, "bowl").summary(full=True),
    "recommend": lambda url: lrs.load(url, "bowl").recommend(),
    "save": lambda url: lrs.load(url, "bowl").save("never"),
    "publish": published,
    "compare": lambda url: compare_in_bowl(url, **SMALL),
    "compare more": lambda url: compare_in_bowl(url, **{**SMALL, "budget": 5}),
}


def states(url):
    return {name: [t.state for t in opened(url, name).trials] for name in (GRID, TESTS)}


def require_refused(url, change, name, read):
    number = len(opened(url, name).trials)
    change(url, name)
    before = states(url)
    with pytest.raises(StorageError, match=rf"but trial {number} of '{name}' \((COMPLETE|FAIL|PRUNED)\) has .* record"):
        read()
    assert states(url) == before  # nothing was trained


@pytest.mark.parametrize("change", [optimized, another_parameter, failed, pruned, added, with_another_record])
def test_a_trial_of_another_program_is_refused(url, change):
    require_refused(url, change, GRID, lambda: lrs.load(url, "bowl").trials)


def test_one_among_range_tests_is_refused(url):
    require_refused(url, added, TESTS, lambda: compare_in_bowl(url, **SMALL))


@pytest.mark.parametrize("reader", READERS)
def test_it_is_refused_wherever_the_comparison_is_read(made, tmp_path, reader):
    url = copied(made, tmp_path)
    require_refused(url, optimized, GRID, lambda: READERS[reader](url))


def test_the_remedy_works(url):
    optimized(url, GRID)
    with pytest.raises(StorageError, match=r"Start over with fresh=True"):
        compare_in_bowl(url, **SMALL)
    found = compare_in_bowl(url, **SMALL, fresh=True)
    assert found.trials["state"].tolist() == ["COMPLETE"] * 4
    assert found.recommend().value > 1e-9


def test_the_command_line_says_it_too(made, cli, folder):
    optimized(copied(made, folder), GRID)
    result = cli("report", "sqlite:///all.db", "bowl", code=2)
    assert "error: All trials of a comparison must be those that lr_search ran, but trial 3 of" in result.stderr


@pytest.mark.parametrize("values", [{"lr": 0.01}, {"other": 1}])
def test_enqueued_values_are_refused_before_the_first_trial(url, values):
    opened(url).enqueue_trial(values)
    assert len(lrs.load(url, "bowl").trials) == 4  # it has not ended: nothing is counted
    for budget in (3, 5):
        with pytest.raises(
            StorageError, match=r"must get their values from its strategy, but trial 3 of .* enqueued with"
        ):
            compare_in_bowl(url, **{**SMALL, "budget": budget})
    assert len(opened(url, "bowl/range_test/constant/SGD/seed 0").trials) == 1


def test_a_trial_that_comes_while_it_runs_is_not_counted(url, monkeypatch):
    asked = []

    def ask(task, most, ask=StudyTask.ask_several):
        if task.plan.name == GRID and asked:
            added(url, GRID)
        jobs = ask(task, most)
        asked.extend(jobs if task.plan.name == GRID else [])
        return jobs

    monkeypatch.setattr(StudyTask, "ask_several", ask)
    with pytest.raises(
        StorageError, match=r"but trial 4 of 'bowl/grid/constant/SGD/seed 0' \(COMPLETE\) has no record"
    ):
        compare_in_bowl(url, **{**SMALL, "budget": 6})


def test_a_running_trial_of_nobody_is_taken_over(url, monkeypatch):
    monkeypatch.setattr("lr_search.storage.ownership.CLAIM_SECONDS", 0.0)
    opened(url).ask().set_user_attr(OWNER, "me")
    found = compare_in_bowl(url, **{**SMALL, "budget": 4})
    assert [t.state for t in opened(url).trials] == [TrialState.COMPLETE] * 4
    assert len(found.trials) == 6


def write(url, key, value, number=0):
    """Change a trial's attribute in the database, which Optuna does not allow once it has ended."""
    engine = sqlalchemy.create_engine(url)
    where = (
        "key = :key and trial_id in (select trial_id from trials join studies using (study_id) where study_name = :name and "
        "number = :number)"
    )
    change = (
        "delete from trial_user_attributes" if value is None else "update trial_user_attributes set value_json = :value"
    )
    with engine.begin() as connection:
        bound = {"key": key, "name": (value and value[0]) or GRID, "number": number}
        bound |= {} if value is None else {"value": json.dumps(value[1])}
        connection.execute(sqlalchemy.text(f"{change} where {where}"), bound)
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, r"trial 0 of 'bowl/grid/.*' \(COMPLETE\) has no record of its training"),
        ((GRID, "text"), r"trial 0 of 'bowl/grid/.*' \(COMPLETE\) has another record than lr_search writes \('text'\)"),
        ((GRID, {}), r"trial 0 of 'bowl/grid/.*' .* has no record"),
        ((GRID, {"ended": "finished"}), r"trial 0 of 'bowl/grid/.*' .* has another record"),
        ((TESTS, {"ended": "finished", "steps": 20}), None),
        ((TESTS, {"ended": "finished", "steps": 20, "curve": {"lr": 3}}), None),
    ],
)
def test_a_record_that_was_changed_is_refused(made, tmp_path, change, message):
    url = copied(made, tmp_path)
    write(url, RECORD, change)
    if message is not None:
        with pytest.raises(StorageError, match=message):
            lrs.load(url, "bowl").summary(full=True)
    with pytest.raises(StorageError, match=message or rf"What '{TESTS}' found must be as lr_search wrote it"):
        compare_in_bowl(url, **SMALL)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            None,
            "lacks kind, order, optimizer, seed, strategy, schedule, objective, direction, num_steps in its attribute",
        ),
        ({"comparison": "bowl"}, "lacks kind, order, optimizer"),
        ({"kind": "other"}, "lacks a kind that it knows in its attribute 'lr_search'"),
        ({"seed": ...}, "lacks seed in its attribute 'lr_search'"),
    ],
)
def test_a_plan_that_was_changed_is_refused(url, plan, message):
    study = opened(url)
    whole = study.user_attrs[PLAN]
    if plan is not None and "comparison" not in plan:
        plan = {key: value for key, value in {**whole, **plan}.items() if value is not ...}
    study.set_user_attr(PLAN, plan)
    for read in (lambda: lrs.load(url, "bowl").trials, lambda: compare_in_bowl(url, **SMALL)):
        with pytest.raises(StorageError, match=message):
            read()


def test_a_prior_that_was_changed_is_refused(url):
    name = "bowl/range_test/constant/SGD/seed 0"
    opened(url, name).set_user_attr("lr_search:prior", 3)
    keys = [key for key in opened(url, name).user_attrs if "prior" in key]
    for key in keys:
        opened(url, name).set_user_attr(key, 3)
    for read in (lambda: lrs.load(url, "bowl").trials, lambda: compare_in_bowl(url, **{**SMALL, "budget": 5})):
        with pytest.raises(
            StorageError,
            match=rf"The prior of '{name}' must be as lr_search wrote it, .* record must be a mapping of texts, but got 3",
        ):
            read()


def test_a_prior_of_another_kind_in_a_study_of_the_users_is_refused():
    from lr_search.curves.prior import PRIOR_ATTRIBUTE

    study = optuna.create_study(sampler=lrs.samplers.RangeTestSampler())
    study.set_user_attr(PRIOR_ATTRIBUTE, [1, 2])
    with pytest.raises(InvalidInputError, match=r"record must be a mapping of texts, but got \[1, 2\]"):
        study.ask().suggest_float("lr", 1e-4, 1.0, log=True)


@pytest.mark.parametrize("trials", [0, 2])
def test_a_study_of_our_name_that_is_another_programs(trials):
    """One as empty as `create_study` leaves it may be a process's that has just begun."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, study_name=GRID)
    study.optimize(lambda trial: 1e-9, n_trials=trials)
    if not trials:
        assert len(compare_in_bowl(storage, **SMALL).trials) == 4
        return
    with pytest.raises(
        StorageError, match=r"but 'bowl/grid/.*', with 2 trials, is another program's: .* or delete that study"
    ):
        compare_in_bowl(storage, **SMALL)
    optuna.delete_study(study_name=GRID, storage=storage)
    assert len(compare_in_bowl(storage, **SMALL).trials) == 4


@pytest.mark.parametrize("directions", [["maximize"], ["minimize", "minimize"]])
def test_an_empty_study_of_our_name_in_another_direction(directions):
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name=GRID, directions=directions)
    with pytest.raises(
        StorageError, match=r"must minimize, but 'bowl/grid/.*' is there already, and is to (max|minimize and)"
    ):
        compare_in_bowl(storage, **SMALL)
