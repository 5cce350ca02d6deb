"""Wrong calls over the whole public surface, and wrong command lines: `python benchmarks/fuzz.py [--calls 3000] [--lines 400] [--seed 0]`.

Each call is valid but for one argument. It must end in an error of this package, in words, within 5 seconds: never in a bare
exception from inside, and never be accepted where the value is nonsense by the annotation or by the range that the docstring
gives. A command line must end with an exit code other than 0 and without a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from fuzz_lines import wrong_lines
from fuzz_surface import Target, targets
from fuzz_values import Wrong, is_nonsense, values_for
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: F401  before the first figure

from lr_search.errors import MOST_QUOTED, LRSearchError

MOST_SECONDS = 5.0
USERS = {"_raises", "loss"}  # functions that stand for the user's
MOST_BYTES = 6 * 2**30  # of memory: a call that wants more is at fault


class Slow(BaseException):
    """A call took too long."""


@dataclass(frozen=True)
class Verdict:
    """What came of a call: "refused" as it should be, "worked" where the value may be right, or a fault."""

    call: str
    kind: str
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether it is none of the two."""
        return self.kind not in ("refused", "worked")


def wrong_calls(count: int, seed: int) -> Iterator[tuple[Target, str, Wrong]]:
    """That many of all there are, drawn without the same one twice."""
    every = [
        (target, name, wrong)
        for target in targets()
        for name in target.parameters
        for wrong in values_for(target.function, name)
    ]
    yield from random.Random(seed).sample(every, min(count, len(every)))


def judged(target: Target, name: str, wrong: Wrong) -> Verdict:
    """Call it, and see what comes."""
    call = f"{target.path}({name}={wrong.words})"
    arguments = {**target.needed(), name: wrong.make()}
    try:
        with limited():
            target.function(**arguments)
    except LRSearchError as error:
        return _judged_message(call, str(error))
    except Slow:
        return Verdict(call, "slow")
    except Exception as error:
        if any(frame.name in USERS for frame in traceback.extract_tb(error.__traceback__)):
            return Verdict(call, "worked")  # the user's own function raised it, and its caller is to see it
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Verdict(
            call,
            "bare exception",
            f"{type(error).__name__}: {error}"[:150] + f" ({Path(place.filename).name}:{place.lineno})",
        )
    return Verdict(call, "accepted" if is_nonsense(target.function, name, wrong) else "worked")


def _judged_message(call: str, message: str) -> Verdict:
    if "long " * (MOST_QUOTED // 5 + 1) in message:
        return Verdict(call, "quoted too long")
    if any(not each.isprintable() and each not in "\n\t" for each in message):
        return Verdict(call, "unprintable")
    return Verdict(call, "refused", message)


def judged_line(arguments: list[str]) -> Verdict:
    """Give it to the command line."""
    from lr_search.cli import app

    call = "lr-search " + " ".join(arguments)
    output = io.StringIO()
    try:
        with limited(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            app(arguments)
    except SystemExit as error:
        if "Traceback" in output.getvalue():
            return Verdict(call, "traceback", output.getvalue()[-300:])
        return Verdict(call, "refused" if error.code else "accepted", output.getvalue()[-300:])
    except Slow:
        return Verdict(call, "slow")
    except BaseException as error:
        return Verdict(call, "traceback", f"{type(error).__name__}: {error}"[:150])
    return Verdict(call, "accepted")


@contextlib.contextmanager
def limited(seconds: float = MOST_SECONDS) -> Iterator[None]:
    """Raises: Slow: what runs inside takes longer."""

    def late(number: int, frame: Any) -> None:
        raise Slow

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def quiet_folder() -> Iterator[None]:
    """In a folder of its own, without warnings, prints and Optuna's log."""
    verbosity, before = optuna.logging.get_verbosity(), Path.cwd()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
            optuna.logging.set_verbosity(verbosity)


def run(calls: int, lines: int, seed: int) -> list[Verdict]:
    """The verdicts on so many wrong calls and wrong command lines."""
    with quiet_folder():
        found = [judged(*each) for each in wrong_calls(calls, seed)]
        return found + [judged_line(arguments) for arguments in wrong_lines(lines, seed)]


def main() -> None:
    """Count the verdicts, and list the faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--lines", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--messages", action="store_true", help="print each message too")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    started = time.monotonic()
    found = run(options.calls, options.lines, options.seed)
    for verdict in found:
        if verdict.is_fault or options.messages:
            print(f"{verdict.kind}: {verdict.call}: {verdict.detail}")
    counts = Counter(verdict.kind for verdict in found)
    print(f"{len(found)} in {time.monotonic() - started:.0f} s: {dict(counts)}")
    sys.exit(any(verdict.is_fault for verdict in found))


if __name__ == "__main__":
    main()
