"""The range that is searched where none is asked for: by the optimizer, and moved where its range tests show it as too narrow."""

import itertools

import optuna
import pandas as pd
import pytest
import torch
from optuna.storages import InMemoryStorage
from torch import nn

import lr_search as lrs
from lr_search.comparison import compare as comparing
from lr_search.storage.keys import PLAN
from tests.helpers.workloads import line, squared_error

TIMES = ["seconds", "started", "ended", "worker"]


def scaled(factor):
    """The line, its loss so many times as large: gradient descent diverges beyond an LR of about 1.5 / factor."""
    return line(loss=lambda model, batch: factor * squared_error(model, batch))


@pytest.fixture
def storage():
    return InMemoryStorage()


def compared(storage, workload=None, **changes):
    settings = {
        "strategies": ["grid", "range_test"], "schedules": ["constant"], "budget": 4, "seeds": 1, "storage": storage, "name": "a",
        "progress": False, "range_test": {"num_steps": 20},
    }  # fmt: skip
    return lrs.compare(workload or line(), **settings | changes)


def ranges(storage):
    """(kind, optimizer) -> the ranges that are recorded."""
    plans = [study.user_attrs[PLAN] for study in optuna.get_all_study_summaries(storage)]
    found = {}
    for plan in plans:
        found.setdefault((plan["kind"], plan["optimizer"]), set()).add(tuple(plan["lr_range"]))
    return found


def same_trials(one, other):
    pd.testing.assert_frame_equal(one.trials.drop(columns=TIMES), other.trials.drop(columns=TIMES), check_exact=True)
    return True


def test_each_optimizer_has_its_own_range_which_the_plan_names(storage, caplog):
    trials = compared(storage, optimizers=["sgd", "adam"], strategies=["grid"], progress=True).trials
    assert ranges(storage) == {("search", "sgd"): {(1e-4, 10.0)}, ("search", "adam"): {(1e-6, 1.0)}}
    for optimizer, low, high in [("sgd", 1e-4, 10.0), ("adam", 1e-6, 1.0)]:
        assert trials.loc[trials["optimizer"] == optimizer, "lr"].between(low, high).all()
    plan = caplog.messages[0].splitlines()
    assert {"sgd: LRs from 0.0001 to 10 (SGD-like)", "adam: LRs from 1e-06 to 1 (Adam-like)"} <= set(plan)


def test_the_plan_of_a_dry_run_names_the_range_and_that_it_may_move(capsys):
    compared(None, dry_run=True)
    assert (
        "SGD: LRs from 0.0001 to 10 (SGD-like), and further where its range tests show that as too narrow"
        in capsys.readouterr().out
    )


def test_a_range_asked_for_by_number_is_the_range_whatever_the_range_tests_show(storage, caplog):
    compared(storage, scaled(1e-3), lr_range=(1e-3, 1.0), progress=True)
    assert {each for held in ranges(storage).values() for each in held} == {(1e-3, 1.0)}
    assert len(caplog.messages) > 0
    assert "LRs from" not in caplog.text


@pytest.mark.parametrize(("factor", "edge"), [(1e-3, 1.5e3), (1e6, 1.5e-6)])
def test_a_range_that_the_range_tests_show_as_too_narrow_is_moved_for_every_study(storage, caplog, factor, edge):
    trials = compared(storage, scaled(factor), seeds=2, progress=True).trials
    held = ranges(storage)
    assert held["range_test", "SGD"] == {(1e-4, 10.0)}
    ((low, high),) = held["search", "SGD"]  # one range for both strategies and both seeds
    assert low < edge / 3 < high
    assert (
        f"SGD: its range tests show 0.0001 to 10 to be too narrow: searched from {low:g} to {high:g}" in caplog.messages
    )
    assert trials.loc[trials["strategy"] == "grid", "lr"].between(low, high).all()
    best = trials.loc[trials["objective"].idxmin(), "lr"]
    assert edge / 100 < best < edge


def test_where_the_range_holds_it_is_not_moved_and_all_is_as_if_asked_for(storage):
    ours = compared(storage)
    assert ranges(storage)["search", "SGD"] == {(1e-4, 10.0)}
    theirs = compared(InMemoryStorage(), lr_range=(1e-4, 10.0))
    assert same_trials(ours, theirs)


