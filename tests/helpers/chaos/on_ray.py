"""The same on Ray, where a start takes seconds: the driver, workers and the raylet of one comparison are killed one after the other."""

import itertools
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from tests.helpers.chaos.campaign import Tally
from tests.helpers.chaos.command import Command, folder_of_work, total_steps, words
from tests.helpers.chaos.stored import Seen, frame
from tests.helpers.ray_drivers import alive, descendants, pause_of, steps, until

# one worker: trials are shorter than the start of a second one, which Tune would end each time the first is free
OPTIONS = "cpu=0.5,max_concurrent_trials=1,max_failures=100"
PAUSE, SLOW = 0.03, 0.3  # seconds a step
NUM_STEPS, BUDGET = 45, 4
DRIVER, WORKER, RAYLET = "Ray: driver", "Ray: worker", "Ray: raylet"
OVER = 120.0  # seconds after which who was left without a raylet must have ended
ENDED_BY = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}  # drivers, in turn: exit codes
WITHOUT_RAYLET = 2  # the exit code


class RayCampaign:
    """Kills on Ray, in as many comparisons as it takes.

    Args:
        folder: an empty one.
        seed: of their order and their moments.
        last: the executor of the command after the last kill of a driver or raylet.
    """

    def __init__(self, folder: Path, seed: int, last: str = "ray") -> None:
        self._folder, self._rng = folder, random.Random(f"{seed} Ray")
        self._rays: dict[int, str] = {}  # the processes that must not outlive the driver
        self._signals, self._last = itertools.cycle(ENDED_BY), last
        self.tallies = {kind: Tally(kind) for kind in (DRIVER, WORKER, RAYLET)}

    def run(self, drivers: int, workers: int, raylets: int) -> list[Tally]:
        """So many of each; a comparison, which is counted with the kind of its last kill, sees about six."""
        left = [DRIVER] * drivers + [WORKER] * workers + [RAYLET] * raylets
        self._rng.shuffle(left)
        undisturbed = self._undisturbed()
        number = 0
        while left:
            folder = folder_of_work(self._folder / f"{number}", PAUSE, NUM_STEPS)
            seen = Seen(f"sqlite:///{folder / 'trials.db'}", folder)
            tally = self._comparison(seen, left)
            tally.close(seen, undisturbed)
            number += 1
        return list(self.tallies.values())

    def _undisturbed(self) -> pd.DataFrame:
        """By no Ray: the executor changes no answer."""
        folder = folder_of_work(self._folder / "undisturbed", 0.0, NUM_STEPS)
        url = f"sqlite:///{folder / 'trials.db'}"
        with Command(folder, words(url, budget=BUDGET)) as command:
            assert command.ends() == 0, command.written
        return frame(url)

    def _comparison(self, seen: Seen, left: list[str]) -> Tally:
        """Kill until it has come to its end, or nothing is left to kill. Returns: the last kill's tally."""
        tally = self.tallies[left[-1]]
        while left:
            with self._command(seen) as command:
                while left and self._reaches_a_kill(command):
                    tally = self.tallies[left[-1]]
                    self._kill(command, left.pop())
                    if command.code is not None:
                        break
                else:
                    if not left:
                        pause_of(seen.folder, 0.0)
                    command.ends()
                    tally.require(command, 0)
            seen.look()
            if command.code == 0:
                return tally
        pause_of(seen.folder, 0.0)
        with self._command(seen, self._last) as command:
            command.ends()
            tally.require(command, 0)
        return tally

    @contextmanager
    def _command(self, seen: Seen, executor: str = "ray") -> Iterator[Command]:
        """Begun; none of Ray's processes outlives it."""
        options = {"executor_options": OPTIONS} if executor == "ray" else {}
        self._rays = {}
        with Command(seen.folder, words(seen.url, executor, budget=BUDGET, **options)) as command:
            yield command
        until(lambda: not alive(self._rays) and not self._living(command))
        for file in seen.folder.glob("steps-*"):
            file.unlink()

    def _reaches_a_kill(self, command: Command) -> bool:
        """Wait for some steps more. Returns: False if it came to its end before."""
        more = self._rng.randint(5, 60)
        so_far = total_steps(command.folder)
        runs = command.reaches(lambda: total_steps(command.folder) >= so_far + more and bool(self._living(command)))
        time.sleep(self._rng.random() * 0.05)
        return runs

    def _living(self, command: Command) -> list[int]:
        """The processes that train, but for the driver, which tries a few steps."""
        return sorted(alive(dict.fromkeys(steps(command.folder).keys() - {command.pid}, "")))

    def _kill(self, command: Command, kind: str) -> None:
        tally = self.tallies[kind]
        # Ray's two agents give up a minute after their driver
        self._rays |= {pid: name for pid, name in descendants(command.pid).items() if "agent" not in name.lower()}
        if kind == WORKER:
            living = self._living(command)
            if living:
                _kill(self._rng.choice(living))
                tally.kills += 1
        elif kind == DRIVER:
            number = next(self._signals)
            tally.kills += command.strike(number) != 0
            tally.require(command, ENDED_BY[number], 0)
        else:
            pause_of(command.folder, SLOW)  # or its workers, whom it is not needed by, might come to the end
            raylets = (pid for pid, name in descendants(command.pid).items() if "/raylet " in name)
            _kill(min(raylets))  # a child that it has just made is called the same
            tally.kills += 1
            deadline = time.monotonic() + OVER
            command.reaches(lambda: time.monotonic() > deadline)
            tally.require(command, WITHOUT_RAYLET)
            pause_of(command.folder, PAUSE)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
