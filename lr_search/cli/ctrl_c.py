"""Ctrl-C as something to look at, for a command that ends in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c_noted() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; a second one is a KeyboardInterrupt again. A process that ignores Ctrl-C goes on to.

    An exception that may come anywhere may also be lost (in a weak reference's callback) or leave a database's transaction half done.
    """
    noted = threading.Event()

    def note(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        noted.set()

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
