"""Killed again and again, a comparison gives what an undisturbed one gives: on Ray, whose driver, workers and raylet die in turn."""

from pathlib import Path

import pytest

from tests.helpers.chaos.on_ray import DRIVER, RAYLET, WORKER, RayCampaign

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("no_ray")]

SEED = 0


def test_nothing_is_lost_or_doubled_and_the_answer_is_that_of_this_machine(tmp_path: Path) -> None:
    tallies = RayCampaign(tmp_path, SEED, last="local").run(drivers=2, workers=3, raylets=1)
    assert {tally.kind: tally.kills for tally in tallies} == {DRIVER: 2, WORKER: 3, RAYLET: 1}
    assert [tally.faults() for tally in tallies] == [{}, {}, {}]
    assert sum(tally.equal for tally in tallies) > 0
