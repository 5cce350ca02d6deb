"""A comparison of a training function is killed in the middle of a trial, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import lr_search as lrs
from tests.helpers.imports import ROOT

pytestmark = pytest.mark.processes

TIMES = ["seconds", "started", "ended", "worker"]
SCRIPT = """
import os, sys, time
import lr_search as lrs
from tests.helpers.functions import fit_line, trainable_of

def train(run):
    with open("steps.txt", "a") as file:
        print(run.num_steps, file=file, flush=True)
    time.sleep(float(os.environ["PAUSE"]))
    fit_line(run)

lrs.compare(trainable_of(train), strategies=["random", "range_test"], schedules=["constant", "cosine"], seeds=1, budget=3,
            range_test={"num_steps": 20}, storage=sys.argv[1], name="killed", progress=False)
"""


def command(folder: Path, name: str, pause: float) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PAUSE": str(pause)}
    arguments = [sys.executable, "-c", SCRIPT, f"sqlite:///{folder / name}"]
    return subprocess.Popen(arguments, cwd=folder, env=environment)


def frame(folder: Path, name: str) -> pd.DataFrame:
    return lrs.load(f"sqlite:///{folder / name}", "killed").trials.drop(columns=TIMES)


def test_a_killed_comparison_goes_on_to_the_frame_of_an_undisturbed_one(tmp_path: Path) -> None:
    assert command(tmp_path, "undisturbed.db", 0).wait() == 0
    (tmp_path / "steps.txt").unlink()
    killed = command(tmp_path, "killed.db", 0.3)
    calls = tmp_path / "steps.txt"
    while not calls.exists() or calls.read_text().count("40") < 4:  # within a trial
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert command(tmp_path, "killed.db", 0).wait() == 0
    pd.testing.assert_frame_equal(frame(tmp_path, "killed.db"), frame(tmp_path, "undisturbed.db"), check_exact=True)
