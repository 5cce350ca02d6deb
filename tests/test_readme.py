"""What the README prints works as printed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import lr_search as lrs
from lr_search.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def run(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_two_commands_make_their_environment_in_one_line() -> None:
    lines = [block.strip() for block in blocks("bash")]
    demo, tests = next(b for b in lines if "lr-search demo" in b), next(b for b in lines if "pytest" in b)
    for command in (demo, tests):
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e ")


def test_every_option_of_a_printed_command_exists() -> None:
    import typer

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    printed = [
        shlex.split(line) for block in blocks("bash") for line in block.splitlines() if line.startswith("lr-search")
    ]
    assert len(printed) >= 4
    for _, name, *words in printed:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.long
def test_the_twelve_lines_run_as_printed(tmp_path: Path) -> None:
    report = next(block for block in blocks("python") if "best.optuna_params()" in block)
    printed = run([sys.executable, "-c", f"{blocks('python')[0]}\n{report}"], tmp_path)
    assert "Suggestion(lr=" in printed
    assert "peak learning rate" in printed
    assert (tmp_path / "report" / "report.html").exists()


@pytest.mark.processes
def test_the_range_test_in_a_loop_of_your_own_runs_as_printed(tmp_path: Path) -> None:
    before = """
import torch, lr_search as lrs
loss_fn = torch.nn.MSELoss()
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
train_loader = torch.utils.data.DataLoader([(torch.randn(4), torch.randn(1)) for _ in range(64)], batch_size=8)
"""
    printed = run([sys.executable, "-c", before + blocks("python")[1] + "\nprint(scheduler.get_last_lr())"], tmp_path)
    assert printed.startswith("[")


def test_the_quickstart_runs(tmp_path: Path) -> None:
    printed = run([sys.executable, str(ROOT / "examples" / "quickstart.py")], tmp_path)
    assert printed.startswith("Suggestion(lr=")
    assert list(tmp_path.iterdir()) == []
    assert float(printed.rpartition(" ")[2]) < 5.0  # the targets' variance is about 20


@pytest.mark.processes
def test_the_range_test_with_a_picture_runs(tmp_path: Path) -> None:
    printed = run([sys.executable, str(ROOT / "examples" / "range_test.py"), "mine.png"], tmp_path)
    assert printed.startswith("Suggestion(lr=")
    assert "status='ok'" in printed
    assert "bounds for cycles: " in printed
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_the_branches_run_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    inputs = torch.linspace(-1, 1, 64)[:, None]
    workload = lrs.regression(
        model=lambda: torch.nn.Linear(1, 1), optimizer=torch.optim.Adam, train=(inputs, 3 * inputs), valid=(inputs, inputs),
        batch_size=32, eval_every=600,
    )  # fmt: skip
    printed = next(block for block in blocks("python") if "lrs.branches(" in block)
    names: dict[str, Any] = {"lrs": lrs, "workload": workload}
    exec(printed, names)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["300", "600", "1200"]
    said = re.findall(r"([\d,]+) steps in place of ([\d,]+)", printed)[0]
    assert [int(number.replace(",", "")) for number in said] == [names["branches"].steps, 300 + 600 + 1200]


@pytest.mark.long
def test_refinding_on_digits_runs(tmp_path: Path) -> None:
    printed = run([sys.executable, str(ROOT / "examples" / "refind.py"), "80"], tmp_path)
    kept, refound, moved = re.findall(r"(?s)triangular:(.*)refind:(.*)step(.*)", printed)[0]
    assert re.findall("next: (.*)", kept) == ["0.025 to 0.1"] * 4
    assert len(set(re.findall("next: (.*)", refound))) == 4  # as asked at first, then another for each cycle
    assert "charged: 80 steps" in kept
    assert int(re.findall(r"charged: (\d+) steps", refound)[0]) > 80
    assert len(moved.splitlines()) == 1 + 5


@pytest.mark.long
def test_the_snapshots_of_digits_run(tmp_path: Path) -> None:
    printed = run([sys.executable, str(ROOT / "examples" / "snapshots.py"), "60"], tmp_path).splitlines()
    assert [line.partition(":")[0] for line in printed] == [
        "single model",
        *(f"last {m} together" for m in range(1, 7)),
    ]
    assert printed[0].split()[-1] == printed[1].split()[-1]  # one member is the model itself
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_comparison_of_digits_runs(tmp_path: Path) -> None:
    printed = run([sys.executable, str(ROOT / "examples" / "compare_digits.py"), "2"], tmp_path)
    assert "peak learning rate" in printed
    assert (tmp_path / "compare_digits_report" / "report.html").exists()


@pytest.mark.long
def test_the_demo_runs_and_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lr_search", "demo", "--budget", "2", "--seeds", "1"]
    first = run(command, tmp_path)
    assert "Train with: " in first
    trials = (tmp_path / "report" / "trials.csv").read_text()
    run(command, tmp_path)
    assert (tmp_path / "report" / "trials.csv").read_text() == trials  # to the second: nothing was trained again
