"""Comparisons that are killed again and again, at moments drawn from a seed, and then have to give what an undisturbed one gives."""

import itertools
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from tests.helpers.chaos.child import Wiring
from tests.helpers.chaos.command import Command, folder_of_work, total_steps, words
from tests.helpers.chaos.stored import Seen, equal, frame
from tests.helpers.ray_drivers import steps

SIGNALS = (signal.SIGKILL,) * 6 + (signal.SIGINT, signal.SIGTERM)
CODES = {signal.SIGKILL: -9, signal.SIGTERM: -15, signal.SIGINT: 130}
STATEMENTS = 90  # so many a comparison of this size takes at least


@dataclass
class Tally:
    """What became of the comparisons of one kind.

    Args:
        kind: its name.
        kills: signals that ended a process.
        comparisons: so many in all.
        lost: trials that had ended, and later had not.
        doubled: trials whose end was told twice.
        running: trials left RUNNING after the last command, which ended well.
        equal: comparisons whose trials are those of an undisturbed one.
        ended_badly: commands that ended neither well nor by the signal, or with a traceback: what they wrote.
    """

    kind: str
    kills: int = 0
    comparisons: int = 0
    lost: int = 0
    doubled: int = 0
    running: int = 0
    equal: int = 0
    ended_badly: list[str] = field(default_factory=list)

    def close(self, seen: Seen, undisturbed: pd.DataFrame, *, exactly: bool = True) -> None:
        """Count a comparison that has come to its end."""
        left = seen.look().running
        self.comparisons += 1
        self.lost += len(seen.lost)
        self.doubled += len(seen.doubled | seen.told_twice())
        self.running += len(left)
        self.equal += equal(frame(seen.url), undisturbed, exactly=exactly)

    def require(self, command: Command, *codes: int) -> None:
        """It has ended by one of these, and without a traceback."""
        if command.code not in codes or "Traceback" in command.written:
            self.ended_badly.append(f"{self.kind}: exit code {command.code}: {command.written}")

    def faults(self) -> dict[str, object]:
        """All that should not be; empty where all is well."""
        counts = {
            name: value for name, value in asdict(self).items() if name in ("lost", "doubled", "running") and value
        }
        unequal = {} if self.equal == self.comparisons else {"unequal": self.comparisons - self.equal}
        return {**counts, **unequal, **({"ended_badly": self.ended_badly} if self.ended_badly else {})}


@dataclass(frozen=True)
class Kind:
    """One way to run a comparison.

    Args:
        name: what it is called.
        executor: by name.
        strategies: by name.
        pruner: by name.
        processes: how many at once.
        exactly: whether it comes out the same to the bit, or to rounding.
    """

    name: str
    executor: str = "local"
    strategies: str = "grid,range_test"
    pruner: str = "none"
    processes: int = 1
    exactly: bool = True

    def words(self, url: str) -> list[str]:
        """The command's."""
        return words(url, self.executor, strategies=self.strategies, pruner=self.pruner)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("local", strategies="range_test,tpe"),
        Kind("median pruner", strategies="grid,tpe", pruner="median"),
        Kind("two processes", processes=2),
        Kind("fused", executor="fused", exactly=False),
        Kind("PostgreSQL", processes=2),
    )
}


