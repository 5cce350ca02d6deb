"""Ray without its own output."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import ray

_SETTINGS = {  # Ray reads them while it runs, not when it is imported; its workers inherit what holds at ray.init
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's newer tables are printed even at verbose=0
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files a trial
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # the storage knows how far a comparison is; nobody restores the experiment
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # how many wait for a worker is the searcher's matter
}
TELEMETRY = "RAY_USAGE_STATS_ENABLED"
SET_BY_RAY = ("PYTHONBREAKPOINT", "RAY_AUTH_MODE", "TUNE_RESULT_BUFFER_LENGTH")  # by ray.init and tune.run, and left so


@contextmanager
def quiet(verbose: bool = False, *, telemetry: bool = False) -> Iterator[None]:
    """Inside the block Ray prints and logs nothing; what it changes in this process is put back at the end.

    Trials that fail are not lost by that: they come back as results, and everything else that matters as an exception.

    Args:
        verbose: leave Ray its output.
        telemetry: leave Ray's own setting of its usage statistics alone, rather than turning them off.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment(_SETTINGS if telemetry else {**_SETTINGS, TELEMETRY: "0"}))
        stack.enter_context(_signal_kept(signal.SIGTERM))  # ray.init takes it over
        stack.enter_context(_logger_kept(logging.getLogger("ray"), logging.INFO if verbose else logging.CRITICAL))
        if not verbose:
            stack.enter_context(_nothing_printed())
        yield


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (*settings, *SET_BY_RAY, TELEMETRY)}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _signal_kept(number: signal.Signals) -> Iterator[None]:
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(number, before)


@contextmanager
def _logger_kept(logger: logging.Logger, level: int) -> Iterator[None]:
    before, handlers = logger.level, list(logger.handlers)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.handlers[:] = handlers


@contextmanager
def _nothing_printed() -> Iterator[None]:
    """Without the lines on workers that died: Ray prints them to stdout past its loggers and log_to_driver=False."""
    worker = ray._private.worker
    before = worker._worker_logs_enabled  # as Ray's own debugger does
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before
