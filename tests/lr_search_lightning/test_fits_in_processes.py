"""A comparison of fits that is killed, one on Ray, and one whose trials are trained by two processes under DDP."""

import json
import multiprocessing
import os
import signal
import socket
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import pandas as pd
import pytest
import torch

import lr_search as lrs
import lr_search_lightning as lrl
from tests.helpers.lightning_nets import LRS, Data, Net, bare_trainer

pytestmark = [pytest.mark.trainers, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")]

FORKED = multiprocessing.get_context("fork")  # importing Lightning takes longer than all that these do
TIMES = ["seconds", "started", "ended", "worker"]
SETTINGS = {"strategies": ["random", "range_test"], "schedules": ["cosine"], "budget": 3, "seeds": 1, "progress": False}


class Killed(Net):
    """Kills its process at some step of all that the process takes."""

    steps_left, sent = 10**9, signal.SIGKILL

    def on_before_optimizer_step(self, optimizer):
        Killed.steps_left -= 1
        if Killed.steps_left == 0:
            os.kill(os.getpid(), Killed.sent)


def compare_killed(url, steps, sent=signal.SIGKILL):
    Killed.steps_left, Killed.sent = steps, sent
    return lrl.compare(Killed, Data(), trainer=partial(bare_trainer, max_epochs=4), storage=url, **SETTINGS)


@pytest.fixture(scope="module")
def undisturbed():
    return compare_killed(None, 10**9).trials.drop(columns=TIMES)


# in the range test, and in a trial
@pytest.mark.parametrize(("steps", "sent"), [(20, signal.SIGKILL), (90, signal.SIGTERM)], ids=["SIGKILL", "SIGTERM"])
def test_killed_it_goes_on_as_if_undisturbed(tmp_path, steps, sent, undisturbed):
    url = f"sqlite:///{tmp_path}/a.db"
    process = FORKED.Process(target=compare_killed, args=(url, steps, sent))
    process.start()
    process.join(60)
    assert process.exitcode == -sent
    after = compare_killed(url, 10**9).trials.drop(columns=TIMES)
    pd.testing.assert_frame_equal(after, undisturbed, check_exact=True)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("a.db")] == []


def test_after_ctrl_c_it_goes_on_as_if_undisturbed(tmp_path, undisturbed):
    url, before = f"sqlite:///{tmp_path}/a.db", signal.signal(signal.SIGINT, signal.default_int_handler)
    try:  # where the tests run in the background it is ignored
        with pytest.raises(KeyboardInterrupt):
            compare_killed(url, 90, signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    after = compare_killed(url, 10**9).trials.drop(columns=TIMES)
    pd.testing.assert_frame_equal(after, undisturbed, check_exact=True)


# ---- two processes under DDP ----


class Telling(Net):
    """Notes in a file of its process the LRs of each step, and the weights' sum at each validation."""

    def note(self, *values):
        with Path(f"{self.trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")

    def on_before_optimizer_step(self, optimizer):
        self.note("lrs", *(group["lr"] for group in optimizer.param_groups))

    def on_validation_start(self):
        self.note("validation", self.global_step, float(sum(each.sum() for each in self.parameters())))

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss_of(batch), sync_dist=True)


def two_processes():
    strategy = pl.strategies.DDPStrategy(process_group_backend="gloo")
    return bare_trainer(devices=2, strategy=strategy, max_epochs=4)


def train_as(rank, port, folder):
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE="2"
    )
    os.chdir(folder)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    comparison = lrl.compare(
        Telling, Data(), trainer=two_processes, storage="sqlite:///a.db", name="ddp", **SETTINGS | {"budget": 4}
    )
    assert (comparison is None) == (rank == 1)
    assert torch.equal(torch.get_rng_state(), before)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_under_ddp_the_first_process_decides_and_the_other_follows(tmp_path):
    port = free_port()
    processes = [FORKED.Process(target=train_as, args=(rank, port, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    assert [process.exitcode for process in processes] == [0, 0]
    first, other = ([json.loads(line) for line in (tmp_path / f"{rank}.jsonl").open()] for rank in range(2))
    assert first == other
    assert {round(each[2] / each[1], 9) for each in first if each[0] == "lrs"} == {LRS[1] / LRS[0]}
    trials = lrs.load(f"sqlite:///{tmp_path}/a.db", "ddp").trials
    assert set(trials["outcome"]) <= {"finished", "diverged"}
    assert set(trials["steps"][trials["outcome"] == "finished"]) == {12}  # half of the 24 batches each
