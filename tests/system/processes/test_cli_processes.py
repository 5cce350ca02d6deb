"""The installed command in a process of its own: Ctrl-C, terminals, other folders."""

import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from contextlib import closing

import pytest

import lr_search as lrs
from tests.helpers.command_line import SMALL, write

pytestmark = pytest.mark.processes

# a shell that starts the tests in the background has Ctrl-C ignored, and children inherit that
COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from lr_search.cli import main; main()"
)
SLOW = """
def slow(model, batch):
    time.sleep(0.02)
    return ((model(batch[0])[:, 0] - batch[1]) ** 2).mean()
slow_one = replace(good, loss=slow, metrics=None)
"""


def start(folder, *arguments, **changes):
    settings = {"cwd": folder, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": os.environ}
    return subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], **(settings | changes))


def states(folder):
    """The states of all trials in the storage, none where there is no storage yet."""
    try:
        with closing(sqlite3.connect(f"file:{folder / 'lr_search.db'}?mode=ro", uri=True)) as database:
            return [state for (state,) in database.execute("select state from trials order by number")]
    except sqlite3.OperationalError:  # the tables are being made
        return []


def test_ctrl_c_puts_the_trial_back_says_how_to_go_on_and_the_same_command_finishes(folder):
    target = f"{write(folder, SLOW)}:slow_one"
    command = ["compare", target, *SMALL, "--budget", "6"]
    process = start(folder, *command, "--fresh")
    try:
        while process.poll() is None and not {"COMPLETE", "RUNNING"} <= set(states(folder)):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert "Traceback" not in told
    again = next(line for line in told.splitlines() if "Go on with:" in line).partition("with:")[2].split()
    assert again == ["lr-search", *command]  # without --fresh
    assert f"lr-search report sqlite:///lr_search.db {target}" in told
    left = states(folder)
    assert "RUNNING" not in left
    assert 0 < left.count("COMPLETE") < 6
    before = lrs.load(f"sqlite:///{folder / 'lr_search.db'}", target).trials

    process = start(folder, *again[1:])
    out, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert "Train with: constant" in out
    assert states(folder) == ["COMPLETE"] * 6
    after = lrs.load(f"sqlite:///{folder / 'lr_search.db'}", target).trials
    assert after.head(len(before))["started"].tolist() == before["started"].tolist()
    assert after["number"].tolist() == list(range(6))


def test_on_a_terminal_bars_count_trials_and_steps(folder):
    target = f"{write(folder)}:good"
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    process = start(folder, "compare", target, *SMALL, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert re.search(r"trials: .*2/2", shown.decode())
    assert re.search(r"steps : .*\d+(\.\d+)?/40", shown.decode())
    assert "\r" not in out
    assert "trials:" not in out


def test_the_package_runs_as_a_module_from_any_folder(folder):
    found = subprocess.run(
        [sys.executable, "-m", "lr_search", "list"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0
    assert found.stderr == ""
    assert {"strategies", "schedules", "rules", "executors"} <= set(found.stdout.splitlines())
