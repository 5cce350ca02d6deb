"""Processes that a test starts; those that are left at its end are killed."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

Start = Callable[..., subprocess.Popen[str]]


@contextmanager
def workers(started: Start) -> Iterator[Start]:
    """`started`, of whose processes none outlives the block."""
    with ExitStack() as stack:

        def begun(*words: str) -> subprocess.Popen[str]:
            worker = stack.enter_context(started(*words))
            stack.callback(worker.kill)  # before it is waited for
            return worker

        yield begun
