"""A full disk, one that is read-only, another's lock, a clock that goes back: nothing is lost, and the same command goes on."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.chaos.campaign import Tally
from tests.helpers.chaos.child import CLOCK, FAULT, Wiring
from tests.helpers.chaos.command import Command, folder_of_work, words
from tests.helpers.chaos.faults import SmallDisk, locked
from tests.helpers.chaos.stored import Seen, frame
from tests.helpers.ray_drivers import pause_of

pytestmark = pytest.mark.processes

LOCK_SECONDS = 10.0  # longer than the 5 that SQLite waits for by itself
HOUR = 3600.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = folder_of_work(tmp_path_factory.mktemp("undisturbed"), pause=0)
    url = f"sqlite:///{folder / 'trials.db'}"
    with Command(folder, words(url)) as command:
        assert command.ends() == 0, command.written
    return frame(url)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.close()


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    folder = folder_of_work(tmp_path / "work")
    return Seen(f"sqlite:///{folder / 'trials.db'}", folder)


def stopped_in_words(seen: Seen, command: Command, reason: str) -> None:
    assert command.ends() == 2, command.written
    assert "Traceback" not in command.written
    assert f"error: The storage must answer, but it failed: {reason}" in command.written
    assert "once it answers again, the same command goes on" in command.written
    seen.look()


def goes_on(seen: Seen, undisturbed: pd.DataFrame, wiring: Wiring | None = None) -> None:
    """The same command comes to the end that an undisturbed one has come to."""
    tally = Tally("fault")
    pause_of(seen.folder, 0)
    with Command(seen.folder, words(seen.url), wiring) as command:
        command.ends()
        tally.require(command, 0)
    tally.close(seen, undisturbed)
    assert tally.faults() == {}


@pytest.mark.parametrize(
    ("pragma", "reason"),
    [("max_page_count=1", "database or disk is full"), ("query_only=on", "attempt to write a readonly database")],
    ids=["full", "read-only"],
)
def test_a_database_that_takes_no_more_ends_it_in_words(
    seen: Seen, undisturbed: pd.DataFrame, pragma: str, reason: str
) -> None:
    with Command(seen.folder, words(seen.url), Wiring(faults=True)) as command:
        assert command.takes(100)
        seen.look()
        (seen.folder / FAULT).write_text(pragma)
        stopped_in_words(seen, command, reason)
    goes_on(seen, undisturbed)


def test_a_disk_that_fills_up_ends_it_in_words(disk: SmallDisk, undisturbed: pd.DataFrame) -> None:
    if not disk.mounted:
        pytest.skip("only root may mount a disk")
    seen = Seen(f"sqlite:///{disk.folder / 'trials.db'}", folder_of_work(disk.folder.parent / "work"))
    with Command(seen.folder, words(seen.url)) as command:
        assert command.takes(100)
        seen.look()
        disk.fill()
        stopped_in_words(seen, command, "database or disk is full")
    with Command(seen.folder, words(seen.url)) as command:  # still full
        assert command.ends() == 2, command.written
        assert "Traceback" not in command.written
    disk.make_room()
    goes_on(seen, undisturbed)


def test_a_disk_that_came_back_read_only_is_refused_in_words(disk: SmallDisk, undisturbed: pd.DataFrame) -> None:
    if not disk.mounted:
        pytest.skip("only root may mount a disk")
    seen = Seen(f"sqlite:///{disk.folder / 'trials.db'}", folder_of_work(disk.folder.parent / "work"))
    with Command(seen.folder, words(seen.url)) as command:
        assert command.takes(100)
        command.strike(signal.SIGKILL)
    disk.allow_writing(False)
    with Command(seen.folder, words(seen.url)) as command:
        assert command.ends() == 2, command.written
        assert "Traceback" not in command.written
        assert "error: " in command.written
    disk.allow_writing(True)
    goes_on(seen, undisturbed)


def test_anothers_lock_of_ten_seconds_is_waited_for(seen: Seen, undisturbed: pd.DataFrame) -> None:
    with Command(seen.folder, words(seen.url)) as command:
        assert command.takes(100)
        with locked(seen.folder / "trials.db"):
            time.sleep(LOCK_SECONDS)
            assert command.code is None, command.written
        assert command.ends() == 0, command.written
        assert "error" not in command.written
    goes_on(seen, undisturbed)


def test_a_clock_that_goes_one_hour_back_costs_no_hour(seen: Seen, undisturbed: pd.DataFrame) -> None:
    pause_of(seen.folder, 0.01)
    with Command(seen.folder, words(seen.url), Wiring(clock=True)) as command:
        assert command.takes(60)
        seen.look()
        (seen.folder / CLOCK).write_text(str(-HOUR))
        assert command.takes(20)  # with signs of life in the meantime
        command.strike(signal.SIGKILL)
    assert seen.look().running
    goes_on(
        seen, undisturbed, Wiring(clock=True, pictures=True)
    )  # with a timeline of trials that ended before they began
