"""lrs.transfer where it shares a storage, is asked for less than before, or is asked for what it cannot do."""

from typing import Any

import optuna
import pandas as pd
import pytest
import torch

import lr_search as lrs
from lr_search.errors import InvalidInputError
from lr_search.scaling.told import transfer_lines, transfers_of
from tests.helpers.comparing import Followed, followed, interrupt, states
from tests.helpers.workloads import line

__all__ = ["followed"]

LONG = 480  # steps of a full training; its pilots have 30 and 106
SHORT = {"num_steps": 20}  # of range tests


def transferred(workload: Any = None, **changes: Any) -> lrs.Transfer:
    return lrs.transfer(
        workload or line(num_steps=LONG), **{"schedule": "cosine", "cost": 0.3, "progress": False, **changes}
    )


def compared(workload: Any = None, **changes: Any) -> lrs.Comparison:
    settings = {"strategies": ["transfer"], "schedules": ["cosine"], "seeds": 1, "storage": None, "progress": False}
    return lrs.compare(workload or line(num_steps=LONG), **{**settings, "range_test": SHORT, **changes})


def test_in_a_comparison_of_several_optimizers_it_answers_for_the_workload_s_own() -> None:
    storage = optuna.storages.InMemoryStorage()
    ways = {"Adam": torch.optim.Adam, "SGD": torch.optim.SGD}
    compared(optimizers=ways, budget=0.5, storage=storage, name="shared")
    found = transferred(line(num_steps=LONG, optimizer=torch.optim.SGD), cost=0.5, storage=storage, name="shared")
    alone = transferred(line(num_steps=LONG, optimizer=torch.optim.SGD), cost=0.5)
    assert found.optimizer == "SGD"
    pd.testing.assert_frame_equal(found.table, alone.table)


def test_a_smaller_cost_tells_what_the_pilots_that_are_there_tell() -> None:
    storage = optuna.storages.InMemoryStorage()
    # the larger cost lets the range test go on beyond its range, for which steps are kept; the smaller does not pay for that
    large, small = (transferred(cost=cost, storage=storage) for cost in (1.0, 0.25))
    assert small.lr == large.lr
    pd.testing.assert_frame_equal(small.table, large.table)


def test_where_the_whole_range_diverged_that_is_said() -> None:
    found = transferred(schedule="constant", lr_range=(1e3, 1e6))
    assert found.table["outcome"].eq("diverged").all()
    assert found.lr == found.table["lr"].min() == 1e3  # nothing lower was asked for
    assert "give a wider lr_range" in str(found)


def test_a_training_function_is_told_that_a_workload_is_needed() -> None:
    @lrs.trainable(num_steps=LONG, objective="loss", direction="minimize")
    def train(run: lrs.TrainingRun) -> None:
        raise AssertionError("it is not called")

    with pytest.raises(
        InvalidInputError, match=r"transfer\(\) needs a Workload, .* but got the training function train"
    ):
        transferred(train)


def test_a_schedule_of_one_s_own_is_told_how_it_gets_a_name() -> None:
    with pytest.raises(InvalidInputError, match=r"schedule must be a name: .* register one of your own"):
        transferred(schedule=lrs.schedules.Constant)


def test_below_one_training_a_strategy_of_full_ones_is_refused_before_the_pilots_cost() -> None:
    with pytest.raises(InvalidInputError, match=r"one full training of 480 steps in 'grid', .* Give at least 1. Below"):
        compared(strategies=["transfer", "grid"], budget=0.1)


def test_the_plan_says_from_which_budget_on_there_is_a_full_training(caplog: pytest.LogCaptureFixture) -> None:
    without = compared(budget=1.9, lr_range=(1e-3, 10.0), progress=True)
    # a range test of 20 steps takes 27 at most; with 3 pilots of 30 and of 106: (27 + 90 + 318 + 480) / 480 = 1.906
    assert (
        "has no full training, to confirm or to tell against today's: it has one from a budget of 1.91 on"
        in caplog.text
    )
    assert without.trials.empty
    caplog.clear()
    assert len(compared(budget=1.91, lr_range=(1e-3, 10.0), progress=True).trials) == 1
    assert "no full training" not in caplog.text


def test_of_several_seeds_each_is_named() -> None:
    found = compared(budget=0.5, seeds=2)
    told = transfers_of(found.records)
    assert transfer_lines(found.records) == [f"Seed {seed}: {each}" for seed, each in enumerate(told)]
    assert f"Seed 1: cosine with SGD in 480 steps: LR {told[1].lr:.3g}" in " ".join(str(found).split())


def test_pilots_that_learned_nothing_have_no_arrow_to_the_answer() -> None:
    deaf, hearing = transferred(lr_range=(1e-12, 1e-8)), transferred()
    assert "learned nothing" in str(deaf)
    assert [len(found.plot().texts) for found in (deaf, hearing)] == [0, 1]


def test_pilots_that_an_interruption_left_out_are_said(followed: type[Followed]) -> None:
    storage = optuna.storages.InMemoryStorage()
    followed.happens = staticmethod(interrupt(followed.count("evaluated") + 4))  # in the second or the third pilot
    with pytest.raises(KeyboardInterrupt):
        compared(budget=0.3, storage=storage)
    followed.happens = staticmethod(lambda evaluations: None)
    assert any("of 3 pilots of 30 steps have ended" in line for line in transfer_lines(lrs.load(storage).records))
    assert not any("have ended" in line for line in transfer_lines(compared(budget=0.3, storage=storage).records))


def test_fused_pilots_stopped_in_a_wave_and_gone_on_with_are_the_same_to_rounding(followed: type[Followed]) -> None:
    storage, fused = optuna.storages.InMemoryStorage(), lrs.FusedExecutor(width=4)
    undisturbed = compared(budget=0.8, executor=fused)
    followed.happens = staticmethod(interrupt(followed.count("evaluated") + 3))
    with pytest.raises(KeyboardInterrupt):
        compared(budget=0.8, executor=fused, storage=storage)
    assert states(storage)["WAITING"] >= 1
    followed.happens = staticmethod(lambda evaluations: None)
    again = compared(budget=0.8, executor=fused, storage=storage)
    (one,), (other,) = transfers_of(again.records), transfers_of(undisturbed.records)
    pd.testing.assert_frame_equal(one.table, other.table, rtol=1e-4, atol=1e-6)
    assert one.lr == pytest.approx(other.lr)