def test_killed_between_range_tests_and_searches_it_goes_on_to_the_same(storage, monkeypatch):
    work = scaled(1e-3)
    undisturbed = compared(InMemoryStorage(), work)
    with monkeypatch.context() as patched:
        patched.setattr(comparing, "moved", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compared(storage, work)
    assert list(ranges(storage)) == [("range_test", "SGD")]
    assert same_trials(compared(storage, work), undisturbed)


@pytest.mark.parametrize(("budget", "goes_on"), [(2, False), (4, True)])
def test_a_range_test_goes_on_beyond_only_where_the_budget_pays_for_it(storage, budget, goes_on):
    """A ramp of 20 steps is charged 27, and goes on for up to 12 more: of 2 x 30 steps too few for a training would be left."""
    found = compared(storage, scaled(1e-3), budget=budget)
    assert (found.curves["lr"].max() > 11) == goes_on
    assert (found.trials["strategy"] == "range_test").sum() >= 1


def test_what_joins_later_searches_the_range_that_was_moved(storage):
    work = scaled(1e-3)
    compared(storage, work)
    ((low, high),) = ranges(storage)["search", "SGD"]
    compared(storage, work, seeds=2, strategies=["grid", "range_test", "random"])
    assert ranges(storage)["search", "SGD"] == {(low, high)}
    assert high > 10


@pytest.mark.parametrize("first", [(1e-5, 10.0), (1e-3, 1.0)])
def test_a_comparison_that_began_with_a_range_of_its_own_goes_on_with_it(storage, first):
    """So those that were stored when the range was one for all."""
    before = compared(storage, lr_range=first)
    assert same_trials(compared(storage), before)
    compared(storage, seeds=2)
    assert {each for held in ranges(storage).values() for each in held} == {first}


def test_a_stored_comparison_whose_range_test_was_given_one_end_goes_on(storage):
    """As when the range was one for all: it began with an end of that range, not of the optimizer's."""
    settings = {"range_test": {"num_steps": 20, "start_lr": 1e-4}, "workload": line(optimizer=torch.optim.Adam)}
    before = compared(storage, lr_range=(1e-5, 10.0), **settings)
    assert same_trials(compared(storage, **settings), before)


def test_a_range_of_the_table_is_told_by_its_kind_and_another_as_what_the_comparison_began_with(storage, caplog):
    compared(storage, lr_range=(1e-3, 1.0))
    compared(storage, progress=True)
    assert "SGD: LRs from 0.001 to 1 (as it began)" in caplog.messages[0].splitlines()


def test_the_range_that_another_process_began_to_search_meanwhile_is_searched_here_too(storage):
    work = scaled(1e-3)  # whose range tests move the range

    class Overtaken(lrs.LocalExecutor):
        """Another process, without range tests, is through before this one's are."""

        def run(self, tasks, progress):
            if [task.plan.kind for task in tasks] == ["range_test"]:
                compared(storage, work, seeds=[1], strategies=["grid"])
            super().run(tasks, progress)

    compared(storage, work, seeds=[0], executor=Overtaken())
    assert ranges(storage)["search", "SGD"] == {(1e-4, 10.0)}


def test_one_at_a_time_and_fused_it_is_moved_alike(storage):
    work = scaled(1e-3)
    found = [compared(InMemoryStorage(), work, seeds=2, executor=each).trials for each in (None, lrs.FusedExecutor())]
    pd.testing.assert_series_equal(found[0]["lr"], found[1]["lr"], rtol=1e-3)


def test_the_ends_of_a_range_test_that_are_asked_for_are_kept(storage):
    compared(storage, range_test={"num_steps": 20, "start_lr": 1e-3, "end_lr": 1.0})
    (plan,) = [
        study.user_attrs[PLAN]
        for study in optuna.get_all_study_summaries(storage)
        if study.user_attrs[PLAN]["kind"] == "range_test"
    ]
    assert plan["range_test"] == {"num_steps": 20, "start_lr": 1e-3, "end_lr": 1.0, "ramp": "exponential"}


def test_the_plan_says_that_seeds_share_a_modules_weights(capsys):
    words = "model is a module: all seeds begin with its weights"
    for model, said in itertools.product([nn.Linear(1, 1), lambda: nn.Linear(1, 1)], [True]):
        compared(None, line(model=model), dry_run=True)
        assert (words in capsys.readouterr().out) == (isinstance(model, nn.Module) == said)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("end", [{"start_lr": 1.0}, {"end_lr": 1e-3}])
def test_one_end_of_a_range_test_may_be_asked_for_wherever_other_kinds_of_optimizers_are_searched(storage, end):
    """Adam's range ends at 1, Adadelta's begins at 0.001: what is trained is SGD."""
    compared(storage, scaled(1e-3), range_test={"num_steps": 20, **end})
    (curve,) = (study.curves[0] for study in lrs.load(storage, "a").records if study.kind == "range_test")
    assert (curve.lr[0], curve.lr[-1]) == pytest.approx((end.get("start_lr", 1e-4), end.get("end_lr", 10.0)))
