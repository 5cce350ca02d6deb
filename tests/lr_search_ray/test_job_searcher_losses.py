"""The searcher of a comparison's trials: those that are lost with their worker, or fail."""

from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune import Checkpoint

from lr_search.errors import TrialsFailedError
from lr_search.storage.keys import RECORD
from lr_search.studies.trial import Outcome
from tests.helpers.driven import CURVE, FINISHED, Cuts, searching, steps

pytestmark = pytest.mark.ray

# losses


def test_a_lost_trial_is_next_and_goes_on_from_its_checkpoint(tmp_path: Any) -> None:
    driven = searching(at_once=2)
    first, was = driven.start()
    second, _ = driven.start()
    checkpoint = Checkpoint.from_directory(tmp_path)
    driven.lose(first, checkpoint)
    assert driven.progress.running == ["shared/grid/constant/SGD/seed 0/1"]
    assert driven.states() == ["RUNNING", "RUNNING"]  # it is still ours
    again, assignment = driven.start()
    assert again != first
    assert (repr(assignment), assignment.trials) == (repr(was), was.trials)
    assert assignment.resume.path == str(tmp_path)
    driven.lose(again)  # before it made one of its own
    _, assignment = driven.start()
    assert assignment.resume.path == str(tmp_path)
    driven.end(second)
    _, assignment = driven.start()
    assert repr(assignment).endswith("/2")
    assert assignment.resume is None


def test_the_trials_lost_first_are_taken_up_first() -> None:
    driven = searching()
    lost = [driven.start() for _ in range(3)]
    for trial, _ in (lost[1], lost[0], lost[2]):
        driven.lose(trial)
    order = [repr(driven.start()[1])[-1] for _ in range(3)]
    assert order == ["1", "0", "2"]


def test_evaluations_behind_the_checkpoint_are_replaced(tmp_path: Any) -> None:
    driven = searching()
    trial, _ = driven.start()
    for step in (0, 10, 20):
        driven.evaluate(trial, step, 100.0 + step)
    driven.lose(trial, Checkpoint.from_directory(tmp_path))  # made at step 10
    trial, _ = driven.start()
    driven.evaluate(trial, 20, 220.0)
    driven.end(trial, loss=230.0)
    told = driven.trials()[0].user_attrs[RECORD]["evaluations"]
    assert told["step"] == [0, 10, 20, 30]
    assert told["metrics"]["loss"] == [100.0, 110.0, 220.0, 230.0]


def test_without_a_checkpoint_all_are() -> None:
    driven = searching()
    trial, _ = driven.start()
    for step in (0, 10, 20):
        driven.evaluate(trial, step, 100.0 + step)
    driven.lose(trial)
    trial, assignment = driven.start()
    assert assignment.resume is None
    for step in (0, 10):
        driven.evaluate(trial, step, 200.0 + step)
    driven.end(trial, Outcome("diverged", "the training loss became nan at step 13", steps=13))
    told = driven.trials()[0].user_attrs[RECORD]
    assert told["evaluations"]["metrics"]["loss"] == [200.0, 210.0]
    assert (told["ended"], told["steps"]) == ("diverged", 13)
    assert driven.trials()[0].value == float("inf")


def test_the_pruner_is_not_told_twice() -> None:
    driven = searching(pruner=Cuts())
    trial, _ = driven.start()
    for step in (0, 10, 20):
        driven.evaluate(trial, step, 0.5)
    driven.lose(trial)
    trial, _ = driven.start()
    assert [driven.evaluate(trial, step, 0.5) for step in (0, 10, 20)] == [False] * 3
    driven.end(trial)
    assert driven.trials()[0].intermediate_values == {10: 0.5, 20: 0.5}
    assert driven.searcher.stopped is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("The node died.\n\tits address: 10.0.0.7\n", "The node died"),
        (
            "The actor died because of an error raised in its creation task, ray::JobTrainable.__init__() (pid=1)\n"
            '  File "mine.py", line 3, in <module>\n'
            "ModuleNotFoundError: No module named 'mine'\n",
            "ModuleNotFoundError: No module named 'mine'",
        ),
        ("\n", "no reason given"),
    ],
    ids=["node", "traceback", "nothing"],
)
def test_the_line_that_tells_most_is_the_reason(words: str, told: str) -> None:
    driven = searching(options={"max_failures": 0})
    driven.lose(driven.start()[0], words=words)
    assert driven.trials()[0].user_attrs[RECORD]["reason"] == f"its worker was lost: {told}"


