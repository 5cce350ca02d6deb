"""Killed is not lost: Ctrl-C, and who is alive. Real kills: tests/system/chaos."""

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

TIMES = ["seconds", "started", "ended", "worker"]


def frame(url: str) -> pd.DataFrame:
    return lrs.load(url, "killed").trials.drop(columns=TIMES)


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
    calls = {"left": 10**9}

    def interrupting(model, batch):  # type: ignore[no-untyped-def]
        calls["left"] -= 1
        if calls["left"] == 0:
            raise KeyboardInterrupt
        return squared_error(model, batch)

    lrs.compare(line(loss=interrupting), **settings, dry_run=True, progress=False)  # type: ignore[arg-type]
    calls["left"] = 10**9 - calls["left"] + 60  # in the middle of the second trial, at the latest
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