class Campaign:
    """Kills of one kind.

    Args:
        kind: of comparison.
        folder: an empty one.
        new_url: makes the URL of an empty storage; default: files in the folder.
        seed: of the moments.
    """

    def __init__(self, kind: Kind, folder: Path, seed: int, new_url: Callable[[], str] | None = None) -> None:
        self.kind, self.folder = kind, folder
        self.tally = Tally(kind.name)
        self._rng = random.Random(f"{seed} {kind.name}")
        numbers = itertools.count()
        self._new_url = new_url or (lambda: f"sqlite:///{folder / f'{next(numbers)}.db'}")
        self._undisturbed: pd.DataFrame | None = None
        self._steps = 0

    def run(self, kills: int) -> Tally:
        """So many, in as many comparisons as it takes."""
        undisturbed = self._run_undisturbed()
        for number in itertools.count():
            left = kills - self.tally.kills
            if left <= 0:
                return self.tally
            folder = folder_of_work(self.folder / f"comparison {number}")
            seen = Seen(self._new_url(), folder)
            for _ in self._lives(seen, min(left, self._rng.randint(3, 6))):
                seen.look()
            self.tally.close(seen, undisturbed, exactly=self.kind.exactly)
        raise AssertionError

    def _run_undisturbed(self) -> pd.DataFrame:
        url, folder = self._new_url(), folder_of_work(self.folder / "undisturbed")
        with Command(folder, self.kind.words(url)) as command:
            assert command.ends() == 0, command.written
        self._steps = total_steps(folder)
        return frame(url)

    def _lives(self, seen: Seen, kills: int) -> Iterator[None]:
        """Kill one command after the other; the last ones come to their end. Yields: after each kill."""
        last = self.tally.kills + kills
        with ExitStack() as stack:
            others = [self._begin(seen, stack) for _ in range(self.kind.processes - 1)]
            while self.tally.kills < last:
                # a process that shares the work with others does not come as far
                if not self._one_life(seen, self._steps // (last - self.tally.kills + 1) // self.kind.processes):
                    break
                yield
                if others and self._rng.random() < 0.5 and others[0].code is None:
                    self._struck(others[0], signal.SIGKILL)
                    others = [self._begin(seen, stack)]
                    yield
            for command in [*others, self._begin(seen, stack)]:
                command.ends()
                self.tally.require(command, 0)

    def _begin(self, seen: Seen, stack: ExitStack, wiring: Wiring | None = None) -> Command:
        return stack.enter_context(Command(seen.folder, self.kind.words(seen.url), wiring))

    def _one_life(self, seen: Seen, within: int) -> bool:
        """A command to its death, within so many steps of all. Returns: False if it came to its end before."""
        by_statement = self._rng.random() < 0.4
        wiring = Wiring(dies_at=self._rng.randint(1, STATEMENTS) if by_statement else 0)
        with ExitStack() as stack:
            command = self._begin(seen, stack, wiring)
            if by_statement:
                killed = command.ends() == -signal.SIGKILL
                self.tally.kills += killed
                self.tally.require(command, -signal.SIGKILL if killed else 0)
                return killed
            if not command.takes(self._rng.randint(1, max(1, within))):
                self.tally.require(command, 0)
                return False
            number = self._rng.choice(SIGNALS)
            if (
                number != signal.SIGKILL
            ):  # the steps may be another's, and it still on its way to where it can be stopped
                command.reaches(lambda: command.pid in steps(seen.folder))
            time.sleep(self._rng.random() * 0.05)
            killed = self._struck(command, number)
            if number == signal.SIGINT and killed and self.kind.processes == 1:
                self._require_put_back(seen, command)
            return killed

    def _struck(self, command: Command, number: signal.Signals) -> bool:
        code = command.strike(number)
        self.tally.kills += code != 0
        self.tally.require(command, CODES[number] if code else 0)
        return code != 0

    def _require_put_back(self, seen: Seen, command: Command) -> None:
        """Ctrl-C leaves nothing RUNNING, and says how to go on."""
        running = seen.look().running
        if running or "Go on with:" not in command.written:
            self.tally.ended_badly.append(f"{self.kind.name}: Ctrl-C left {sorted(running)}: {command.written}")


def rows(tallies: list[Tally]) -> pd.DataFrame:
    """A table of them, with a last row for all."""
    columns = ["kind", "kills", "comparisons", "lost", "doubled", "left RUNNING", "frames equal", "ended badly"]
    found = [
        [t.kind, t.kills, t.comparisons, t.lost, t.doubled, t.running, t.equal, len(t.ended_badly)] for t in tallies
    ]
    table = pd.DataFrame(found, columns=columns)
    table.loc[len(table)] = ["all", *table.iloc[:, 1:].sum()]
    return table
