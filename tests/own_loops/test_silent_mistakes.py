"""What a training function may get wrong without an error of its own, and would then be answered wrongly."""

import math

import pytest
import torch

import lr_search as lrs
from lr_search.errors import WorkloadError

STEPS = 30


def compared(train, **settings):
    wanted = {"strategies": {"mine": 0.1}, "schedules": ["cosine"], "seeds": 1, "budget": 1, "storage": None}
    return lrs.compare(lrs.Trainable(train, num_steps=STEPS), **{**wanted, "progress": False, **settings})


def trained(run, weight, optimizer, step, before=lambda step: None):
    for number in range(run.num_steps):
        before(number)
        loss = (weight - 3).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step()
        run.loss(loss)
        if run.due:
            run.report(val_loss=(weight.detach() - 3).square().sum())


def new_weight():
    return torch.nn.Parameter(torch.zeros(2))


def test_weights_that_are_kept_from_call_to_call_are_refused_and_left_as_they_were():
    weight = torch.nn.Parameter(torch.ones(2))

    def train(run):
        optimizer = torch.optim.SGD([weight], lr=run.lr)
        trained(run, weight, optimizer, run.attach(optimizer).step)

    with pytest.raises(WorkloadError, match="Make the model and the optimizer inside the function"):
        compared(train)
    assert weight.detach().tolist() == [1, 1]


def test_a_model_that_is_put_back_at_each_call_is_taken():
    weight = new_weight()

    def train(run):
        with torch.no_grad():
            weight.zero_()
        optimizer = torch.optim.SGD([weight], lr=run.lr)
        trained(run, weight, optimizer, run.attach(optimizer).step)

    assert math.isfinite(compared(train).recommend().value)


@pytest.mark.parametrize("strategies", [{"mine": 0.1}, ["range_test"]])
def test_a_loop_that_takes_the_lr_of_the_first_step_for_all_is_refused(strategies):
    def train(run):
        weight = new_weight()
        trained(run, weight, torch.optim.SGD([weight], lr=run.lr), run.step)

    with pytest.raises(
        WorkloadError, match=r"must take each step at its LR, but in \d+ steps it asked for that of the first"
    ):
        compared(train, strategies=strategies, budget=3)


def test_under_a_constant_schedule_the_lr_of_the_first_step_is_that_of_all():
    def train(run):
        weight = new_weight()
        trained(run, weight, torch.optim.SGD([weight], lr=run.lr), run.step)

    assert math.isfinite(compared(train, schedules=["constant"]).recommend().value)


def test_a_loop_that_never_asks_for_the_lr_is_refused_before_the_first_trial():
    def train(run):
        weight = new_weight()
        trained(run, weight, torch.optim.SGD([weight], lr=0.1), run.step)

    with pytest.raises(WorkloadError, match="in 3 steps it asked for none"):
        compared(train, schedules=["constant"])


@pytest.mark.parametrize("several", [False, True])
def test_an_lr_that_something_else_sets_is_refused(several):
    def train(run):
        weight = new_weight()
        optimizer = torch.optim.SGD([weight], lr=run.lr)

        def set_by_hand(step):
            optimizer.param_groups[0]["lr"] = 0.01 * 0.9**step

        trained(run, weight, optimizer, run.attach([optimizer] if several else optimizer).step, set_by_hand)

    with pytest.raises(WorkloadError, match=r"by run.attach's scheduler alone, but in step 1 it was 0.01 where 1e-10"):
        compared(train)


def test_a_scheduler_beside_the_attached_one_is_refused():
    def train(run):
        weight = new_weight()
        optimizer = torch.optim.SGD([weight], lr=run.lr)
        followed, other = run.attach(optimizer), torch.optim.lr_scheduler.StepLR(optimizer, 10)
        trained(run, weight, optimizer, lambda: (followed.step(), other.step()))

    with pytest.raises(WorkloadError, match=r"in step 11 it was .* Take out what else sets it"):
        compared(train)
