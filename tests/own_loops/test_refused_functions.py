"""What a training function and its settings may be, and what is refused in words."""

import math
import re
from functools import partial

import pandas as pd
import pytest
import torch

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from tests.helpers.functions import SMALL, STEPS, TIMES, compared, descend, trainable_of


def takes_more(run):
    descend(run)
    run.step()


def counts_twice(run):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=run.lr)
    scheduler = run.attach(optimizer)
    while not run.done:
        optimizer.step()
        scheduler.step()
        run.step()
        run.report(val_loss=1.0)


def takes_fewer(run):
    for _ in range(min(5, run.num_steps)):
        run.step()
        run.report(val_loss=run.lr)


def never_steps(run):
    run.loss(1.0)
    run.report(val_loss=1.0)


def never_reports(run):
    for _ in range(run.num_steps):
        run.loss(run.lr)
        run.step()


def reports_another(run):
    for _ in range(run.num_steps):
        run.step()
        if run.due:
            run.report(loss=1.0)


def swallows(run):
    for _ in range(run.num_steps):
        try:
            run.loss(run.lr * math.nan)
            run.step()
        except Exception:
            continue


def swallows_for_ever(run):
    while not run.done:
        try:
            run.loss(run.lr * math.nan)
            run.step()
        except Exception:
            continue


def steps_twice(run):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=run.lr)
    scheduler = run.attach(optimizer)
    for _ in range(run.num_steps):
        optimizer.step()
        scheduler.step()
        scheduler.step()
        if run.due:
            run.report(val_loss=1.0)


def raises(run):
    raise OSError("no such file")


def yields(run):
    yield run.lr


async def awaits(run):
    run.step()


async def awaits_and_yields(run):
    yield run.lr


class YieldsWhenCalled:
    def __call__(self, run):
        yield run.lr


class OfARun:
    def __init__(self, run):
        self.run = run


@pytest.mark.parametrize(
    ("train", "rule"),
    [
        (takes_more, r"takes_more\(run\) must take num_steps=40 steps, but called step\(\) again after the 40th"),
        (takes_fewer, r"takes_fewer\(run\) must take num_steps=40 steps, but returned after 5"),
        (never_steps, r"never_steps\(run\) must take num_steps=40 steps, but took none. Call scheduler.step\(\)"),
        (never_reports, r"never_reports\(run\) must report val_loss after its last step"),
        (
            reports_another,
            r"objective must be among what run.report\(...\) is given, but got 'val_loss'; reported: loss",
        ),
        (swallows, r"swallows\(run\) must let lr_search.Stop pass, but it went on after Stop was raised"),
        (swallows_for_ever, r"swallows_for_ever\(run\) must let lr_search.Stop pass"),
        (steps_twice, r"steps_twice\(run\) must take num_steps=40 steps, but called step\(\) again after the 40th"),
        (counts_twice, r"counts_twice\(run\) must count each step once, but called run.step\(\) beside the scheduler"),
        (raises, r"raises\(run\) must get through its first steps, but it raised OSError: no such file"),
    ],
)
def test_a_function_that_does_otherwise_is_told_so(train, rule):
    with pytest.raises(WorkloadError, match=rule):
        compared(train, strategies={"mine": 0.1}, schedules=["constant"], budget=1)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"optimizers": ["adam"]}, "optimizers= needs a Workload"),
        ({"strategies": ["probe"]}, "the strategy 'probe' needs a Workload"),
        ({"schedules": ["refind"]}, "the schedule 'refind' needs a Workload"),
        ({"snapshots": 2}, "snapshots= needs a Workload, which .* but got the training function descend"),
        ({"range_test": {"gain_ratio": True}}, "gain_ratio= needs a Workload"),
        ({"range_test": {"valid_batches": 1}}, "valid_batches= needs a Workload"),
    ],
)
def test_what_only_a_workload_can_do_is_refused(settings, what):
    with pytest.raises(InvalidInputError, match=what):
        compared(descend, **settings)


def test_what_takes_a_workload_alone_says_that_only_a_comparison_takes_a_function():
    with pytest.raises(WorkloadError, match=r"must be an lr_search.Workload, but .* compare\(...\) takes others too"):
        lrs.train(trainable_of(descend), lrs.schedules.by_name("constant", lr=0.1, num_steps=STEPS))


def test_what_is_left_off_need_not_be_left_out():
    left_off = {
        "snapshots": 0,
        "optimizers": None,
        "range_test": {"num_steps": 20, "gain_ratio": False, "valid_batches": 0},
    }
    comparison = compared(descend, strategies=["range_test"], schedules=["sgdr"], **left_off)
    assert math.isfinite(comparison.recommend().value)


