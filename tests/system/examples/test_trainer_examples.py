"""The examples of trainers: each at most 30 lines, and run with a smaller budget."""

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.trainers

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("name", ["accelerate_loop", "skorch_compare", "keras_compare"])
def test_an_example_prints_an_answer(name, monkeypatch, capsys):
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", "torch")
    source = (EXAMPLES / f"{name}.py").read_text()
    assert len(source.splitlines()) <= 30
    exec(source.replace("budget=4", "budget=2, seeds=1"), {"__name__": name})
    printed = capsys.readouterr().out
    assert "Train with: " in printed
    assert all(
        f"{strategy:10}  {schedule}" in printed
        for strategy in ("random", "range_test")
        for schedule in ("constant", "cosine")
    )
