"""The plan that a suggestion is for."""

import json

import numpy as np
import pytest

import lr_search as lrs
from lr_search.curves.training_plan import Plan
from lr_search.errors import InvalidInputError, UnknownNameError
from tests.helpers.workloads import data, line


def dip(**changes) -> lrs.LRCurve:
    lr = np.logspace(-5, 1, 100)
    return lrs.LRCurve(lr, 2 - 1.5 / (1 + (0.01 / lr) ** 2) + (lr / 2) ** 3, **changes)


def test_what_is_asked_for_takes_the_place_of_what_was_known() -> None:
    curve = dip(plan=Plan(num_steps=300, batch_size=32))
    assert curve.suggest().plan == Plan(num_steps=300, batch_size=32)
    asked = curve.suggest(schedule="constant", num_steps=3000)
    assert asked.plan == Plan(num_steps=3000, schedule="constant", batch_size=32)
    assert "It is for 3000 steps of constant." in asked.reason
    assert "for 300 steps of a decaying schedule" in curve.suggest().reason
    assert "for 1000 steps of a decaying schedule" in dip().suggest().reason
    assert "steps of" not in curve.suggest("steepest").reason  # which knows of no training


def test_a_suggestion_for_a_plan_is_that_of_a_curve_with_that_plan() -> None:
    for schedule in ("constant", "one_cycle", "wsd"):
        asked = dip().suggest(schedule=schedule, num_steps=300)
        assert asked == dip(plan=Plan(300, schedule)).suggest()


def test_members_are_read_for_the_same_training() -> None:
    pooled = lrs.LRCurve.pool([dip(), dip()]).planned("constant", 300)
    assert [member.plan for member in pooled.members] == [Plan(300, "constant")] * 2
    assert pooled.suggest().lr == pytest.approx(dip().suggest(schedule="constant", num_steps=300).lr)


def test_epochs_are_told_where_all_is_known() -> None:
    assert Plan(num_steps=150, batch_size=10, examples=500).epochs == 3
    assert Plan(num_steps=150, steps_per_epoch=100).but(num_steps=300).epochs == 3
    assert [Plan(num_steps=150, batch_size=10).epochs, Plan(batch_size=10, examples=500).epochs] == [None, None]


@pytest.mark.parametrize("name", ["num_steps", "batch_size", "examples"])
def test_a_number_below_one_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{name} must be at least 1, or None, but got {name}=0"):
        Plan(**{name: 0})


def test_a_schedule_that_does_not_exist_is_refused_with_the_nearest() -> None:
    for call in (lambda: Plan(schedule="cosin"), lambda: dip().suggest(schedule="cosin")):
        with pytest.raises(UnknownNameError, match="Did you mean 'cosine'"):
            call()


def test_json_gives_it_back_and_older_curves_have_none() -> None:
    curve = dip(plan=Plan(300, "wsd", 32, 6400))
    record = json.loads(json.dumps(curve.to_json()))
    assert lrs.LRCurve.from_json(record).plan == curve.plan
    del record["plan"]
    assert lrs.LRCurve.from_json(record).plan is None


def test_a_schedule_that_is_not_installed_any_more_is_left_out() -> None:
    assert Plan.from_json({**Plan(300, "wsd").to_json(), "schedule": "gone", "later": 1}) == Plan(300)


def test_a_range_test_knows_its_workloads_plan() -> None:
    workload = line(num_steps=90)
    halved = line(num_steps=90, accumulate=2, batch_size=8).range_test(end_lr=0.1)
    assert halved.plan == Plan(num_steps=90, batch_size=8, steps_per_epoch=4)
    assert workload.range_test(end_lr=0.1).plan == Plan(num_steps=90, steps_per_epoch=8)  # of 8 batches
    training = lrs.train(workload, lrs.schedules.Constant(1e-3))
    assert training.range_test(end_lr=0.1).plan == workload.range_test(end_lr=0.1).plan
    assert [member.plan.num_steps for member in workload.range_test(seeds=2, end_lr=0.1).members] == [90, 90]


def test_on_live_objects_it_is_what_was_given_and_the_data_tell() -> None:
    workload = line()
    model, optimizer, _ = workload.begin(0)
    batches = data()
    known = Plan(num_steps=20_000, schedule="cosine")
    given = lrs.range_test(model, optimizer, batches, workload.loss, end_lr=1e-2, num_steps=20, plan=known)
    assert given.plan == Plan(num_steps=20_000, schedule="cosine", steps_per_epoch=8)
    assert lrs.range_test(model, optimizer, batches, workload.loss, end_lr=1e-2, num_steps=20).plan.epochs is None
    larger = Plan(num_steps=20_000, batch_size=8, examples=160_000)  # of which the batches are a few
    assert (
        lrs.range_test(model, optimizer, batches, workload.loss, end_lr=1e-2, num_steps=20, plan=larger).plan.epochs
        == 1
    )
    with pytest.raises(InvalidInputError, match=r"num_steps must be at most the plan's.*it then takes 20 steps"):
        lrs.range_test(model, optimizer, batches, workload.loss, num_steps=100, plan=Plan(num_steps=60))


@pytest.mark.parametrize(("training", "ramp"), [(1000, 100), (300, 100), (90, 30), (30, 20)])
def test_a_short_training_has_a_short_range_test(training: int, ramp: int) -> None:
    curve = line(num_steps=training).range_test(end_lr=1e-3)
    assert len(curve.lr) == ramp


def test_a_budget_of_four_short_trainings_pays_for_a_range_test() -> None:
    found = lrs.compare(
        line(num_steps=60),
        strategies=["range_test"],
        schedules=["constant"],
        budget=4,
        seeds=1,
        storage=None,
        name="short",
    )
    assert len(found.trials) == 3
