"""The example of a training function: a loop as nanoGPT has it, with accumulation and clipping."""

import inspect
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "training_function.py"


@pytest.mark.long
def test_it_prints_an_answer_against_todays_lr(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    source = EXAMPLE.read_text().replace("budget=4, seeds=2", "budget=2, seeds=1, progress=False")
    exec(source, {"__name__": "training_function", "__file__": str(EXAMPLE)})
    printed = capsys.readouterr().out
    assert "where today's 0.0003 gives" in printed
    assert all(f"{way:10}  {under}" in printed for way in ("random", "range_test") for under in ("constant", "cosine"))


def test_five_of_its_lines_are_lr_searchs():
    marked = [
        line
        for line in EXAMPLE.read_text().splitlines()
        if line.rstrip().endswith(tuple(f"# {n}" for n in range(1, 10)))
    ]
    assert len(marked) == 5
    assert inspect.cleandoc(EXAMPLE.read_text()).count("clip_grad_norm_") == 1
