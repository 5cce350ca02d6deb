"""Time that never ends: a hanging trial is failed or put back, wherever it hangs, and the rest goes on."""

import itertools
import threading
import time
from dataclasses import dataclass
from functools import partial

import optuna
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

import lr_search as lrs
from lr_search.errors import InvalidInputError, TrialsFailedError, WorkloadError
from lr_search.executors.executor_names import executor_by_name
from lr_search.executors.solo_runs import run_trial
from lr_search.executors.time_limits import limits
from lr_search.executors.time_limits.limits import TimeLimits
from lr_search.studies.trial import TrialSpec
from lr_search.testing.small_comparisons import TAME, compared, require_same, states
from tests.helpers.workloads import data, line

EXECUTORS = [lrs.LocalExecutor, partial(lrs.FusedExecutor, width=2)]
BOTH = pytest.mark.parametrize("executor", EXECUTORS, ids=["local", "fused"])
THREE = {"a": 0.01, "high": 0.3, "c": 0.02}  # strategies, one of which hangs
APART = pytest.mark.filterwarnings("ignore:FusedExecutor needs")


@dataclass
class Hanging:
    """Makes SGD whose steps hang, above an LR; while it is switched on."""

    above: float
    on: bool = True

    def __call__(self, params, lr):
        optimizer = torch.optim.SGD(params, lr=lr)
        optimizer.register_step_pre_hook(self._look)
        return optimizer

    def _look(self, optimizer, *_):
        group = optimizer.param_groups[0]
        group["taken"] = group.get("taken", 0) + 1
        if self.on and group["lr"] > self.above and group["taken"] == 8:
            time.sleep(100)


class Endless:
    """Validation data that end, and once `on` never do."""

    on = False

    def __call__(self):
        return itertools.cycle(list(data())) if self.on else list(data())


@BOTH
@APART
def test_a_trial_that_takes_too_long_is_failed_and_the_others_go_on(executor):
    found = compared(line(optimizer=Hanging(0.1)), executor(trial_seconds=0.6), strategies=THREE, budget=1)
    trials = found.trials.set_index("strategy")
    assert trials["state"].to_dict() == {"a": "COMPLETE", "high": "FAIL", "c": "COMPLETE"}
    assert trials["steps"].to_dict() == {"a": 30, "high": 7, "c": 30}
    assert trials["reason"]["high"].startswith(
        "TrialTimeoutError: longer than trial_seconds=0.6 (test_time_limits.py, line "
    )
    (failed,) = [trial.outcome for record in found.records for trial in record.trials if trial.state == "FAIL"]
    assert "time.sleep(100)" in failed["error"]


@BOTH
@APART
def test_three_in_a_row_end_the_comparison(executor):
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(TrialsFailedError, match="the last with TrialTimeoutError: longer than"):
        compared(line(optimizer=Hanging(5e-3)), executor(trial_seconds=0.1), budget=6, storage=storage, **TAME)
    assert states(storage)["FAIL"] == 3
    assert states(storage)["RUNNING"] == 0


@BOTH
@APART
def test_at_the_budgets_end_trials_are_put_back_and_the_same_call_goes_on(executor, caplog):
    storage, optimizer = optuna.storages.InMemoryStorage(), Hanging(0.1)
    settings = {"strategies": ["grid"], "confirm": 1, "storage": storage, **TAME}
    work = line(optimizer=optimizer)
    begun = time.monotonic()
    left = compared(work, executor(time_budget_seconds=0.7), **settings)
    assert time.monotonic() - begun < 10
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "The time budget of 0.7 s is over; " in said
    assert "put back. The same call goes on with" in said
    assert set(states(storage)) <= {"COMPLETE", "WAITING"}
    assert states(storage)["WAITING"] >= 1
    assert len(left.confirmations) == 0  # nothing is confirmed before all is found
    optimizer.on = False
    ours = compared(work, executor(), **settings)
    require_same(ours, compared(work, lrs.LocalExecutor(), **{**settings, "storage": None}), tolerance=1e-4)
    assert set(states(storage)) == {"COMPLETE"}


def test_a_budget_that_is_enough_is_not_spoken_of(caplog):
    compared(line(), lrs.LocalExecutor(time_budget_seconds=60, trial_seconds=20))
    assert caplog.messages == []


def spec(**changes):
    return TrialSpec(0, schedule=lrs.schedules.Constant(0.05), **changes)


