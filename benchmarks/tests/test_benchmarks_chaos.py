"""The benchmark of kills: that its table says what was done, and that it tells what is not as it must be."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.bench

FILE = Path(__file__).parents[1] / "chaos.py"


@pytest.fixture
def chaos(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("benchmarks_chaos", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_of_few_kills_prints_a_table_and_ends_well(chaos: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert chaos.main(["--kills", "3", "--only", "local"]) == 0
    header, local, everything = (line.split() for line in capsys.readouterr().out.splitlines())
    assert " ".join(header) == "kind kills comparisons lost doubled left RUNNING frames equal ended badly"
    assert local == ["local", "3", "1", "0", "0", "0", "1", "0"]
    assert everything == ["all", *local[1:]]


def test_what_is_not_as_it_must_be_is_told(
    chaos: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = chaos.Tally("local", kills=3, comparisons=1, lost=2)
    monkeypatch.setattr(chaos, "run", lambda *_: [tally])
    assert chaos.main(["--kills", "3", "--only", "local"]) == 1
    assert "local: {'lost': 2, 'unequal': 1}" in capsys.readouterr().out


def test_kills_are_split_in_proportion(chaos: Any) -> None:
    assert chaos.split(150, chaos.SHARES) == chaos.SHARES
    assert sum(chaos.SHARES.values()) == 150
    assert chaos.split(16, chaos.RAY_SHARES) == chaos.RAY_SHARES


def test_an_unknown_kind_is_refused_with_those_there_are(chaos: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        chaos.main(["--only", "remote"])
    assert "PostgreSQL" in capsys.readouterr().err
