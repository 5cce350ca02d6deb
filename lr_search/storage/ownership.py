"""Which process runs a trial, and whether it still lives: so that what a killed one left behind goes back to waiting."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from lr_search.storage.keys import OWNER

BEAT_SECONDS = 30.0  # between signs of life of a long trial
LOST_SECONDS = 300.0  # without one, a trial on another machine counts as lost
CLAIM_SECONDS = 10.0  # what may pass between taking a trial and signing it, where a storage cannot do both at once
SIGNED = {"machine", "pid", "born", "seen"}  # what a claim's signature holds in any version


class Claim:
    """This process's right to one trial, from before it takes it until it has reported its end or put it back."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        _claims.add(self.id)

    def signature(self) -> dict[str, Any]:
        """Who runs the trial, as of now."""
        pid = os.getpid()
        return {"machine": machine(), "pid": pid, "born": born(pid), "claim": self.id, "seen": time.time()}

    def drop(self) -> None:
        """Give it up: the trial has ended, or was put back."""
        _claims.discard(self.id)


_claims: set[str] = set()  # those of this process


def is_alive(owner: Mapping[str, Any] | None, started: float, now: float) -> bool:
    """Whether a running trial's process may still be at work on it.

    Args:
        owner: a claim's signature, or None.
        started: when the trial was taken, in seconds since the epoch.
        now: the present time, in seconds since the epoch.
    """
    just_taken = abs(now - started) < CLAIM_SECONDS  # a clock that was set back makes it long before or after
    signed = isinstance(owner, Mapping) and owner.keys() >= SIGNED and isinstance(owner["seen"], int | float)
    if owner is None or not signed:
        return just_taken
    if just_taken and owner["seen"] < started:  # not signed yet: the signature is an earlier process's
        return True
    if owner["machine"] == machine():
        return bool(born(owner["pid"]) == owner["born"]) and (
            owner["pid"] != os.getpid() or owner.get("claim") in _claims
        )
    return bool(now - owner["seen"] < LOST_SECONDS)


def at_work(trial: FrozenTrial) -> bool:
    """Whether the process that runs the trial may still live."""
    started = trial.datetime_start.timestamp() if trial.datetime_start is not None else 0.0
    return is_alive(trial.user_attrs.get(OWNER), started, time.time())


def claim_of(owner: Mapping[str, Any] | None) -> str | None:
    """The claim in a trial's signature."""
    return owner.get("claim") if isinstance(owner, Mapping) else None


@cache
def machine() -> str:
    """Where process numbers mean the same as here: this machine since its last boot, and this container of it.

    Containers may bear one host name; each has process numbers of its own.
    """
    boot, numbers = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    since = boot.read_text().strip() if boot.exists() else ""
    namespace = os.readlink(numbers) if numbers.is_symlink() else ""
    return " ".join(part for part in (socket.gethostname(), since, namespace) if part)


def born(pid: int) -> str | None:
    """When a process began, since numbers are used again; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:  # no /proc: macOS
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"


class Heartbeat:
    """Calls `beat` every BEAT_SECONDS from a thread of its own, while the `with` block runs."""

    def __init__(self, beat: Callable[[], None], seconds: float = BEAT_SECONDS) -> None:
        self._beat, self._seconds = beat, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            self._beat()

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