@pytest.mark.parametrize("what", ["batches", "model", "range test"])
def test_wherever_a_trial_hangs(what):
    hangs = partial(time.sleep, 100)
    changes = {
        "batches": {"train_data": lambda: itertools.chain(list(data()), iter(hangs, 1))},
        "model": {"model": hangs},
        "range test": {"train_data": lambda: itertools.chain(list(data()), iter(hangs, 1))},
    }
    asked = TrialSpec(0, range_test={"num_steps": 20, "gain_ratio": False}) if what == "range test" else spec()
    outcome = run_trial(line(**changes[what]), asked, lambda evaluation: False, TimeLimits(trial_seconds=0.2))
    assert outcome.ended == "failed"
    assert outcome.reason.startswith("TrialTimeoutError: longer than trial_seconds=0.2")
    assert outcome.steps == (8 if what == "batches" else 0)


def test_endless_validation_data_end_in_another_thread_too():
    endless, outcomes = Endless(), []
    endless.on = True
    short = TimeLimits(trial_seconds=0.2)

    def work():
        outcomes.append(run_trial(line(valid_data=endless), spec(), lambda evaluation: False, short))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert outcomes[0].reason.startswith("TrialTimeoutError: longer than trial_seconds=0.2")


def test_what_is_reported_is_never_cut():
    """The pruner's report writes to the storage."""
    seen = []

    def report(evaluation):
        time.sleep(0.15)
        seen.append(evaluation.step)
        return False

    outcome = run_trial(line(), spec(), report, TimeLimits(trial_seconds=0.1))
    assert (outcome.ended, outcome.steps, seen) == ("failed", 0, [0])


@BOTH
@APART
def test_endless_validation_data(executor):
    endless, storage = Endless(), optuna.storages.InMemoryStorage()

    def opened():
        endless.on = states(storage)["RUNNING"] > 0
        return endless()

    work = line(valid_data=opened)
    with pytest.raises(TrialsFailedError, match="3 trials in a row failed, the last with TrialTimeoutError"):
        compared(work, executor(trial_seconds=0.2), budget=4, storage=storage)
    compared(work, executor(time_budget_seconds=0.5), budget=4, storage=storage)
    assert states(storage)["WAITING"] >= 1


@pytest.mark.parametrize("option", ["trial_seconds", "time_budget_seconds"])
def test_a_workload_that_hangs_when_it_is_tried_out_is_refused(option, monkeypatch):
    monkeypatch.setattr(limits, "FIRST_SECONDS", 0.3)
    storage = optuna.storages.InMemoryStorage()
    executor = lrs.LocalExecutor(**{option: 0.2})
    with pytest.raises(WorkloadError, match="it raised TrialTimeoutError: longer than"):
        compared(line(valid_data=lambda: iter(partial(time.sleep, 100), 1)), executor, storage=storage)
    assert not states(storage)


class Silent(Dataset):
    """Its worker never answers, once a file is there."""

    def __init__(self, switch):
        self.switch = switch

    def __len__(self):
        return 16

    def __getitem__(self, index):
        if get_worker_info() is not None and self.switch.exists():
            time.sleep(1000)
        return torch.ones(2)


@pytest.mark.processes
def test_a_loaders_worker_that_never_answers(tmp_path):
    loader = partial(
        DataLoader, Silent(tmp_path / "switch"), batch_size=4, num_workers=1, multiprocessing_context="fork"
    )
    work = line(train_data=loader)
    assert run_trial(work, spec(), lambda evaluation: False).ended == "finished"
    (tmp_path / "switch").touch()
    outcome = run_trial(work, spec(), lambda evaluation: False, TimeLimits(trial_seconds=0.5))
    assert outcome.reason.startswith("TrialTimeoutError: longer than trial_seconds=0.5")


@pytest.mark.parametrize("name", ["local", "fused", "ray"])
@pytest.mark.parametrize("option", ["time_budget_seconds", "trial_seconds"])
def test_every_executor_has_both_options(name, option):
    if name == "ray":
        pytest.importorskip("ray")
    limits = executor_by_name(name, {option: 5}).time_limits()
    assert getattr(limits, option) == 5
    with pytest.raises(InvalidInputError, match=f"{option} must be a positive number of seconds, or None, but got -1"):
        executor_by_name(name, {option: -1})
