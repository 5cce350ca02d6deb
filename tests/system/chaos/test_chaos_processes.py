"""Killed again and again, at moments drawn from a seed, a comparison gives what an undisturbed one gives: on this machine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.chaos.campaign import KINDS, Campaign
from tests.helpers.chaos.stored import Seen
from tests.helpers.postgresql import Server

pytestmark = pytest.mark.processes

SEED = 0


@pytest.fixture
def postgresql_url(postgresql_server: Server) -> Callable[[], str]:
    return postgresql_server.new_database


def survives(name: str, kills: int, folder: Path, new_url: Callable[[], str] | None = None) -> None:
    tally = Campaign(KINDS[name], folder, SEED, new_url).run(kills)
    assert tally.faults() == {}
    assert tally.kills >= kills
    assert tally.comparisons == tally.equal > 0


@pytest.mark.parametrize(("name", "kills"), [("local", 5), ("median pruner", 4), ("two processes", 6), ("fused", 4)])
def test_nothing_is_lost_or_doubled_and_the_answer_is_the_same(tmp_path: Path, name: str, kills: int) -> None:
    survives(name, kills, tmp_path)


@pytest.mark.postgresql
def test_nor_in_a_server_s_database(tmp_path: Path, postgresql_url: Callable[[], str]) -> None:
    survives("PostgreSQL", 5, tmp_path, postgresql_url)


def test_a_record_that_changed_or_went_and_an_end_told_twice_are_seen(tmp_path: Path) -> None:
    seen = Seen(f"sqlite:///{tmp_path / 'none.db'}", tmp_path, known={("study", 0): "first"})
    assert seen.look().finished == {}
    assert seen.lost == {("study", 0)}
    (tmp_path / "finishes").write_text("study/0\nstudy/1\nstudy/0\n")
    assert seen.told_twice() == {("study", 0)}
