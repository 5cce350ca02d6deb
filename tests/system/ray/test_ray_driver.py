"""The process that calls compare() with a RayExecutor: interrupted, out of time, and two of them at once.

Killed, with its workers and its raylet: tests/system/chaos.
"""

import os
import signal
import stat
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.ray_drivers import (
    CLI,
    COMMAND,
    SETTINGS,
    Driver,
    alive,
    descendants,
    folder_of_work,
    folders_of,
    frame,
    run_locally,
    same,
    script,
    states,
    steps,
    until,
)

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("no_ray")]
# seconds a step: a trial of a second, and one of a minute with half a minute between its results
QUICK, SLOW = 0.003, 0.2


def finished(folder: Path) -> int:
    return states(folder).count("COMPLETE")


QUIET = {**SETTINGS, "progress": False}  # no steps are taken to tell the time that the plan needs


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same comparison where nothing happens to it."""
    folder = tmp_path_factory.mktemp("local")
    run_locally(folder, QUIET)
    return folder


@pytest.fixture(scope="module")
def undisturbed(local: Path) -> pd.DataFrame:
    """Its trials."""
    return frame(local)


def test_stopped_in_the_middle_of_a_step_the_same_comparison_goes_on(tmp_path: Path, undisturbed: pd.DataFrame) -> None:
    folder = folder_of_work(tmp_path, pause=SLOW)
    with Driver(folder, "-c", CLI, *COMMAND, terminal=True) as driver:
        driver.wait_until(lambda: len(steps(folder).keys() - {driver.process.pid}) == 2)
        rays, begun = descendants(driver.process.pid), sum(steps(folder).values())
        driver.press(b"\x03\x03")
        assert driver.ended() == 130, driver.written
    until(lambda: not alive(rays))
    assert "Traceback" not in driver.written
    assert "Stopped." in driver.written
    assert f"Go on with:  lr-search {' '.join(COMMAND)}" in driver.written
    assert "RUNNING" not in states(folder)
    # Tune by itself would wait 15 s for the end of that step
    assert sum(steps(folder).values()) - begun < 2 * 30
    run_locally(folder, SETTINGS)
    same(folder, undisturbed)


def test_a_time_budget_ends_it_and_the_next_call_goes_on_with_whatever_executor(
    tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    folder = folder_of_work(tmp_path, pause=SLOW)
    with Driver(folder, *script(SETTINGS, time_budget_seconds=10)) as driver:
        assert driver.ended() == 0, driver.written
    assert "The time budget of 10 s is over; 2 trials were put back. The same call goes on with them." in driver.written
    assert "RUNNING" not in states(folder)
    assert finished(folder) < len(undisturbed)
    run_locally(folder, SETTINGS)
    same(folder, undisturbed)


def test_two_drivers_on_one_storage_share_the_work(tmp_path: Path, local: Path, undisturbed: pd.DataFrame) -> None:
    folder = folder_of_work(tmp_path, pause=QUICK)
    words = script(QUIET, max_concurrent_trials=1)
    with Driver(folder, *words) as one, Driver(folder, *words) as other:
        drivers = one, other
        workers: list[dict[int, str]] = [{}, {}]

        def both_over() -> bool:
            for driver, known in zip(drivers, workers, strict=True):
                known.update(descendants(driver.process.pid))
            return all(driver.process.poll() is not None for driver in drivers)

        until(both_over)
        for driver in drivers:
            assert driver.ended() == 0, driver.written
    same(folder, undisturbed)
    done = steps(folder)
    begun = [done.pop(driver.process.pid) for driver in drivers]  # by trying the workload
    shares = [sum(done.get(pid, 0) for pid in known) for known in workers]
    assert all(share > 0 for share in shares)
    assert sum(shares) == sum(done.values())
    # no training was done twice: what is beside them are the workers' own tries
    assert 0 <= sum(shares) - (sum(steps(local).values()) - begun[0]) <= 20


def test_a_raylet_that_is_killed_does_not_have_the_last_word(tmp_path: Path) -> None:
    folder = folder_of_work(tmp_path, pause=SLOW)
    with Driver(folder, "-c", CLI, *COMMAND, terminal=True) as driver:
        driver.wait_until(lambda: len(steps(folder).keys() - {driver.process.pid}) == 2)
        assert {stat.S_IMODE(made.stat().st_mode) for made in folders_of(driver.process.pid)} == {0o700}
        (raylet,) = [pid for pid, name in descendants(driver.process.pid).items() if "/raylet " in name]
        os.kill(raylet, signal.SIGKILL)
        assert driver.ended() == 2, driver.written
    assert "Traceback" not in driver.written
    _, _, last = driver.written.partition(
        "error: Ray must run on until the comparison is complete, but its raylet has died"
    )
    assert f"Go on with:  lr-search {' '.join(COMMAND)}" in last
    assert last.strip("\x1b[0m\n").splitlines()[-1].startswith("See it as it is with:")
    assert set(states(folder)) == {"WAITING"}
