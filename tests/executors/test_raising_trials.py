"""Whatever the user's code raises, a trial is failed with its traceback, and others go on; finished is one at its last step only."""

import asyncio
from dataclasses import dataclass, field

import optuna
import pytest
import torch

import lr_search as lrs
from lr_search.curves.probe import Ladder
from lr_search.executors.outcomes import begun, conclude
from lr_search.executors.solo_runs import run_trial
from lr_search.executors.trial_run import TrialRun
from lr_search.studies.trial import Outcome, TrialSpec
from lr_search.testing.small_comparisons import BEYOND, Breaking, compared, states
from lr_search.training.evaluation import Evaluation
from tests.helpers.workloads import data, line, squared_error

ERRORS = [StopIteration, SystemExit, GeneratorExit, asyncio.CancelledError, type("Skipped", (BaseException,), {})]


class Fourth(torch.nn.Linear):
    """Its forward raises in the fourth step."""

    def __init__(self, error):
        super().__init__(1, 1)
        self.error, self.steps = error, 0

    def forward(self, x):
        self.steps += self.training
        if self.steps == 4:
            raise self.error("mine")
        return super().forward(x)


def spec(**changes):
    return TrialSpec(0, schedule=lrs.schedules.Constant(0.05), **changes)


@pytest.mark.parametrize("error", ERRORS)
def test_a_model_that_raises_in_the_fourth_step(error):
    outcome = run_trial(line(model=lambda: Fourth(error)), spec(), lambda evaluation: False)
    assert (outcome.ended, outcome.steps) == ("failed", 3)
    assert outcome.reason.startswith(f"{error.__name__}: mine (test_raising_trials.py, line ")
    assert 'raise self.error("mine")' in outcome.error
    assert [evaluation.step for evaluation in outcome.evaluations] == [0]


@pytest.mark.parametrize("executor", [lrs.LocalExecutor(), lrs.FusedExecutor(width=3)], ids=["local", "fused"])
@pytest.mark.parametrize("error", [StopIteration, SystemExit])
@pytest.mark.filterwarnings("ignore:FusedExecutor needs")
def test_it_is_never_recommended(error, executor):
    comparison = compared(line(model=lambda: Fourth(error)), executor, budget=2)
    assert comparison.trials["state"].to_list() == ["FAIL", "FAIL"]
    assert comparison.trials["steps"].to_list() == [3, 3]
    with pytest.raises(lrs.errors.LRSearchError):
        comparison.recommend()


@pytest.mark.parametrize("error", [StopIteration, SystemExit])
def test_a_range_test_or_a_probe_that_raises(error):
    for first in (
        TrialSpec(0, range_test={"num_steps": 20, "gain_ratio": False}),
        TrialSpec(0, probe=((1e-3, 1), Ladder())),
    ):
        run = TrialRun(line(model=lambda: Fourth(error)), first)
        assert list(run) == []
        assert run.over
        assert (run.outcome.ended, run.outcome.reason[: len(error.__name__)]) == ("failed", error.__name__)


@pytest.mark.parametrize("error", [StopIteration, SystemExit])
def test_a_pruner_that_raises(error):
    def report(evaluation):
        raise error("mine")

    outcome = run_trial(line(), spec(), report)
    assert (outcome.ended, [evaluation.step for evaluation in outcome.evaluations]) == ("failed", [0])


@pytest.mark.parametrize("error", [StopIteration, SystemExit])
def test_an_ensemble_that_raises_is_not_the_trials_fault(error):
    def combine(outputs):
        raise error("mine")

    schedule = lrs.schedules.by_name("sgdr", 0.05, 30)
    outcome = run_trial(line(combine=combine), TrialSpec(0, schedule=schedule, snapshots=2), lambda evaluation: False)
    assert outcome.ended == "finished"
    assert outcome.ensemble["error"].startswith(f"{error.__name__}: mine")


def test_ctrl_c_stops_everything_and_puts_the_trial_back():
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(KeyboardInterrupt):
        compared(line(optimizer=Breaking(0.5, KeyboardInterrupt)), storage=storage, **BEYOND)
    found = states(storage)
    assert found["WAITING"] == 1
    assert set(found) <= {"COMPLETE", "WAITING"}


class Sampler(optuna.samplers.RandomSampler):
    def __init__(self, error):
        super().__init__(seed=0)
        self.error = error

    def sample_independent(self, study, trial, name, distribution):
        if trial.number == 1:
            raise self.error("mine")
        return super().sample_independent(study, trial, name, distribution)


@pytest.mark.parametrize("error", [StopIteration, SystemExit])
@pytest.mark.parametrize("executor", [lrs.LocalExecutor(), lrs.FusedExecutor(width=2)], ids=["local", "fused"])
def test_a_sampler_that_raises_stops_the_comparison_and_leaves_nothing_running(error, executor):
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(RuntimeError, match=f"The user's code raised {error.__name__}: mine"):
        compared(line(), executor, strategies={"mine": lambda: Sampler(error)}, storage=storage)
    assert states(storage)["COMPLETE"] == 1
    assert states(storage)["RUNNING"] == 0


@pytest.mark.parametrize("error", [StopIteration, SystemExit])
def test_what_makes_a_sampler_or_a_schedule_raises(error):
    def raises(*args):
        raise error("mine")

    with pytest.raises(lrs.errors.InvalidInputError, match=f"it raised {error.__name__}: mine"):
        compared(line(), strategies={"mine": raises})
    with pytest.raises(
        lrs.errors.InvalidInputError, match=f"The schedule 'mine' must .* it raised {error.__name__}: mine"
    ):
        compared(line(), schedules={"mine": raises})


@pytest.mark.parametrize("error", [StopIteration, SystemExit])
def test_training_the_best_again_ends_with_it(error):
    broken = []

    def loss(model, batch):
        if broken:
            raise error("mine")
        return squared_error(model, batch)

    comparison = compared(line(loss=loss), budget=1)
    broken.append(True)
    with pytest.raises(RuntimeError, match=f"The user's code raised {error.__name__}: mine"):
        comparison.retrain()


# how a training ended


@dataclass
class Stopped:
    """What `conclude` reads of a training."""

    stopped: str | None
    step: int = 30
    reason: str = "why"
    workload: lrs.Workload = field(default_factory=line)
    snapshots: tuple = ()


ENDS = {
    "finished": (Stopped("finished"), "finished", "why"),
    "diverged": (Stopped("diverged", 7), "diverged", "why"),
    "before its last step": (Stopped("finished", 29), "failed", "stopped at step 29 of 30: why"),
    "failed": (Stopped("failed", 7), "failed", "stopped at step 7 of 30: why"),
    "closed": (Stopped("closed", 7), "failed", "stopped at step 7 of 30: why"),
    "cut": (Stopped("cut", 7), "failed", "stopped at step 7 of 30: why"),
    "not at all": (Stopped(None, 3, ""), "failed", "stopped at step 3 of 30: no reason given"),
}


@pytest.mark.parametrize(("training", "ended", "reason"), ENDS.values(), ids=ENDS.keys())
def test_only_a_training_that_finished_at_its_last_step_is_finished(training, ended, reason):
    outcome = begun(line())
    assert outcome.ended == "running"
    outcome.evaluations.append(Evaluation(0, 0.1, 1.0, {"loss": 1.0}))
    conclude(outcome, training)
    assert (outcome.ended, outcome.reason) == (ended, reason)


def test_a_trial_that_has_not_ended_is_not_stored():
    assert Outcome().ended == "running"
    assert TrialRun(line(valid_data=lambda: data()), spec()).outcome.ended == "running"
