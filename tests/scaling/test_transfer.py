"""lrs.transfer: pilots that are whole, shorter trainings, what they cost, and what becomes of them under every executor and after a kill."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch

import lr_search as lrs
from lr_search.errors import FingerprintError, InvalidInputError
from lr_search.scaling.told import transfers_of
from lr_search.scaling.transfer_constants import transfer_constants
from tests.helpers.comparing import TIMES, Followed, followed, interrupt, states, widths
from tests.helpers.workloads import line

__all__ = ["followed", "widths"]
LONG = 480  # steps of a full training; its pilots have 30 and 106
SETTINGS: dict[str, Any] = {"lr_range": (1e-3, 10.0), "range_test": {"num_steps": 20}, "progress": False}


def transferred(workload: lrs.Workload | None = None, **changes: Any) -> lrs.Transfer:
    return lrs.transfer(workload or line(num_steps=LONG), **{"schedule": "cosine", "cost": 0.3, **SETTINGS, **changes})


def compared(workload: lrs.Workload | None = None, **changes: Any) -> lrs.Comparison:
    settings = {"strategies": ["transfer"], "schedules": ["cosine"], "seeds": 1, "storage": None, **SETTINGS}
    return lrs.compare(workload or line(num_steps=LONG), **{**settings, **changes})


def pilots_of(comparison: lrs.Comparison) -> pd.DataFrame:
    whole = comparison.all_trials
    return whole[whole["kind"] == "pilot"].drop(columns=TIMES).reset_index(drop=True)


# ---- what a pilot is ----


def test_a_pilot_is_a_whole_training_under_the_schedule_laid_out_for_its_length() -> None:
    found = transferred(cost=0.8)
    lengths = found.table["num_steps"].tolist()
    assert lengths == [30] * 3 + [106] * 2
    for pilot in found.table.iloc[[1, 4]].itertuples():
        short = line(num_steps=pilot.num_steps, eval_every=pilot.num_steps)
        *_, last = lrs.train(short, lrs.schedules.by_name("cosine", pilot.lr, pilot.num_steps), seed=0)
        assert (last.step, last.metrics["loss"]) == (pilot.num_steps, pilot.objective)


def test_pilots_are_charged_and_are_no_trials() -> None:
    found = compared(budget=0.3)
    pilots, tests = pilots_of(found), found.all_trials["kind"].eq("range_test")
    first = int(found.all_trials.loc[tests, "steps"].sum())
    assert len(found.trials) == 0
    assert pilots["steps_charged"].tolist() == [first + 30 * n for n in (1, 2, 3)]
    assert pilots["steps_charged"].max() <= 0.3 * LONG
    (told,) = transfers_of(found.records)
    assert told.steps == first + 90
    assert told.cost == pytest.approx((first + 90) / LONG)


def test_what_pilots_tell_is_where_the_full_trainings_begin() -> None:
    found = compared(budget=2)
    (told,) = transfers_of(found.records)
    assert found.trials["lr"].tolist() == [told.lr]
    assert found.trials["steps"].tolist() == [LONG]
    assert found.searches[0].prior == told.to_prior()
    assert int(found.trials["steps_charged"].iloc[0]) == told.steps + LONG
    costs = found.costs().set_index("part")["steps"]
    assert costs["pilots"] == told.table["steps"].sum()
    assert costs["range tests"] + costs["pilots"] == told.steps
    assert found.recommend().lr == told.lr


def test_a_larger_budget_charges_its_longer_pilots_to_the_full_trainings_too() -> None:
    storage = optuna.storages.InMemoryStorage()
    compared(budget=0.3, storage=storage)
    grown, whole = compared(budget=2, storage=storage), compared(budget=2)
    assert grown.trials["steps_charged"].tolist() == whole.trials["steps_charged"].tolist()
    assert grown.trials["lr"].tolist() == whole.trials["lr"].tolist()


def test_range_tests_that_leave_nothing_for_pilots_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="range test and 3 pilots of 30 steps"):
        compared(budget=2, range_test={"num_steps": 700})


def test_a_larger_cost_keeps_the_pilots_and_adds_longer_ones() -> None:
    storage = optuna.storages.InMemoryStorage()
    small, large = (transferred(cost=cost, storage=storage) for cost in (0.3, 1.0))
    pd.testing.assert_frame_equal(large.table[:3], small.table)
    assert large.table["num_steps"].tolist() == [30] * 3 + [106] * 3
    assert large.steps <= LONG


def test_the_second_length_begins_around_where_the_first_points() -> None:
    small, large = transferred(cost=0.3), transferred(cost=0.8)
    drift = transfer_constants().drift("cosine").decades(LONG, 106, steps_per_epoch=8)  # of 8 batches
    middle = small.lr / 10**drift
    assert large.table["lr"].iloc[3:].tolist() == pytest.approx([middle / 10**0.3, middle * 10**0.3], rel=1e-9)


def test_one_pilot_of_the_second_length_alone_is_not_trained() -> None:
    # a range test of 20 steps takes 27 at most; with 3 pilots of 30 and one of 106: 223 of 480; with two of 106: 329
    assert [len(transferred(cost=cost).table) for cost in (224 / 480, 329 / 480)] == [3, 5]


def test_each_schedule_and_seed_has_pilots_of_its_own_and_shares_the_range_test() -> None:
    found = compared(schedules=["constant", "cosine"], seeds=2, budget=0.3)
    told = transfers_of(found.records)
    assert [(each.schedule, each.seed) for each in told] == [
        ("constant", 0), ("cosine", 0), ("constant", 1), ("cosine", 1),
    ]  # fmt: skip
    assert len(found.all_trials) == 2 + 4 * 3
    assert len({each.steps for each in told if each.seed == 0}) == 1


def test_a_maximized_objective_is_told_alike() -> None:
    def metrics(model: Any, batch: Any) -> dict[str, Any]:
        return {"loss": (loss := ((model(batch[:, :1]) - batch[:, 1:]) ** 2).mean()), "gain": -loss}

    work = line(num_steps=LONG, metrics=metrics)
    down, up = (
        transferred(replace(work, objective=name, direction=way))
        for name, way in (("loss", "minimize"), ("gain", "maximize"))
    )
    assert (down.lr, down.interval, down.log10_std) == (up.lr, up.interval, up.log10_std)
    assert down.table["objective"].tolist() == (-up.table["objective"]).tolist()
    best = down.table.loc[down.table["objective"].idxmin(), "lr"]
    assert down.best_pilot == up.best_pilot == (30, best)
    assert f"The best of the pilots of 30 steps had LR {best:.3g}; the best LR is taken to go as length^" in str(up)
    for lr, why in ((best / 2, "too high costs more than too low."), (best * 2, "the other pilots point higher.")):
        assert why in str(replace(up, lr=lr))
    assert len(up.plot().texts) == len(down.plot().texts) == 1  # the arrow from there


def test_pilots_that_diverge_point_below_them() -> None:
    found = transferred(schedule="constant", lr_range=(3.0, 30.0))
    assert found.table["outcome"].eq("diverged").all()
    assert found.lr <= found.table["lr"].min()
    assert "All of the longest pilots diverged" in str(found)


@dataclass(frozen=True)
class BreakingLate:
    """Makes SGD that raises at its 26th step with an LR above that: after what a range test takes, and within a pilot."""

    above: float

    def __call__(self, params: Any, lr: float) -> torch.optim.SGD:
        optimizer, taken = torch.optim.SGD(params, lr=lr), count()

        def look(*_: Any) -> None:
            if next(taken) >= 25 and optimizer.param_groups[0]["lr"] > self.above:
                raise OSError("the disk is full")

        optimizer.register_step_pre_hook(look)
        return optimizer


def test_a_pilot_that_fails_tells_nothing() -> None:
    whole = transferred(schedule="constant")
    broken = transferred(
        line(num_steps=LONG, optimizer=BreakingLate(0.99 * whole.table["lr"].max())), schedule="constant"
    )
    assert broken.table["outcome"].tolist() == ["finished", "finished", "failed"]
    assert broken.table["steps"].tolist() == [30, 30, 25]
    assert broken.lr != whole.lr


# ---- killed, fused, shared ----


@pytest.mark.parametrize("at", [2, 5, 8])
def test_stopped_and_gone_on_with_it_comes_to_the_same_bits(at: int, followed: type[Followed]) -> None:
    storage = optuna.storages.InMemoryStorage()
    undisturbed = compared(budget=0.8)
    followed.happens = staticmethod(interrupt(followed.count("evaluated") + at))
    with pytest.raises(KeyboardInterrupt):
        compared(budget=0.8, storage=storage)
    assert states(storage)["WAITING"] == 1
    followed.happens = staticmethod(lambda evaluations: None)
    again = compared(budget=0.8, storage=storage)
    pd.testing.assert_frame_equal(pilots_of(again), pilots_of(undisturbed), check_exact=True)
    (one,), (other,) = transfers_of(again.records), transfers_of(undisturbed.records)
    assert (one.lr, one.interval) == (other.lr, other.interval)


def test_pilots_of_a_length_and_seed_are_one_wave(widths: list[int]) -> None:
    alone = compared(schedules=["constant", "cosine"], budget=0.3)
    fused = compared(schedules=["constant", "cosine"], budget=0.3, executor=lrs.FusedExecutor(width=16))
    assert widths == [4, 2]  # of both schedules: two pilots each, then the third, which looks at them
    pd.testing.assert_frame_equal(pilots_of(fused), pilots_of(alone), rtol=1e-4, atol=1e-6)


def test_another_schedule_under_the_same_name_is_refused() -> None:
    storage = optuna.storages.InMemoryStorage()
    compared(schedules={"mine": "cosine"}, budget=0.3, storage=storage)
    with pytest.raises(FingerprintError, match="schedule 'mine' differs"):
        compared(schedules={"mine": "linear"}, budget=0.3, storage=storage)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transferred(cost=0.2), r"range test and 3 pilots of 30 steps, but got 0.2 full .* of 480 steps. Give at least 0.25"),
        (lambda: transferred(cost=0), "cost must be above 0 and at most 1 full training, but got cost=0"),
        (lambda: transferred(cost=1.5), r"compare\(workload, strategies=\['transfer'\], budget=...\)"),
        (lambda: transferred(line(num_steps=300)), "a training of at least 320 steps: .* at least 20, but got num_steps=300"),
        (lambda: transferred(schedule="plateau"), "'plateau' is a controller"),
        (lambda: compared(schedules={"mine": lrs.schedules.Constant}, budget=0.3), "'mine' is a function .* takes no length"),
        (lambda: compared(strategies=["grid", "transfer"], budget=0.3), "'grid', .* Give at least 1. Below one .*: transfer"),
    ],
    ids=["cost", "no cost", "much", "short", "controller", "own schedule", "other strategies"],
)  # fmt: skip
def test_a_refusal_tells_the_rule_what_came_and_what_to_do(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_the_smallest_cost_that_a_refusal_names_works() -> None:
    assert len(transferred(cost=0.25).table) == 3


# ---- what is told ----


def test_it_is_told_in_words_numbers_and_a_prior() -> None:
    found = transferred()
    low, high = found.interval
    assert low < found.lr < high
    assert str(found).startswith(
        f"cosine with SGD in 480 steps: LR {found.lr:.3g} (80% between {low:.2g} and {high:.2g})"
    )
    record = found.to_json()
    assert (record["lr"], record["interval"], record["num_steps"]) == (found.lr, [low, high], LONG)
    prior = found.to_prior()
    assert (prior.mode, prior.log10_std) == (found.lr, found.log10_std)
    assert (prior.skew > 0) == (high / found.lr > found.lr / low)


def test_the_picture_shows_the_pilots_the_answer_and_the_interval() -> None:
    found = transferred(cost=0.8)
    ax = found.plot()
    lines = {line.get_label(): line for line in ax.get_lines()}
    for length, rung in found.table.groupby("num_steps"):
        x, y = lines[f"pilots of {length} steps"].get_data()
        assert sorted(zip(np.asarray(x), np.asarray(y), strict=True)) == sorted(
            zip(rung["lr"], rung["objective"], strict=True)
        )
    assert lines[f"LR {found.lr:.2g}"].get_xdata() == [found.lr, found.lr]
    (band,) = (patch for patch in ax.patches if "80%" in patch.get_label())
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx(found.interval)


def test_a_report_of_pilots_alone_tells_what_they_tell(tmp_path: Path) -> None:
    found = compared(budget=0.3)
    (told,) = transfers_of(found.records)
    page = found.save(tmp_path).read_text()
    assert f"LR {told.lr:.3g} (80% between" in page
    assert "What the pilots tell" in page
    assert f"LR {told.lr:.3g}" in " ".join(str(found).split())
    assert "No full training has begun: the pilots stand above." in page
    markdown = (tmp_path / "summary.md").read_text()
    assert f"LR {told.lr:.3g}" in markdown
    assert "|" not in markdown  # no table without a row
