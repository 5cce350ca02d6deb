"""Wherever in the user's code a StopIteration or SystemExit is raised, a training ends with it as an exception, and not without a word."""

import dataclasses
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import raised_by_user
from tests.helpers.workloads import data, line, squared_error

ERRORS = pytest.mark.parametrize("error", [StopIteration, SystemExit])


class Raises:
    """A function of the user's that raises at a later call."""

    def __init__(self, function, error, call):
        self.function, self.error, self.left = function, error, call

    def __call__(self, *args, **options):
        self.left -= 1
        if self.left == 0:
            raise self.error("mine")
        return self.function(*args, **options)


class Broken(nn.Linear):
    """Its forward raises at a later call."""

    def __init__(self, error, call):
        super().__init__(1, 1)
        self.raises = Raises(super().forward, error, call)

    def forward(self, x):
        return self.raises(x)


class BrokenSGD(torch.optim.SGD):
    def __init__(self, params, lr, error):
        super().__init__(params, lr=lr)
        self.raises = Raises(super().step, error, 3)

    def step(self, closure=None):
        return self.raises(closure)


@dataclass(frozen=True)
class BrokenSchedule(lrs.schedules.Constant):
    raises: Raises = dataclasses.field(default=None, kw_only=True)

    def __call__(self, step):
        return self.raises(super().__call__, step)


class Batches:
    """Batches whose iterator raises; it is a list's, so that the end of a pass is known."""

    def __init__(self, error, at):
        self.error, self.at = error, at

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == self.at:
            raise self.error("mine")
        return data()[index]


# an evaluation of 8 batches leaves the calls that are counted as they were, in a module's attribute: those at 0 and 10 see up to 18
PLACES = {
    "the model's factory": lambda error: {"model": Raises(nn.Linear, error, 1)},
    "the model, at once": lambda error: {"model": partial(Broken, error, 1)},
    "the model, in a step": lambda error: {"model": partial(Broken, error, 19)},
    "the model, in the last evaluation": lambda error: {"model": partial(Broken, error, 30 + 4)},
    "the optimizer's factory": lambda error: {"optimizer": Raises(torch.optim.SGD, error, 1)},
    "the optimizer": lambda error: {"optimizer": partial(BrokenSGD, error=error)},
    "param_groups": lambda error: {"param_groups": Raises(nn.Module.parameters, error, 1)},
    "the loss": lambda error: {"loss": Raises(squared_error, error, 8 + 4)},
    "metrics": lambda error: {"metrics": Raises(lambda m, b: {"loss": squared_error(m, b)}, error, 12)},
    "train_data": lambda error: {"train_data": Raises(data, error, 1)},
    "valid_data": lambda error: {"valid_data": Raises(data, error, 1)},
    "a batch": lambda error: {"train_data": lambda: Batches(error, 3)},
    "a validation batch": lambda error: {"valid_data": lambda: Batches(error, 3)},
    "a batch's mapping": lambda error: {"train_data": lambda: map(Raises(torch.clone, error, 3), data())},
}


@ERRORS
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_training_ends_with_it(place, error):
    changes = place(error)
    with pytest.raises(RuntimeError) as found:
        list(lrs.train(line(**changes), lrs.schedules.Constant(0.05)))
    source = raised_by_user(found.value)
    assert isinstance(source, error) or "len() says" in str(found.value)  # Python hides a StopIteration of __getitem__


@ERRORS
def test_of_a_schedule_as_well(error):
    schedule = BrokenSchedule(0.05, raises=Raises(lambda call, step: call(step), error, 3))
    with pytest.raises(RuntimeError, match=f"The user's code raised {error.__name__}: mine"):
        list(lrs.train(line(), schedule))


@ERRORS
def test_and_of_a_training_that_advances_or_is_loaded(error):
    training = lrs.train(line(loss=Raises(squared_error, error, 5)), lrs.schedules.Constant(0.05))
    with pytest.raises(RuntimeError, match="mine"):
        training.advance(20)
    assert (training.step, training.stopped, training.reason) == (4, "failed", f"{error.__name__} after step 4")
    assert list(training) == []


@ERRORS
def test_ctrl_c_closes_a_training(error):
    training = lrs.train(line(loss=Raises(squared_error, KeyboardInterrupt, 12)), lrs.schedules.Constant(0.05))
    with pytest.raises(KeyboardInterrupt):
        list(training)
    assert training.stopped == "closed"


def test_an_exit_because_outputs_are_not_finite_is_divergence():
    def loss(model, batch):
        outputs = model(batch[:, :1])
        if not outputs.isfinite().all():
            raise SystemExit("Loss is nan, stopping training")
        return ((outputs - batch[:, 1:]).double() ** 2).mean()  # which does not overflow before the outputs do

    training = lrs.train(line(loss=loss, eval_every=300, num_steps=300), lrs.schedules.Constant(50.0))
    assert [evaluation.step for evaluation in training] == [0]
    assert (training.stopped, training.reason[:10], 1 < training.step < 300) == ("diverged", "SystemExit", True)


@ERRORS
@pytest.mark.parametrize("call", [1, 2, 7])
def test_a_range_test_ends_with_it(error, call):
    with pytest.raises(RuntimeError, match="mine"):
        line(loss=Raises(squared_error, error, call)).range_test(num_steps=20, gain_ratio=False)


@ERRORS
def test_a_range_test_on_live_objects_ends_with_it_and_puts_everything_back(error):
    model = nn.Linear(1, 1)
    optimizer, before = torch.optim.SGD(model.parameters(), lr=0.3), model.weight.item()
    loss = Raises(squared_error, error, 9)
    with pytest.raises(RuntimeError, match="mine"):
        lrs.range_test(model, optimizer, data(), loss, num_steps=20, start_lr=0.1, gain_ratio=False)
    assert (model.weight.item(), optimizer.param_groups[0]["lr"]) == (before, 0.3)


@ERRORS
@pytest.mark.parametrize("call", [1, 15])
def test_a_pooled_range_test_ends_with_it(error, call):
    with pytest.raises(RuntimeError, match="mine"):
        line(model=partial(Broken, error, call)).range_test(seeds=2, num_steps=20, gain_ratio=False)


@ERRORS
def test_a_range_test_over_validation_batches_ends_with_it(error):
    work = line(valid_data=lambda: Batches(error, 0), metrics=lambda m, b: {"loss": squared_error(m, b)})
    with pytest.raises(RuntimeError, match=r"mine|len"):
        work.range_test(num_steps=20, valid_batches=2)


@ERRORS
def test_finding_the_lr_again_ends_with_it(error):
    work, ramp = line(loss=Raises(squared_error, error, 50)), {"gain_ratio": False}
    with pytest.raises(RuntimeError, match="mine"):
        lrs.refind(work, lrs.schedules.Constant(0.05), at=2, range_test=ramp)
