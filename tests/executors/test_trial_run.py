"""A trial where it is trained: evaluation by evaluation, and to the same bits when it goes on elsewhere."""

import io
import json
import math
from functools import partial

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.curves.probe import Ladder
from lr_search.errors import StorageError, WorkloadError
from lr_search.executors.solo_runs import run_trial
from lr_search.executors.trial_run import TrialRun
from lr_search.studies.trial import TrialSpec
from tests.helpers.marks import usually
from tests.helpers.workloads import data, line, squared_error

SCHEDULES = ["constant", "sgdr", "one_cycle", "plateau", "refind"]
STEPS = 40


@pytest.fixture
def workload(make_workload):
    """Momentum, dropout, batch norm, batches drawn at random, and ensembles."""
    return make_workload(combine="softmax", num_steps=STEPS)


def spec(schedule="constant", lr=0.05, seed=3, **changes):
    return TrialSpec(seed, schedule=lrs.schedules.by_name(schedule, lr, STEPS, 7), snapshots=2, **changes)


def never(evaluation):
    return False


def trained_to(run, step):
    """Up to that step: evaluated wherever it is due on the way."""
    while run.next_evaluation() is not None and run.next_evaluation() <= step:
        next(run)
    if run.step < step:
        run.advance(step)
    return run


def moved(run, workload, of):
    """Another run of the trial, from the state as a file holds it; an hour later and without the evaluations."""
    buffer = io.BytesIO()
    torch.save(run.state_dict(), buffer)
    buffer.seek(0)
    other = TrialRun(workload, of)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    return other


def told(outcome):
    """An outcome's record without its evaluations and times."""
    return {k: v for k, v in outcome.record().items() if k not in ("evaluations", "seconds", "started")}


def plain_loop(workload, of):
    """The evaluations and the weights of `train()`."""
    training = lrs.train(workload, of.schedule, seed=of.seed, snapshots=of.snapshots)
    return list(training), training


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_trial_is_a_training(workload, weights, same_bits, schedule):
    evaluations, training = plain_loop(workload, spec(schedule))
    run = TrialRun(workload, spec(schedule))
    seen = []
    for evaluation in run:
        seen.append(evaluation)
        assert run.step == evaluation.step
        assert run.over == (evaluation.step == STEPS)
        assert run.outcome.steps == run._training.steps_charged
    assert repr(seen) == repr(evaluations)
    assert repr(run.outcome.evaluations) == repr(evaluations)
    assert run.outcome.steps == training.steps_charged >= STEPS
    assert (run.outcome.ended, run.outcome.reason) == ("finished", "all 40 steps done")
    assert same_bits(weights(run._training.model), weights(training.model))
    assert (run.outcome.ensemble is not None) == (len(training.snapshots) > 1 and schedule in ("sgdr", "refind"))
    assert run.next_evaluation() is None


@pytest.mark.parametrize("step", usually([0, 12, 33], [0, 3, 5, 12, 33, 39]))
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_it_goes_on_elsewhere_to_the_same_bits(workload, weights, same_bits, schedule, step):
    of = spec(schedule)
    evaluations, training = plain_loop(workload, of)
    undisturbed = run_trial(workload, of, never)
    begun = trained_to(TrialRun(workload, of), step)
    assert begun.step == step
    other = moved(begun, workload, of)
    assert (other.step, other.next_evaluation()) == (step, begun.next_evaluation())
    rest = list(other)
    assert repr([*begun.outcome.evaluations, *rest]) == repr(evaluations)
    assert told(other.outcome) == told(undisturbed)
    assert same_bits(weights(other._training.model), weights(training.model))


def test_more_than_once(workload, weights, same_bits):
    of = spec("refind")
    evaluations, training = plain_loop(workload, of)
    run, seen = TrialRun(workload, of), []
    for step in (2, 13, 14, 31):
        seen += trained_to(run, step).outcome.evaluations
        run = moved(run, workload, of)
    run = moved(run, workload, of)
    assert repr([*seen, *run]) == repr(evaluations)
    assert same_bits(weights(run._training.model), weights(training.model))


def test_what_has_been_spent_and_when_it_began_go_along(workload):
    of = spec("refind")
    begun = trained_to(TrialRun(workload, of), 30)
    begun.outcome.seconds = 1000.0
    other = moved(begun, workload, of)
    assert other.outcome.started == begun.outcome.started
    list(other)
    assert 1000.0 < other.outcome.seconds < 2000.0
    assert other.outcome.steps == run_trial(workload, of, never).steps > STEPS  # its range tests too


def test_advancing_changes_nothing(workload):
    of = spec("plateau")
    run, seen = TrialRun(workload, of), []
    while (due := run.next_evaluation()) is not None:
        for step in range(run.step + 1, due):
            run.advance(step)
            assert run.outcome.steps == run.step == step
        seen.append(next(run))
    assert repr(seen) == repr(plain_loop(workload, of)[0])


# divergence


def wild(lr=50.0, **changes):
    """Goes beyond all numbers between two evaluations, at step 33 or so."""
    return line(num_steps=40, eval_every=25, **changes), TrialSpec(
        0, schedule=lrs.schedules.by_name("constant", lr, 40)
    )


