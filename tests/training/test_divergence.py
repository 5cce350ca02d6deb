"""What ends a training early: a non-finite loss or weight, and nothing else; at a step that no setting moves."""

import pytest
import torch
from torch import nn

import lr_search as lrs


class OneWeight(nn.Module):
    def __init__(self, start=1.0, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(start, dtype=dtype))


@pytest.fixture
def one_weight(constant):
    """Trains one weight by plain SGD until it ends. Returns: the training and its evaluations."""

    def run(loss, lr, *, start=1.0, dtype=torch.float32, model=None, **changes):
        settings = {"num_steps": 60, "eval_every": 10, "device": "cpu"} | changes
        ones = [torch.ones(4)] * 3
        workload = lrs.Workload(
            model=model or (lambda: OneWeight(start, dtype)),
            optimizer=torch.optim.SGD,
            loss=loss,
            **({"train_data": lambda: ones, "valid_data": lambda: ones} | settings),
        )
        training = lrs.train(workload, constant(lr))
        return training, list(training)

    return run


EVERY = pytest.mark.parametrize("eval_every", [1, 3, 5, 7, 1000])


# w <- w - 10 * 2w = -19 w, so the loss w^2 of step k is 19^(2k - 2): the first above float32's largest number
OVERFLOW = next(k for k in range(1, 100) if 19.0 ** (2 * k - 2) > torch.finfo().max)


@EVERY
@pytest.mark.parametrize("num_steps", [OVERFLOW, OVERFLOW + 1, 60])
def test_a_loss_that_overflows_ends_it_at_that_step(one_weight, eval_every, num_steps):
    training, evaluations = one_weight(lambda m, b: m.weight**2, 10.0, num_steps=num_steps, eval_every=eval_every)
    assert (training.stopped, training.step) == ("diverged", OVERFLOW)
    assert training.reason == f"the training loss became inf at step {OVERFLOW}"
    assert [e.step for e in evaluations] == list(range(0, OVERFLOW, eval_every))


@EVERY
def test_one_step_before_the_overflow_it_finishes(one_weight, eval_every):
    training, _ = one_weight(lambda m, b: m.weight**2, 10.0, num_steps=OVERFLOW - 1, eval_every=eval_every)
    assert (training.stopped, training.step) == ("finished", OVERFLOW - 1)


def root(model, batch):
    """The gradient of a weight that was moved from 1 is nan at a batch of zeros, where the loss is 0."""
    return ((model.weight * batch).abs() + (model.weight == 1.0)).sqrt().mean()


ZEROS_FIFTH = [torch.ones(4)] * 4 + [torch.zeros(4)] + [torch.ones(4)] * 55


@EVERY
@pytest.mark.parametrize(("num_steps", "expected"), [(5, 5), (6, 6), (60, 6)])
def test_a_weight_that_becomes_nan_ends_it_at_the_next_loss_or_the_last_step(
    one_weight, eval_every, num_steps, expected
):
    data = {"train_data": lambda: ZEROS_FIFTH}
    training, evaluations = one_weight(root, 0.01, num_steps=num_steps, eval_every=eval_every, **data)
    assert (training.stopped, training.step) == ("diverged", expected)
    assert [e.step for e in evaluations] == list(range(0, 5, eval_every))


def test_a_weight_that_the_loss_does_not_use_ends_it_too(one_weight):
    class Unused(OneWeight):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.tensor(1.0))

    def loss(model, batch):  # once it was moved the other weight gets a nan gradient, and its term no value
        moved = (model.unused != 1.0).float()
        return (
            model.weight**2
            + 0.1 * model.unused.nan_to_num()
            + ((model.unused * 0).abs() + 1 - moved).sqrt().nan_to_num()
        )

    training, _ = one_weight(loss, 0.01, model=Unused)
    assert training.stopped == "diverged"
    assert "a weight became non-finite" in training.reason


@EVERY
def test_an_exception_on_nan_weights_is_divergence(one_weight, eval_every):
    def loss(model, batch):
        if not model.weight.isfinite():
            raise ArithmeticError("no such number")
        return root(model, batch)

    training, _ = one_weight(loss, 0.01, eval_every=eval_every, train_data=lambda: ZEROS_FIFTH)
    assert (training.stopped, training.step) == ("diverged", 5)
    assert "ArithmeticError" in training.reason