@pytest.mark.parametrize("max_failures", [0, 1, 2])
def test_a_worker_lost_too_often_is_a_failure_in_words(max_failures: int) -> None:
    driven = searching(options={"max_failures": max_failures})
    for _ in range(max_failures + 1):
        assert driven.states() in ([], ["RUNNING"])
        trial, _ = driven.start()
        driven.evaluate(trial, 0, 1.0)
        driven.lose(trial, words="The actor died unexpectedly.\nThat was process 17.")
    (told,) = driven.trials()
    assert told.state == TrialState.FAIL
    times = f" ({max_failures + 1} times)" if max_failures else ""
    assert told.user_attrs[RECORD]["reason"] == f"its worker was lost: The actor died unexpectedly{times}"
    assert told.user_attrs[RECORD]["ended"] == "failed"
    assert told.user_attrs[RECORD]["steps"] == 0  # no step was done that anybody knows of
    _, assignment = driven.start()
    assert repr(assignment).endswith("/1")
    assert driven.searcher.stopped is None


def test_the_same_exception_is_not_tried_a_third_time() -> None:
    driven = searching(options={"max_failures": 5})
    for _ in range(2):
        trial, _ = driven.start()
        driven.evaluate(trial, 0, 1.0)
        driven.fail(trial, "ValueError: a bug (mine.py, line 3)")
    told = driven.trials()[0]
    assert told.state == TrialState.FAIL
    record = told.user_attrs[RECORD]
    assert (record["reason"], record["error"]) == ("ValueError: a bug (mine.py, line 3)", "a traceback")
    assert (record["steps"], steps(told)) == (20, [0])
    assert driven.progress.ended == ["failed"]
    assert driven.progress.running == []


def test_different_exceptions_are_tried_until_there_were_too_many() -> None:
    driven = searching(options={"max_failures": 2})
    for number in range(3):
        assert driven.states() in ([], ["RUNNING"])
        trial, _ = driven.start()
        driven.fail(trial, f"ConnectionError: try {number}")
    assert driven.trials()[0].user_attrs[RECORD]["reason"] == "ConnectionError: try 2"


def test_losses_and_exceptions_count_together() -> None:
    driven = searching(options={"max_failures": 1})
    trial, _ = driven.start()
    driven.lose(trial)
    trial, _ = driven.start()
    driven.fail(trial, "ValueError: a bug")
    assert driven.trials()[0].user_attrs[RECORD]["reason"] == "ValueError: a bug"
    trial, _ = driven.start()
    driven.fail(trial, "ValueError: a bug")
    trial, _ = driven.start()
    driven.lose(trial, words="The node died.")
    assert driven.trials()[1].user_attrs[RECORD]["reason"].startswith("its worker was lost: The node died")
    assert driven.trials()[1].user_attrs[RECORD]["error"] is None  # the traceback was another failure's


def test_nothing_of_a_failure_is_left_in_what_went_well_later() -> None:
    driven = searching(pruner=Cuts())
    cut, _ = driven.start()
    driven.evaluate(cut, 0, 2.0)
    driven.evaluate(cut, 10, 2.0)
    driven.fail(cut, "ConnectionError: once")
    cut, _ = driven.start()
    assert driven.evaluate(cut, 20, 2.0)
    driven.end(cut)
    whole, _ = driven.start()
    driven.fail(whole, "ConnectionError: once")
    whole, _ = driven.start()
    driven.evaluate(whole, 0, 0.1)
    driven.end(whole)
    records = [trial.user_attrs[RECORD] for trial in driven.trials()]
    assert [(record["ended"], record["error"]) for record in records] == [("pruned", None), ("finished", None)]
    assert records[0]["reason"] == "pruned after step 20"


def test_a_failed_range_test_gets_a_successor() -> None:
    driven = searching(strategies=["range_test"], budget=8, range_test={"num_steps": 20, "curves": 1})
    for _ in range(2):
        trial, _ = driven.start()
        driven.fail(trial, "ValueError: a bug")
    trial, assignment = driven.start()
    assert "range test" in repr(assignment)
    assert repr(assignment).endswith("/1")
    driven.end(trial, Outcome("finished", steps=CURVE.steps_charged, curve=CURVE))
    assert "range_test/constant" in repr(driven.start()[1])


# the end


def test_three_failures_in_a_row_stop_it() -> None:
    driven = searching(options={"max_failures": 0}, budget=7)
    for well in (False, False, True, False, False, False):
        assert driven.searcher.stopped is None
        trial, _ = driven.start()
        driven.end(trial) if well else driven.fail(trial, "ValueError: a bug")
    assert isinstance(driven.searcher.stopped, TrialsFailedError)
    assert driven.searcher.over()
    assert driven.suggest() == FINISHED
    assert driven.states() == ["FAIL", "FAIL", "COMPLETE", "FAIL", "FAIL", "FAIL"]  # as they were told
