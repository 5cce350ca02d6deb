"""Several processes on one storage: nothing is made, taken or run twice, and the budget holds."""

import collections
import re
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

import lr_search as lrs
from tests.helpers import sharing
from tests.helpers.sharing import NAME, begun, settings, started, states, together
from tests.helpers.workloads import line

pytestmark = pytest.mark.processes

TIMES = ["seconds", "started", "ended", "device", "worker"]
FEW = {"schedules": ["constant"], "budget": 3}  # 8 studies
ONE_SEED = {"seeds": 1}  # 7 studies
ONE_STUDY = {"strategies": ["grid"], "schedules": ["constant"], "seeds": 1}
SEARCH = f"{NAME}/grid/constant/SGD/seed 0"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A function that returns the URL of an empty database."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_server").new_database
    numbers = iter(range(100))
    return lambda: f"sqlite:///{tmp_path}/{next(numbers)}.db"


@pytest.fixture
def url(new_url: Any) -> str:
    return str(new_url())


def alone(**changes: Any) -> pd.DataFrame:
    """What an undisturbed process finds."""
    found = lrs.compare(line(loss=sharing.slow_error), storage=None, progress=False, **settings(**changes))
    return found.trials.drop(columns=TIMES)


def test_databases_opened_at_one_moment_are_made_once(new_url: Any) -> None:
    assert together(3, sharing.open_and_list, [new_url() for _ in range(3)]) == [[0] * 3] * 3


def test_studies_made_at_one_moment_are_made_once(url: str) -> None:
    names = together(3, sharing.make_studies, url, FEW)
    assert len(names[0]) == 8
    assert names == [names[0]] * 3
    assert sorted(states(url)) == sorted(names[0])


def test_an_attribute_made_by_several_is_the_firsts_for_all(url: str) -> None:
    made = together(3, sharing.make_attributes, url, 20, ONE_STUDY)
    assert made == [made[0]] * 3
    assert len(set(made[0])) > 1  # it was not always the same process


def test_the_last_places_go_to_one_process_each(url: str) -> None:
    asked = [each for found in together(3, sharing.ask_for_all, url, FEW) for each in found]
    firsts = [name for name in states(url) if "range test" in name]
    places = dict.fromkeys(firsts, 2)
    places |= {name: 3 for name in states(url) if "/grid/" in name or "/random/" in name}
    assert sorted(asked) == sorted((name, number) for name, count in places.items() for number in range(count))


def test_waiting_trials_and_new_ones_are_taken_once_and_no_more_than_fit(url: str) -> None:
    changes = {**FEW, "strategies": ["grid"], "seeds": 6}
    together(1, sharing.abandon, url, 2, changes)
    for task in sharing.tasks(url, **changes):
        assert task.sweep() == 2
    asked = [each for found in together(3, sharing.ask_for_all, url, changes) for each in found]
    assert sorted(asked) == sorted((name, number) for name in states(url) for number in range(3))


def test_what_a_dead_process_left_is_swept_and_taken_once(url: str) -> None:
    changes = {**ONE_STUDY, "budget": 30}
    together(1, sharing.abandon, url, 30, changes)
    taken = [number for found in together(3, sharing.sweep_and_ask, url, changes) for number in found]
    assert sorted(taken) == list(range(30))


@pytest.mark.parametrize("pruner", [None, optuna.pruners.NopPruner()])
def test_many_tiny_trials_are_run_once_within_the_budget(url: str, pruner: optuna.pruners.BasePruner | None) -> None:
    changes = {"strategies": ["grid", "random"], "seeds": 2, "budget": 6, "pruner": pruner}
    ran = [each for found in together(4, sharing.finish_at_once, url, changes) for each in found]
    assert [count for count in collections.Counter(ran).values() if count > 1] == []
    # 30 + 10 + 10 steps, again and again: of 180, 150 are spent after 9 trials, and a full one still fits
    count = 6 if pruner is None else 10
    assert sorted(ran) == sorted((name, number) for name in states(url) for number in range(count))
    for name, found in states(url).items():
        assert set(found[:count]) <= {"COMPLETE", "PRUNED"}, name
        assert found[count:] == [], name


def test_a_comparison_shared_by_three_is_that_of_one(url: str, tmp_path: Path) -> None:
    together(3, sharing.compare, url, tmp_path / "log", ONE_SEED)
    ran = started(tmp_path / "log")
    assert len({process for process, _, _ in ran}) == 3
    assert len({(study, number) for _, study, number in ran}) == len(ran)
    assert sum("range test" in study for _, study, _ in ran) == 2
    assert len(states(url)) == 7
    pd.testing.assert_frame_equal(lrs.load(url, NAME).trials.drop(columns=TIMES), alone(**ONE_SEED), check_exact=True)


def test_a_pruned_comparison_shared_by_three_keeps_the_budget(url: str, tmp_path: Path) -> None:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0)
    together(3, sharing.compare, url, tmp_path / "log", {**ONE_SEED, "pruner": pruner})
    ran = started(tmp_path / "log")
    assert len({(study, number) for _, study, number in ran}) == len(ran)
    trials = lrs.load(url, NAME).trials
    assert (trials["state"] == "PRUNED").any()
    assert len(trials) == sum("range test" not in study for _, study, _ in ran)
    assert (trials["steps_charged"] - trials["steps"] + 30 <= 4 * 30).all()  # each was begun where a full one fitted


def test_a_report_made_while_two_write_is_in_order(url: str, tmp_path: Path) -> None:
    seen, drawn = [], tmp_path / "report"
    changes = {**ONE_SEED, "budget": 8}  # enough that there is something to see before the end
    with begun(2, sharing.compare, None, url, tmp_path / "log", changes) as workers:
        while any(worker.process.is_alive() for worker in workers):
            try:
                found = lrs.load(url, NAME)
            except lrs.errors.LRSearchError:  # nothing is there yet
                continue
            finished = found.trials[found.trials["state"] == "COMPLETE"]
            assert (finished["steps"] == 30).all()
            assert finished["lr"].notna().all()
            seen.append(len(finished))
            if seen[-1] > 0 and not drawn.exists():
                found.save(drawn)
        for worker in workers:
            worker.result()
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]
    assert len(lrs.load(url, NAME).trials) == len(alone(**changes))


def test_what_another_process_works_on_is_not_deleted(url: str) -> None:
    changes = {**ONE_STUDY, "budget": 2}
    job = sharing.tasks(url, **changes)[0].ask()
    assert job is not None
    with pytest.raises(lrs.errors.StorageError, match="Stop it first, or leave out fresh"):
        lrs.compare(line(), storage=url, fresh=True, progress=False, **settings(**changes))
    job.release()
    trials = lrs.compare(line(), storage=url, fresh=True, progress=False, **settings(**changes)).trials
    assert trials["state"].tolist() == ["COMPLETE"] * 2


def test_two_processes_that_lose_their_file_each_write_what_they_know(tmp_path: Path) -> None:
    path = tmp_path / "lost.db"
    words = together(2, sharing.lose, path)
    urls = [re.search(r"with the storage (\S+) the same command goes on", each) for each in words]
    assert None not in urls
    names = {url[1] for url in urls if url is not None}
    assert len(names) == 2
    undisturbed = alone(**ONE_SEED)
    for name in names:
        assert lrs.load(name, NAME).trials["state"].tolist().count("COMPLETE") >= 1
        again = lrs.compare(line(loss=sharing.slow_error), storage=name, progress=False, **settings(**ONE_SEED))
        pd.testing.assert_frame_equal(again.trials.drop(columns=TIMES), undisturbed)
