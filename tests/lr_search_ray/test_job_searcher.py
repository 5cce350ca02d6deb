"""The searcher of a comparison's trials: what it proposes, and what it tells the studies."""

import pytest
from optuna.trial import TrialState

from lr_search.storage.keys import RECORD
from lr_search.studies.trial import Outcome
from lr_search_ray.jobs.messages import CHARGED, EVALUATION
from tests.helpers.driven import CURVE, FINISHED, Cuts, evaluation, searching, steps

pytestmark = pytest.mark.ray

# what is proposed


def test_what_a_worker_gets_is_the_trial_and_nothing_of_the_study() -> None:
    _, assignment = searching().suggest()
    assert repr(assignment) == "shared/grid/constant/SGD/seed 0/0"
    ((optimizer, spec),) = assignment.trials
    assert optimizer == "SGD"
    assert assignment.resume is None
    assert b"optuna" not in spec


def test_no_more_trials_than_are_wanted_at_once() -> None:
    driven = searching(at_once=2)
    first, _ = driven.start()
    driven.start()
    assert driven.suggest() is None
    assert driven.states() == ["RUNNING"] * 2
    driven.end(first)
    driven.start()
    assert driven.suggest() is None
    driven.at_once = 0
    assert driven.states() == ["COMPLETE", "RUNNING", "RUNNING"]


def test_a_trial_that_waits_for_a_free_worker_begins_before_a_study_is_asked_again() -> None:
    driven = searching(at_once=2)
    first, _ = driven.start()
    waiting, _ = driven.suggest()
    driven.end(first)
    assert driven.suggest() is None
    assert driven.states() == ["COMPLETE", "RUNNING"]  # the third was not asked for
    driven.searcher.started(waiting)
    third, _ = driven.start()
    driven.end(third)
    driven.end(waiting)
    assert driven.suggest() == FINISHED


def test_nothing_while_all_that_is_left_waits_for_range_tests_and_the_end_when_all_have_ended() -> None:
    driven = searching(strategies=["range_test"], budget=8, range_test={"num_steps": 20, "curves": 2})
    tests = [driven.start()[0], driven.start()[0]]
    for each in tests:
        assert driven.suggest() is None
        driven.end(each, Outcome("finished", steps=CURVE.steps_charged, curve=CURVE))
    while (got := driven.suggest()) != FINISHED:
        driven.end(got[0])
        assert driven.states().count("RUNNING") == 0
    assert set(driven.states()) == {"COMPLETE"}
    assert len(driven.trials()) == (8 * 30 - 2 * CURVE.steps_charged) // 30
    assert driven.searcher.stopped is None


def test_the_end_comes_only_when_the_last_trial_has_ended() -> None:
    driven = searching(budget=1)
    only, _ = driven.start()
    assert driven.suggest() is None
    driven.lose(only)
    again, _ = driven.start()
    assert driven.suggest() is None
    driven.end(again)
    assert driven.suggest() == FINISHED


def test_trials_of_another_process_are_waited_for() -> None:
    driven = searching(budget=1)
    theirs = driven.tasks[0].ask()
    assert driven.suggest() is None
    theirs.release()


# what is told


def test_evaluations_and_outcome_come_together() -> None:
    driven = searching()
    trial, _ = driven.start()
    for step, loss in ((0, 3.0), (10, 2.0), (20, 1.0)):
        assert not driven.evaluate(trial, step, loss)
    driven.end(trial, loss=0.5)
    told = driven.trials()[0]
    assert told.state == TrialState.COMPLETE
    assert told.value == 0.5
    assert steps(told) == [0, 10, 20, 30]
    assert told.user_attrs[RECORD]["evaluations"]["metrics"] == {"loss": [3.0, 2.0, 1.0, 0.5]}
    assert told.user_attrs[RECORD]["steps"] == 30
    assert told.user_attrs[RECORD]["seconds"] == 3.0


def test_a_trial_that_the_pruner_cuts_is_told_as_pruned() -> None:
    driven = searching(pruner=Cuts())
    trial, _ = driven.start()
    assert [driven.evaluate(trial, step, 2.0) for step in (0, 10, 20)] == [False, False, True]
    driven.searcher.on_trial_complete(trial, {"step": 20, "seconds": 2.0, CHARGED: 20, EVALUATION: evaluation(20, 2.0)})
    told = driven.trials()[0]
    assert told.state == TrialState.PRUNED
    record = told.user_attrs[RECORD]
    assert (record["ended"], record["reason"], record["steps"]) == ("pruned", "pruned after step 20", 20)
    assert steps(told) == [0, 10, 20]
    assert record["device"] == "abacus"
    driven.start()  # a pruned trial leaves steps to others
    assert driven.progress.ended == ["pruned"]


def test_a_way_to_a_checkpoint_is_no_evaluation_but_counts() -> None:
    driven = searching(pruner=Cuts())
    trial, _ = driven.start()
    driven.evaluate(trial, 0, 3.0)
    assert not driven.searcher.heard(trial, {CHARGED: 7, "step": 7, "seconds": 0.7})
    (ours,) = driven.searcher._lineup.held.values()
    assert (ours.jobs[0].outcome.steps, len(ours.jobs[0].outcome.evaluations)) == (7, 1)
    assert driven.trials()[0].intermediate_values == {}
