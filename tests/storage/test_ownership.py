"""Who is alive: by process numbers on the same machine in the same container, by signs of life elsewhere."""

import json
import os
import subprocess
import sys
import time

import pytest

from lr_search.storage.ownership import CLAIM_SECONDS, LOST_SECONDS, Claim, born, is_alive, machine

SIGNS = """
import json, sys
from lr_search.storage.ownership import Claim
print(json.dumps(Claim().signature()), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def signature_from(request):
    """Starts a process that signs a trial and lives until the test ends. Returns: its signature."""
    started = []

    def start(*before):
        process = subprocess.Popen(
            [*before, sys.executable, "-c", SIGNS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


IN_A_CONTAINER = ("unshare", "--map-root-user", "--pid", "--fork", "--mount-proc")


def test_one_of_another_container_with_the_same_host_name_is_alive_though_its_number_is_not_here(signature_from):
    theirs, now = signature_from(*IN_A_CONTAINER), time.time()
    ours = Claim().signature()
    assert theirs["machine"].split()[:2] == ours["machine"].split()[:2]  # host and boot are the same
    assert theirs["machine"] != ours["machine"]
    assert born(theirs["pid"]) != theirs["born"]  # that number is another process here, or none
    assert is_alive(theirs, started=now - 10, now=now)
    assert not is_alive(theirs, started=now - 10, now=now + LOST_SECONDS + 1)


def test_two_containers_are_told_apart(signature_from):
    one, other = signature_from(*IN_A_CONTAINER), signature_from(*IN_A_CONTAINER)
    assert one["pid"] == other["pid"] == 1
    assert one["machine"] != other["machine"]


def test_on_this_machine_it_is_alive_for_as_long_as_its_process(signature_from):
    theirs, now = signature_from(), time.time()
    assert theirs["machine"] == machine()
    late = now + 10 * LOST_SECONDS  # no signs of life are needed
    assert is_alive(theirs, started=now - 10, now=late)
    os.kill(theirs["pid"], 9)
    deadline = time.monotonic() + 10
    while is_alive(theirs, started=now - 10, now=late) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(theirs, started=now - 10, now=late)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_clock_that_is_set_makes_no_dead_process_live_and_no_living_one_dead(seconds):
    signed = Claim().signature()
    now = signed["seen"]
    started = now - seconds  # by the clock before
    assert is_alive(signed | {"pid": os.getppid(), "born": born(os.getppid())}, started=started, now=now)
    assert not is_alive(signed | {"born": "of a process that is gone"}, started=started, now=now)
    assert not is_alive(None, started=started, now=now)


def test_a_trial_taken_a_moment_ago_is_alive_whoever_signed_it_before():
    signed = Claim().signature() | {"born": "of a process that is gone"}
    started = signed["seen"] + 1
    assert is_alive(signed, started=started, now=started + CLAIM_SECONDS - 1)
    assert is_alive(signed, started=started, now=started - 1)  # another machine's clock may be a little ahead
    assert not is_alive(signed, started=started, now=started + CLAIM_SECONDS + 1)
