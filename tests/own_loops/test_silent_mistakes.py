"""What a training function may get wrong without an error of its own, and would then be answered wrongly."""

import math

import numpy as np
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


def bowl(run, x, losses=lambda distance: distance.mean()):
    """NumPy: gradient descent on |x - 3|^2, in place."""
    for _ in range(run.num_steps):
        run.loss(losses((x - 3) ** 2))
        x -= run.lr * 2 * (x - 3)
        run.step()
        if run.due:
            run.report(val_loss=((x - 3) ** 2).mean())


def sgd_of(model):
    """scikit-learn: a loss that is told after the step, of a model that was made elsewhere."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(100, 3))
    targets = inputs @ [1.0, -2.0, 0.5]

    def train(run):
        fitted = model()
        for step in range(run.num_steps):
            fitted.eta0 = run.lr
            fitted.partial_fit(inputs[step :: run.num_steps], targets[step :: run.num_steps])
            run.step()
            run.loss(np.mean((fitted.predict(inputs) - targets) ** 2))
            if run.due:
                run.report(val_loss=np.mean((fitted.predict(inputs) - targets) ** 2))

    return train


def test_an_array_that_is_kept_from_call_to_call_is_refused():
    x = np.zeros(2)
    with pytest.raises(
        WorkloadError, match=f"first losses are 9, 9, 9, and {9 * 0.98**6:.4g}, .* after 3 steps at an LR of 0.01. Make"
    ):
        compared(lambda run: bowl(run, x))


def test_a_model_of_scikit_learn_that_is_kept_is_refused_and_one_made_inside_is_taken():
    from sklearn.linear_model import SGDRegressor

    kept = SGDRegressor(learning_rate="constant")
    with pytest.raises(WorkloadError, match="one that is kept outside it goes on from trial to trial"):
        compared(sgd_of(lambda: kept))
    taken = compared(sgd_of(lambda: SGDRegressor(learning_rate="constant", random_state=0)))
    assert math.isfinite(taken.recommend().value)


def test_a_torch_model_that_is_kept_and_stepped_by_hand_is_refused():
    weight = new_weight()

    def train(run):
        optimizer = torch.optim.SGD([weight], lr=1.0)

        def set_lr(step):
            optimizer.param_groups[0]["lr"] = run.lr

        trained(run, weight, optimizer, run.step, set_lr)

    with pytest.raises(WorkloadError, match="one that is kept outside it goes on"):
        compared(train)


def test_an_array_that_is_put_back_at_each_call_is_taken():
    x = np.zeros(2)

    def train(run):
        x[:] = 0
        bowl(run, x)

    assert math.isfinite(compared(train).recommend().value)


@pytest.mark.parametrize("of_the_data", [True, False])
def test_what_comes_out_otherwise_each_time_by_itself_is_no_model_that_was_kept(of_the_data):
    rng = np.random.default_rng(0)  # goes on from call to call

    def train(run):
        drawn = rng.normal(size=2)
        if of_the_data:
            bowl(run, np.zeros(2), lambda distance: distance @ np.abs(drawn))
        else:
            bowl(run, drawn)

    assert math.isfinite(compared(train).recommend().value)


def test_data_that_are_made_in_the_first_call_and_kept_are_no_model_that_was_kept():
    kept = []

    def train(run):
        kept.extend([] if kept else [torch.randn(2).numpy()])  # from then on the seeded generator is asked for less
        bowl(run, torch.randn(2).numpy(), lambda distance: distance @ np.abs(kept[0]))

    assert math.isfinite(compared(train).recommend().value)


def test_draws_of_the_seed_are_no_model_that_was_kept_whatever_the_lr_and_the_length():
    def train(run):
        order = torch.randperm(10 * run.num_steps)  # of the seeded generator; another at another length
        bowl(run, torch.randn(3).numpy() * int(order[0]))

    assert math.isfinite(compared(train, strategies=["random"], budget=2).recommend().value)


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
