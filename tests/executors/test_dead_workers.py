"""A data loader's worker that is killed, and an exception without words: recording a failure cannot fail."""

import math
import os
import signal

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info

import lr_search as lrs
from lr_search.errors import TrialsFailedError, error_text
from lr_search.executors.interrupts import worker_deaths_held
from lr_search.storage.open import open_storage
from tests.helpers.workloads import line


class Deadly(Dataset):
    """Kills the worker that loads one of its examples, once a file is there."""

    def __init__(self, switch):
        self.switch = switch

    def __len__(self):
        return 32

    def __getitem__(self, index):
        if index == 20 and get_worker_info() is not None and self.switch.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.tensor([index / 32])


@pytest.mark.processes
@pytest.mark.parametrize("executor", [lrs.LocalExecutor(), lrs.FusedExecutor(width=2)], ids=["local", "fused"])
def test_a_loader_whose_workers_die_fails_its_trials_and_leaves_none_waiting(executor, tmp_path):
    opened = []
    healthy = math.inf

    def loader():
        opened.append(1)
        if len(opened) > healthy:
            (tmp_path / "switch").touch()
        return DataLoader(Deadly(tmp_path / "switch"), batch_size=4, num_workers=2, multiprocessing_context="fork")

    work = line(
        model=lambda: nn.Linear(1, 1), train_data=loader, loss=lambda model, batch: model(batch).square().mean(),
        metrics=None, valid_data=lambda: [torch.ones(4, 1)], num_steps=20, eval_every=10,
    )  # fmt: skip
    url = f"sqlite:///{tmp_path}/a.db"
    settings = {
        "strategies": ["grid"],
        "schedules": ["constant"],
        "budget": 6,
        "seeds": 1,
        "executor": executor,
        "storage": url,
        "name": "dead",
    }
    # without the plan, which reads batches for as long as it has time
    lrs.compare(work, **{**settings, "storage": None}, progress=False)
    healthy = len(opened) + len(opened) // 2  # the same again, until half of it is done
    with pytest.raises(TrialsFailedError, match="3 trials in a row failed"):
        lrs.compare(work, **settings, progress=False)
    trials = lrs.load(open_storage(url), "dead").trials
    assert trials["state"].tolist()[-3:] == ["FAIL"] * 3
    assert "RUNNING" not in set(trials["state"])
    assert trials["reason"][trials["state"] == "FAIL"].str.contains("worker|Connection|EOF").all()


def test_a_child_that_dies_raises_nothing_inside_and_the_handler_is_as_before():
    with worker_deaths_held():
        pass  # torch's handler is set once a process: here at the latest
    before = signal.getsignal(signal.SIGCHLD)
    seen = []

    def mine(number, frame):
        seen.append(number)
        raise RuntimeError("DataLoader worker is killed")

    signal.signal(signal.SIGCHLD, mine)
    try:
        with worker_deaths_held():
            signal.raise_signal(signal.SIGCHLD)
        assert signal.getsignal(signal.SIGCHLD) is mine
        with pytest.raises(RuntimeError, match="is killed"):
            signal.raise_signal(signal.SIGCHLD)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert seen == [signal.SIGCHLD] * 2


class WordlessError(Exception):
    def __str__(self):
        raise LookupError("no words")


def test_an_exception_whose_text_raises_is_recorded():
    def loss(model, batch):
        raise WordlessError

    assert error_text(WordlessError()) == "WordlessError: (its text cannot be had: LookupError)"
    with pytest.raises(lrs.errors.WorkloadError, match=r"WordlessError: .its text cannot be had"):
        lrs.compare(line(loss=loss), strategies=["grid"], budget=2, seeds=1, storage=None)


def test_what_an_exception_says_reaches_no_terminal_as_it_is():
    assert error_text(ValueError("red \x1b[31m bell \x07 nul \x00")) == r"ValueError: red \x1b[31m bell \x07 nul \x00"


CONTROL = pytest.mark.parametrize("name", ["a\x1b[31mb", "a\x07", "a\x00b", "a\nb", "", " ", "a\u202eb"], ids=ascii)


@CONTROL
@pytest.mark.parametrize("what", ["name", "strategies", "schedules", "optimizers", "metrics"])
def test_a_name_that_cannot_be_printed_is_refused_before_anything_is_stored(what, name, tmp_path):
    changes = {
        "name": {"name": name}, "strategies": {"strategies": {name: 0.1}}, "optimizers": {"optimizers": {name: torch.optim.SGD}},
        "schedules": {"schedules": {name: lrs.schedules.Constant}}, "metrics": {},
    }  # fmt: skip
    work = line(metrics=lambda model, batch: {"loss": 1.0, name: 2.0}) if what == "metrics" else line()
    settings = {"strategies": ["grid"], "budget": 2, "seeds": 1, "storage": f"sqlite:///{tmp_path}/a.db"}
    with pytest.raises(lrs.errors.InvalidInputError, match="name must be a text of 1 to 100 printable characters"):
        lrs.compare(work, **(settings | changes[what]))
    assert list(tmp_path.iterdir()) == []
