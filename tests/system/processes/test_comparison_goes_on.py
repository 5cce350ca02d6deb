"""Killed is not lost: SIGKILL, Ctrl-C, orphans, and several processes on one comparison."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest

import lr_search as lrs
from lr_search.storage.open import open_storage, quiet_optuna
from lr_search.storage.ownership import CLAIM_SECONDS, LOST_SECONDS, Claim, born, is_alive

pytestmark = pytest.mark.processes

SCRIPT = """
import sys, time, torch
import optuna
import lr_search as lrs
from tests.helpers.workloads import line, squared_error

def slow_loss(model, batch):
    time.sleep(0.001)
    return squared_error(model, batch)

torch.set_num_threads(1)
pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0) if "pruned" in sys.argv else None
lrs.compare(line(loss=slow_loss), budget=4, seeds=2, schedules=["constant", "sgdr"], range_test={"num_steps": 20},
            strategies={"grid": "grid", "random": "random", "range_test": "range_test", "tpe": optuna.samplers.TPESampler},
            storage=sys.argv[1], name="killed", pruner=pruner)
"""
TIMES = ["seconds", "started", "ended", "worker"]
ROOT = Path(__file__).parents[3]


def start(url: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, url, *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finished(worker: subprocess.Popen[str]) -> None:
    _, errors = worker.communicate(timeout=300)
    assert worker.returncode == 0, errors


def frame(url: str) -> pd.DataFrame:
    return lrs.load(url, "killed").trials.drop(columns=TIMES)


def count(url: str) -> int:
    """Finished trials so far; 0 while there is no comparison."""
    try:
        trials = frame(url)
    except lrs.errors.LRSearchError:
        return 0
    return int((trials["state"] != "RUNNING").sum())


def wait_for(url: str, trials: int, worker: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while count(url) < trials:
        assert worker.poll() is None, worker.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("words", [(), ("pruned",)])
def test_killed_twice_and_started_again_it_gives_the_frame_of_an_undisturbed_run(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    undisturbed, killed = f"sqlite:///{tmp_path}/whole.db", f"sqlite:///{tmp_path}/killed.db"
    finished(start(undisturbed, *words))
    for trials in (5, 25):
        worker = start(killed, *words)
        wait_for(killed, trials, worker)
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        assert count(killed) < len(frame(undisturbed))
    finished(start(killed, *words))
    pd.testing.assert_frame_equal(frame(killed), frame(undisturbed), check_exact=True)


def test_processes_that_share_a_comparison_run_each_trial_once(tmp_path: Path) -> None:
    alone, shared = f"sqlite:///{tmp_path}/alone.db", f"sqlite:///{tmp_path}/shared.db"
    finished(start(alone))
    for worker in [start(shared) for _ in range(3)]:
        finished(worker)
    pd.testing.assert_frame_equal(frame(shared), frame(alone), check_exact=True)


def test_an_interrupted_trial_goes_back_to_waiting_and_runs_under_its_number(tmp_path: Path) -> None:
    from tests.helpers.workloads import line, squared_error

    url = f"sqlite:///{tmp_path}/a.db"
    settings = {
        "strategies": ["random"],
        "schedules": ["constant"],
        "budget": 3,
        "seeds": 1,
        "storage": url,
        "name": "killed",
    }
    calls = {"left": 120}

    def interrupting(model, batch):  # type: ignore[no-untyped-def]
        calls["left"] -= 1
        if calls["left"] == 0:
            raise KeyboardInterrupt
        return squared_error(model, batch)

    with pytest.raises(KeyboardInterrupt):
        lrs.compare(line(loss=interrupting), **settings)  # type: ignore[arg-type]
    with quiet_optuna():
        studies = optuna.load_study(study_name="killed/random/constant/SGD/seed 0", storage=open_storage(url)).trials
    assert "RUNNING" not in {t.state.name for t in studies}
    assert "WAITING" in {t.state.name for t in studies}
    lrs.compare(line(loss=interrupting), **settings)  # type: ignore[arg-type]
    undisturbed = lrs.compare(line(), **{**settings, "storage": None}).trials.drop(columns=TIMES)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(frame(url), undisturbed, check_exact=True)


def test_a_trial_of_this_process_is_alive() -> None:
    now = time.time()
    assert is_alive(Claim().signature(), started=now - 1, now=now)


def test_a_trial_of_a_process_that_is_gone_is_not() -> None:
    worker = subprocess.Popen([sys.executable, "-c", "pass"])
    mark = {**Claim().signature(), "pid": worker.pid}
    worker.wait()
    assert not is_alive(mark, started=mark["seen"] - 1, now=mark["seen"] + 1)
    assert born(worker.pid) is None


def test_a_process_number_that_was_used_again_is_not_the_owner() -> None:
    mark = {**Claim().signature(), "born": "long ago"}
    assert not is_alive(mark, started=mark["seen"] - 1, now=mark["seen"])


def test_another_machines_trial_is_alive_until_it_gives_no_sign() -> None:
    mark = {**Claim().signature(), "machine": "elsewhere"}
    assert is_alive(mark, started=mark["seen"] - 1, now=mark["seen"] + LOST_SECONDS - 1)
    assert not is_alive(mark, started=mark["seen"] - 1, now=mark["seen"] + LOST_SECONDS + 1)


def test_a_trial_that_is_not_signed_yet_is_alive_for_a_moment() -> None:
    assert is_alive(None, started=100.0, now=100.0 + CLAIM_SECONDS / 2)
    assert not is_alive(None, started=100.0, now=100.0 + 2 * CLAIM_SECONDS)