def test_a_training_that_goes_on_elsewhere_may_diverge_there():
    workload, of = wild()
    undisturbed = run_trial(workload, of, never)
    assert undisturbed.ended == "diverged"
    assert 1 < undisturbed.steps < 25
    other = moved(trained_to(TrialRun(workload, of), undisturbed.steps - 1), workload, of)
    assert list(other) == []
    assert other.over
    assert told(other.outcome) == told(undisturbed)


def test_or_on_the_way_to_a_state():
    workload, of = wild()
    undisturbed = run_trial(workload, of, never)
    begun = trained_to(TrialRun(workload, of), 0)
    begun.advance(24)
    assert not begun.over
    other = moved(begun, workload, of)
    for run in (begun, other):
        assert next(run, None) is None
        assert run.over
        assert told(run.outcome) == told(undisturbed)


# exceptions


class Breaks:
    """A loss that raises at its n-th call in training."""

    def __init__(self, call, error):
        self.calls, self.call, self.error = 0, call, error

    def __call__(self, model, batch):
        self.calls += model.training
        if self.calls == self.call:
            raise self.error
        return squared_error(model, batch)


@pytest.mark.parametrize("way", ["next", "advance"])
def test_an_exception_is_the_outcome(way):
    run = TrialRun(line(loss=Breaks(5, ConnectionError("the file server was away"))), spec())
    next(run)
    next(run, None) if way == "next" else run.advance(8)
    assert run.over
    assert list(run) == []
    outcome = run.outcome
    assert (outcome.ended, outcome.steps) == ("failed", 4)
    assert outcome.reason.startswith("ConnectionError: the file server was away (test_trial_run.py, line ")
    assert outcome.error.rstrip().endswith("ConnectionError: the file server was away")
    assert [evaluation.step for evaluation in outcome.evaluations] == [0]
    json.dumps(outcome.record())


def unmade():
    raise FileNotFoundError("weights.pt")


@pytest.mark.parametrize("ask", [next, TrialRun.next_evaluation, lambda run: run.advance(3)], ids=["next", "due", "to"])
def test_so_is_one_in_what_makes_the_model(ask):
    run = TrialRun(line(model=unmade), spec())
    if ask is next:
        assert next(run, None) is None
    else:
        assert ask(run) is None
    assert run.over
    assert (run.outcome.ended, run.outcome.steps) == ("failed", 0)
    assert run.outcome.reason.startswith("FileNotFoundError: weights.pt")


def test_a_state_that_does_not_fit_is_an_outcome_too(workload):
    state = trained_to(TrialRun(workload, spec()), 5).state_dict()
    other = TrialRun(line(), spec())
    other.load_state_dict(state)
    assert other.over
    assert other.outcome.ended == "failed"
    assert next(other, None) is None


@pytest.mark.parametrize("error", [WorkloadError("No such metric."), StorageError("The storage is away.")])
def test_what_concerns_the_whole_comparison_is_raised(error):
    run = TrialRun(line(loss=Breaks(2, error)), spec())
    next(run)
    with pytest.raises(type(error)):
        next(run)


# the rest of an outcome


def test_a_trial_that_is_cut_has_what_came_before():
    outcome = run_trial(line(num_steps=STEPS), spec(), lambda evaluation: evaluation.step >= 20)
    assert (outcome.ended, outcome.reason, outcome.steps) == ("pruned", "pruned after step 20", 20)
    assert [evaluation.step for evaluation in outcome.evaluations] == [0, 10, 20]


def nowhere(model, batch):
    return {"loss": math.nan if not model.training and model.weight.grad is not None else 1.0}


def test_an_objective_that_is_no_number_at_the_end_is_divergence():
    outcome = run_trial(line(num_steps=STEPS, metrics=nowhere), spec(), never)
    assert (outcome.ended, outcome.reason) == ("diverged", "loss was nan at the end")
    assert outcome.steps == STEPS


def test_a_confirmation_is_judged_on_the_test_data():
    shifted = line(num_steps=STEPS, test_data=lambda: data() + 1)
    outcome = run_trial(shifted, spec(on_test_data=True), never)
    assert repr(outcome.evaluations) == repr(
        plain_loop(line(num_steps=STEPS, valid_data=lambda: data() + 1), spec())[0]
    )
    assert repr(outcome.evaluations) != repr(run_trial(shifted, spec(), never).evaluations)


def test_a_range_test_and_a_probe_are_run_by_one_next():
    workload = line(model=partial(nn.Linear, 1, 1))
    run = TrialRun(workload, TrialSpec(7, range_test={"num_steps": 25}))
    assert run.next_evaluation() is None
    assert list(run) == []
    curve = workload.range_test(7, num_steps=25)
    assert run.over
    assert repr(run.outcome.curve.to_json()) == repr(curve.to_json())
    assert run.outcome.steps == curve.steps_charged
    probe = TrialRun(workload, TrialSpec(7, probe=((1e-3, 1.0), Ladder())))
    assert list(probe) == []
    assert probe.outcome.steps == probe.outcome.probe.steps_charged > 0
