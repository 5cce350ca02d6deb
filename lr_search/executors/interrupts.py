"""What comes as a signal, at a moment when it leaves nothing half done: Ctrl-C, and the death of a data loader's worker."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from torch.utils.data._utils import signal_handling


@contextmanager
def interrupts_held() -> Iterator[None]:
    """A Ctrl-C inside the block takes effect at its end."""
    if threading.current_thread() is not threading.main_thread():  # Ctrl-C goes to the main thread only
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def worker_deaths_held() -> Iterator[None]:
    """The death of a data loader's worker is an exception where its next batch is asked for, within 5 s, and nowhere else inside.

    torch's handler of SIGCHLD raises it wherever the program is at that moment, so that a trial's end might not be recorded.
    """
    before = None
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):  # not on Windows
        signal_handling._set_SIGCHLD_handler()  # before ours, or the first loader's would replace it
        before = signal.getsignal(signal.SIGCHLD)
    if not callable(before):  # no handler runs here
        yield
        return

    def held(number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loader finds it again
            before(number, frame)

    signal.signal(signal.SIGCHLD, held)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)
