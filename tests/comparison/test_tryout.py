"""A workload that cannot be trained or judged is found before anything is stored, with the user's own exception."""

import traceback
from functools import partial

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import WorkloadError
from lr_search.executors.executor import Executor
from lr_search.testing.small_comparisons import compared
from tests.helpers.workloads import data, line, squared_error


def raises(error, *_):
    raise error


def too_strict(model, batch):
    return {"loss": raises(LookupError("no such label"))}


class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ArithmeticError("no way back")


class Momentous(torch.optim.SGD):
    def step(self, closure=None):
        raise OSError("the disk is full")


WRONG = {
    "a model that does not fit the data": ({"model": partial(nn.Linear, 3, 1)}, "RuntimeError: mat1 and mat2 shapes"),
    "labels that do not fit the loss": (
        {"loss": lambda model, batch: nn.functional.cross_entropy(model(batch[:, :1]), batch[:, 0].long() + 7)},
        "IndexError: Target",
    ),
    "a backward pass": (
        {"loss": lambda model, batch: Backward.apply(squared_error(model, batch))}, "ArithmeticError: no way back",
    ),
    "an optimizer": ({"optimizer": Momentous}, "OSError: the disk is full"),
    "metrics": ({"metrics": too_strict}, "LookupError: no such label"),
    "validation data that are otherwise": ({"valid_data": lambda: torch.zeros(4, 8)}, "IndexError: too many indices"),
    "validation data that are not there": (
        {"valid_data": partial(raises, FileNotFoundError("valid.npz"))}, "FileNotFoundError: valid.npz",
    ),
    "a factory": ({"model": partial(raises, SystemExit(0))}, "SystemExit: 0"),
    "parameter groups": ({"param_groups": partial(raises, StopIteration())}, "StopIteration"),
}  # fmt: skip


@pytest.fixture(params=["local", "fused", "other"])
def executor(request):
    class Never(Executor):
        """One of another package."""

        def run(self, tasks, progress):
            raise AssertionError

    return {"local": lrs.LocalExecutor(), "fused": lrs.FusedExecutor(width=2), "other": Never()}[request.param]


@pytest.mark.parametrize(("changes", "told"), WRONG.values(), ids=WRONG.keys())
def test_it_stops_compare_before_anything_is_stored(changes, told, executor, tmp_path, caplog):
    with pytest.raises(WorkloadError) as found:
        compared(line(**changes), executor, storage=f"sqlite:///{tmp_path}/a.db")
    rule = "A workload must get through its first step and evaluation, but it raised "
    assert str(found.value).startswith(rule + told)
    assert list(tmp_path.iterdir()) == []
    assert caplog.messages == []
    assert told in "".join(traceback.format_exception(found.value))


def test_the_users_traceback_is_whole():
    with pytest.raises(WorkloadError) as found:
        compared(line(metrics=too_strict))
    names = [frame.name for frame in traceback.extract_tb(found.value.__cause__.__traceback__)]
    assert names[-2:] == ["too_strict", "raises"]
    assert "(test_tryout.py, line " in str(found.value)


def test_what_is_stored_already_stays(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    before = compared(line(), storage=url).trials
    with pytest.raises(WorkloadError):
        compared(line(model=partial(nn.Linear, 3, 1)), storage=url, fresh=True)
    assert lrs.load(url, "comparison").trials.equals(before)


def test_every_optimizer_is_tried():
    with pytest.raises(WorkloadError, match="with the optimizer 'bad' it raised OSError: the disk is full"):
        compared(line(), optimizers={"good": torch.optim.SGD, "bad": Momentous})


def test_and_the_test_data_where_they_are_to_confirm():
    work = line(test_data=lambda: torch.zeros(4, 8))
    with pytest.raises(WorkloadError, match="IndexError: too many indices"):
        compared(work, confirm=1)
    assert len(compared(work).trials) == 3


def test_a_dry_run_tries_it_too():
    with pytest.raises(WorkloadError, match="no such label"):
        compared(line(metrics=too_strict), dry_run=True)


def test_our_own_errors_are_told_as_they_are():
    with pytest.raises(WorkloadError, match=r"^objective must be a metric"):
        compared(line(objective="f1", metrics=lambda model, batch: {"loss": 1.0}))


def test_ctrl_c_meanwhile_is_ctrl_c():
    with pytest.raises(KeyboardInterrupt):
        compared(line(metrics=lambda model, batch: raises(KeyboardInterrupt())))


def test_the_try_out_changes_no_trial():
    """One step is tried, and one validation batch; a training starts from the same weights and batches as without."""
    seen = []

    def loss(model, batch):
        seen.append((model.training, batch.sum().item()))
        return squared_error(model, batch)

    trials = compared(line(loss=loss), strategies={"mine": 0.05}).trials
    training = lrs.train(line(), lrs.schedules.Constant(0.05))
    assert trials["objective"].item() == list(training)[-1].metrics["loss"]
    assert len({total for training, total in seen if not training}) == len(data())
