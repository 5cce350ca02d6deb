"""The searcher of a comparison's trials: how it ends, and what it puts back."""

from typing import Any

import pytest

from lr_search.errors import StorageError, WorkloadError
from lr_search.storage.keys import OWNER, RECORD
from lr_search.studies.job import Job
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome
from lr_search_ray.jobs.messages import RAISED
from tests.helpers.driven import FINISHED, Cuts, Tune, searching

pytestmark = pytest.mark.ray


def test_what_has_not_ended_is_put_back() -> None:
    driven = searching(budget=5)
    done, lost, running = (driven.start()[0] for _ in range(3))
    waiting, _ = driven.suggest()
    driven.end(done)
    driven.lose(lost)
    before = [trial.user_attrs[OWNER]["seen"] for trial in driven.trials()]
    driven.searcher.stop(KeyboardInterrupt())
    assert driven.suggest() == FINISHED
    driven.end(running)  # too late: nothing is told any more
    driven.searcher.on_trial_complete(waiting)
    assert not driven.evaluate(running, 10, 1.0)
    driven.searcher.beat()
    assert [driven.trials()[i].user_attrs[OWNER]["seen"] > before[i] for i in range(4)] == [False, True, True, True]
    assert driven.searcher.release() == 3
    assert driven.states() == ["COMPLETE", "WAITING", "WAITING", "WAITING"]
    assert driven.progress.running == []
    assert driven.searcher.release() == 0


def test_what_was_put_back_runs_under_the_same_number_and_lr() -> None:
    driven = searching()
    driven.start()
    lr = driven.trials()[0].params["lr"]
    driven.searcher.release()
    again = Tune(driven.tasks)
    assert repr(again.start()[1]).endswith("/0")
    assert again.trials()[0].params["lr"] == lr


def test_of_several_errors_the_first_counts() -> None:
    driven = searching()
    first = KeyboardInterrupt()
    driven.searcher.stop(first)
    driven.searcher.stop(ValueError("later"))
    assert driven.searcher.stopped is first


def test_a_time_budget_ends_it_without_an_error() -> None:
    now = 0.0
    driven = searching(options={"deadline": 60.0, "clock": lambda: now})
    done, _ = driven.start()
    driven.start()
    now = 59.9
    driven.end(done)
    assert not driven.searcher.over()
    now = 60.0
    assert driven.suggest() == FINISHED
    assert driven.searcher.over()
    assert driven.searcher.out_of_time
    assert driven.searcher.stopped is None
    assert driven.searcher.release() == 1
    assert driven.states() == ["COMPLETE", "WAITING"]


def test_without_a_time_budget_it_is_not_over() -> None:
    driven = searching(options={"clock": lambda: 1e12})
    assert not driven.searcher.over()


def test_the_whole_comparisons_error_stops_it_and_is_no_trials_failure() -> None:
    driven = searching()
    trial, _ = driven.start()
    error = WorkloadError("The workload must be one that can be trained.")
    driven.searcher.on_trial_complete(trial, {RAISED: error, "done": True})
    assert driven.searcher.stopped is error
    assert driven.states() == ["WAITING"]


def broken(*_: Any, **__: Any) -> Any:
    raise StorageError("The storage is away.")


@pytest.mark.parametrize("where", ["ask", "begin", "report", "progress", "finish", "end", "work"])
def test_an_error_in_a_hook_stops_the_experiment_instead_of_escaping(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven = searching(pruner=Cuts())
    trial, _ = driven.start()
    broken_there = {
        "ask": (StudyTask, "ask_several"),
        "begin": (driven.progress, "begin"),
        "report": (Job, "report"),
        "progress": (driven.progress, "evaluated"),
        "finish": (Job, "finish"),
        "end": (driven.progress, "end"),
        "work": (driven.work, "ended"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*broken_there[where], broken)
        if where in ("ask", "begin"):
            second = driven.suggest()
            if where == "ask":
                assert second == FINISHED
            else:
                driven.searcher.started(second[0])
        elif where in ("report", "progress"):
            assert not driven.evaluate(trial, 10, 2.0)
        else:
            driven.end(trial)
    assert isinstance(driven.searcher.stopped, StorageError)
    assert driven.suggest() == FINISHED
    driven.searcher.release()
    assert "RUNNING" not in driven.states()


def test_hooks_for_trials_that_are_not_its_own_do_nothing() -> None:
    driven = searching()
    driven.searcher.started("another")
    assert not driven.evaluate("another", 10, 1.0)
    driven.end("another")
    driven.lose("another")
    assert driven.states() == []
    assert driven.searcher.stopped is None


def test_a_trial_that_another_process_ended_is_stopped_and_told_once() -> None:
    driven = searching(pruner=Cuts())
    trial, _ = driven.start()
    task = driven.tasks[0]
    running = task.trials()[0]
    task.study._storage.set_trial_user_attr(running._trial_id, RECORD, Outcome("finished", steps=20).record())
    task.study.tell(running.number, 7.0)
    assert driven.evaluate(trial, 10, 0.5)
    driven.end(trial)
    assert driven.trials()[0].value == 7.0
    assert driven.searcher.stopped is None