@pytest.mark.parametrize(("asked", "kept"), [({}, 2), ({"snapshots": 0}, 0), ({"snapshots": 3}, 3)])
def test_the_snapshots_of_a_workload_are_two_unless_a_number_is_given(asked, kept):
    model = torch.nn.Linear(1, 1)
    batches = [(torch.linspace(-1, 1, 8)[:, None], torch.linspace(-3, 3, 8)[:, None])] * 2
    workload = lrs.Workload(
        model=model, optimizer=torch.optim.SGD, loss=torch.nn.MSELoss(), train_data=batches, valid_data=batches,
        num_steps=STEPS, combine="mean",
    )  # fmt: skip
    settings = {"strategies": {"mine": 0.1}, "schedules": ["sgdr"], "seeds": 1, "budget": 1, "storage": None}
    trials = lrs.compare(workload, **settings, **asked, progress=False).trials
    assert trials.get("ensemble_members", pd.Series([0])).fillna(0).tolist() == [kept]


def test_a_range_test_on_live_objects_says_what_those_call_that_have_none():
    with pytest.raises(
        InvalidInputError,
        match=r"model must be a torch.nn.Module, but got .* have one of their own: workload.range_test\(\)",
    ):
        lrs.range_test(trainable_of(descend), None, [], None)


def test_retraining_for_the_weights_needs_a_workload():
    comparison = compared(descend, strategies={"mine": 0.1}, schedules=["constant"], budget=1)
    with pytest.raises(InvalidInputError, match=r"retrain\(\) needs a Workload"):
        comparison.retrain()


def test_fused_training_says_that_it_needs_a_workload_and_trains_one_by_one():
    settings = {"strategies": ["grid"], "schedules": ["constant"], "budget": 2}
    with pytest.warns(UserWarning, match="FusedExecutor needs a Workload"):
        fused = compared(descend, executor=lrs.FusedExecutor(), **settings)
    alone = compared(descend, **settings)
    pd.testing.assert_frame_equal(*(each.trials.drop(columns=TIMES) for each in (fused, alone)), check_exact=True)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"num_steps": 0}, "num_steps must be a whole number, at least 1"),
        ({"eval_every": 0}, "eval_every must be a whole number, at least 1"),
        ({"batch_size": 0}, "batch_size must be a whole number, at least 1"),
        ({"steps_per_epoch": 0.0}, "steps_per_epoch must be above 0"),
        ({"direction": "up"}, "direction must be 'minimize' or 'maximize'"),
        ({"device": "abacus"}, "device must be 'auto' or a torch device"),
        ({"train": lambda: None}, r"train must be a function of \(run\)"),
        ({"train": 5}, "train must be a function, but got 5"),
    ],
)
def test_a_wrong_setting_is_told(settings, rule):
    with pytest.raises(InvalidInputError, match=rule):
        trainable_of(**{"train": descend, **settings})


@pytest.mark.parametrize(
    ("train", "rule"),
    [
        (yields, "but got yields, which yields: a call runs nothing. Write it without yield"),
        (partial(yields), "which yields: a call runs nothing"),
        (YieldsWhenCalled(), "which yields: a call runs nothing"),
        (awaits, "but got awaits, which is async: a call runs nothing. Write it without async"),
        (awaits_and_yields, "which is async: a call runs nothing"),
        (OfARun, "but got OfARun, which is a class: a call makes an object. Pass a function"),
        (torch.nn.Linear, "but got Linear, which is a class"),
    ],
)
def test_a_function_that_a_call_does_not_run_is_refused(train, rule):
    with pytest.raises(InvalidInputError, match=rule):
        trainable_of(train)


@pytest.mark.parametrize(
    ("decorate", "came"),
    [
        (lambda: lrs.trainable(descend), "descend"),
        (lambda: lrs.trainable(descend, num_steps=STEPS), "descend"),
        (lambda: lrs.trainable(), "nothing"),
        (lambda: lrs.trainable(300), "300"),
    ],
)
def test_the_decorator_without_its_parentheses_or_num_steps_says_how_it_is_written(decorate, came):
    rule = f"trainable must be called with num_steps=... by name before it is given the function, but got {came}"
    with pytest.raises(InvalidInputError, match=re.escape(f"{rule}. Write @lr_search.trainable(num_steps=300) above")):
        decorate()


def test_the_decorator_tells_a_wrong_setting_before_it_is_given_a_function():
    with pytest.raises(InvalidInputError, match="steps_per_epoch must be above 0"):
        lrs.trainable(num_steps=STEPS, steps_per_epoch=-1)


def test_a_plain_function_is_told_how_to_become_one():
    with pytest.raises(WorkloadError, match=r"decorate a training function: @lr_search.trainable"):
        lrs.compare(descend, **SMALL)


def test_a_metric_that_is_a_function_of_something_is_refused_in_the_first_step():
    def train(run):
        for step in range(run.num_steps):
            run.step()
            if step == 0:
                run.report(val_loss=lambda model: 1.0)

    with pytest.raises(
        InvalidInputError, match=r"val_loss must be a function of \(\), but got <lambda>, which takes \(model\)"
    ):
        compared(train)


@pytest.mark.parametrize("given", [None, [], "adam", [torch.nn.Linear(1, 1)]])
def test_what_cannot_be_attached_is_refused(given):
    with pytest.raises(InvalidInputError, match=r"optimizer must be|run.attach must be given a torch optimizer"):
        compared(lambda run: run.attach(given))