class Overflowing(nn.Module):
    """Gives 0, but nan once its weight is above log(float32's largest) = 88.7."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.0))
        self.head = nn.Sequential(nn.Identity())

    def forward(self, batch):
        power = self.weight.exp()
        return self.head(batch * (power - power))


def normal_loss(model, batch):
    """The weight rises by the LR at every step; torch refuses a Normal around nan."""
    return -torch.distributions.Normal(model(batch), 1.0).log_prob(batch).mean() - model.weight


@EVERY
def test_an_exception_on_a_nan_forward_pass_with_finite_weights_is_divergence(one_weight, eval_every):
    training, _ = one_weight(normal_loss, 10.0, model=Overflowing, eval_every=eval_every)
    assert float(training.model.weight.detach()) == 90.0  # 10 a step: 9 steps were taken
    assert (training.stopped, training.step) == ("diverged", 9)
    assert "ValueError" in training.reason


def test_an_exception_on_a_nan_forward_pass_of_the_last_evaluation_is_divergence(one_weight):
    training, evaluations = one_weight(normal_loss, 10.0, model=Overflowing, num_steps=9)
    assert (training.stopped, training.step, [e.step for e in evaluations]) == ("diverged", 9, [0])


def test_an_exception_before_the_first_step_is_the_users(one_weight):
    def loss(model, batch):
        return torch.distributions.Normal(model(batch * float("nan")), 1.0).log_prob(batch).mean()

    with pytest.raises(ValueError, match="Expected parameter loc"):
        one_weight(loss, 0.1, model=Overflowing, metrics=lambda model, batch: {"loss": 0.0})


@pytest.mark.parametrize("eval_every", [2, 1000])
@pytest.mark.parametrize("masked", [False, True])
def test_an_exception_while_all_is_finite_propagates_and_ends_it(one_weight, eval_every, masked):
    class Masked(OneWeight):
        def __init__(self):
            super().__init__()
            self.mask = nn.Threshold(2.0, float("-inf") if masked else 0.0)  # -inf is what masks are made of

    calls = []

    def loss(model, batch):
        model.mask(batch * model.weight)
        calls.append(model.training)
        if sum(calls) == 8:
            raise ZeroDivisionError("mine")
        return model.weight**2

    trainings = []

    def keep():
        trainings.append(Masked())
        return trainings[-1]

    with pytest.raises(ZeroDivisionError, match="mine"):
        one_weight(loss, 0.1, model=keep, eval_every=eval_every)
    assert sum(calls) in (8, 9)  # once more to see what its outputs were
    assert float(trainings[0].weight.detach()) == pytest.approx(0.8**7)  # w <- 0.8 w, seven times


def test_after_an_exception_there_is_no_going_on(make_workload, constant):
    def loss(model, batch):
        raise SystemExit

    workload = make_workload(loss=loss, metrics=lambda model, batch: {"loss": 1.0})
    training = lrs.train(workload, constant())
    assert next(training).step == 0
    with pytest.raises(RuntimeError, match="The user's code raised SystemExit"):
        next(training)
    assert list(training) == []
    assert (training.stopped, training.reason) == ("failed", "SystemExit after step 0")


def test_an_exception_in_the_metrics_of_a_finite_model_propagates(make_workload, constant):
    evaluated = []

    def metrics(model, batch):
        evaluated.append(batch)
        if len(evaluated) == 5:
            raise LookupError("no such label")
        return {"loss": 1.0}

    training = lrs.train(make_workload(metrics=metrics), constant())
    assert next(training).step == 0  # three batches
    with pytest.raises(LookupError, match="no such label"):
        next(training)
    assert (training.stopped, training.reason) == ("failed", "LookupError after step 5")


def test_an_exception_in_the_data_propagates(make_workload, constant, examples):
    def batches():
        for i in range(3):
            yield tuple(part[8 * i : 8 * i + 8] for part in examples)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(lrs.train(make_workload(train_data=batches), constant()))


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(1e37, torch.float32), (1e300, torch.float64)],  # the second is beyond float32
)
def test_large_finite_losses_do_not_end_it(one_weight, scale, dtype):
    training, evaluations = one_weight(lambda m, b: m.weight * 1e-9 + scale, 0.1, dtype=dtype)
    assert (training.stopped, training.step) == ("finished", 60)
    assert evaluations[-1].train_loss == pytest.approx(scale)


def test_a_loss_that_rises_a_millionfold_and_falls_again_does_not_end_it(one_weight):
    signs = [torch.tensor([-1.0])] * 25 + [torch.tensor([1.0])] * 35  # first up the parabola, then down
    training, evaluations = one_weight(
        lambda m, b: (b * m.weight**2).sum() if m.training else m.weight**2, 0.2, train_data=lambda: signs
    )
    losses = [e.metrics["loss"] for e in evaluations]
    # w is multiplied by 1.4 at each of 25 steps, then by 0.6 at each of 35
    assert losses == pytest.approx([1.4 ** (2 * min(s, 25)) * 0.6 ** (2 * max(s - 25, 0)) for s in range(0, 61, 10)])
    assert max(losses) > 1e5 > 1 > losses[-1]
    assert training.stopped == "finished"
