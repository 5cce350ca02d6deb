"""The lifelike tasks' split, their data, and the truth that is measured of them."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import lr_search as lrs

pytestmark = pytest.mark.bench
ROOT = Path(__file__).parents[2]
STEPS = 40
BATCHES = torch.linspace(-1, 1, 64).reshape(8, 8, 1)


def line() -> lrs.Workload:
    """A line through points, from a slope that the seed decides."""
    return lrs.Workload(
        model=lambda: torch.nn.Linear(1, 1),
        optimizer=partial(torch.optim.SGD, momentum=0.5),
        loss=lambda model, x: ((model(x) - torch.sin(3 * x)) ** 2).mean(),
        train_data=lambda: BATCHES,
        valid_data=lambda: BATCHES,
        num_steps=STEPS,
    )


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    return ROOT / "benchmarks"


@pytest.fixture
def task(benchmarks: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import regret_runs
    from lifelike.task import LifelikeTask

    monkeypatch.setattr(regret_runs, "SCOUT_STEPS", STEPS)
    monkeypatch.setattr(regret_runs, "SHORT", {"cosine": (STEPS,), "one_cycle": (STEPS,)})
    return LifelikeTask("line", "fit", "nothing", "lines", line, (STEPS,))


def entry_of(task: Any, path: Path, code: str = "abc", cyclic: bool = True) -> Any:
    from regret_runs import Runs
    from regret_truth import Measure

    return Measure(Runs(task, path, code), cyclic).entry()


def test_no_data_and_no_family_stand_on_both_sides(benchmarks: Path) -> None:
    from lifelike import TASKS
    from lifelike.sources import SOURCES

    sides = {side: [task for task in TASKS.values() if task.side == side] for side in ("fit", "judge")}
    assert len(sides["fit"]) >= 32
    assert len(sides["judge"]) >= 28
    for what in ("data", "family"):
        assert not {getattr(task, what) for task in sides["fit"]} & {getattr(task, what) for task in sides["judge"]}
    assert {task.data for task in TASKS.values()} <= set(SOURCES)


def test_data_that_are_missing_are_named_with_the_command_that_gets_them(
    benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lifelike import sources

    monkeypatch.setattr(sources, "FOLDER", tmp_path)
    with pytest.raises(sources.MissingDataError, match=r"python benchmarks/fetch_data\.py brown .*3 MB"):
        sources.raw("brown")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["fetch_data.py", "browm"], "NAME must be one of fashion, brown"),
        (["regret_truth.py", "--side", "fit", "--tasks", "none"], "--tasks must name tasks of side fit, but got none"),
    ],
)
def test_a_wrong_name_ends_in_words(command: list[str], words: str) -> None:
    ended = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / command[0], *command[1:]], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_truth_is_what_plain_trainings_give(task: Any, tmp_path: Path) -> None:
    found = entry_of(task, tmp_path / "line.json")
    assert set(found["losses"]) == {"constant", "wsd", "cosine", "one_cycle"}
    for schedule, by_length in found["losses"].items():
        (of_lr,) = by_length.values()
        means = {float(lr): sum(losses) / len(losses) for lr, losses in of_lr.items() if None not in losses}
        best = min(means, key=means.__getitem__)
        above = [losses for lr, losses in of_lr.items() if float(lr) >= best][:3]
        assert [len(losses) for losses in above] == [4] * 3, schedule
        assert len(of_lr) >= 7
        plan = lrs.schedules.by_name(schedule, best, STEPS, 8.0, **({"warmup_steps": 0} if schedule == "wsd" else {}))
        last = [evaluation.metrics["loss"] for evaluation in lrs.train(replace(line(), eval_every=STEPS), plan, seed=2)]
        (key,) = [lr for lr in of_lr if float(lr) == best]
        assert of_lr[key][2] == pytest.approx(last[-1], rel=1e-5)
        assert found["initial"][2] == pytest.approx(last[0], rel=1e-5)


def test_what_was_trained_is_not_trained_again_unless_the_code_is_another(
    task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import regret_runs

    waves: list[Any] = []
    run = regret_runs.Runs._trained

    def counted(self: Any, kind: str, rates: Any, seed: int) -> Any:
        waves.append(rates)
        if len(waves) == 12:
            raise KeyboardInterrupt
        return run(self, kind, rates, seed)

    monkeypatch.setattr(regret_runs.Runs, "_trained", counted)
    path = tmp_path / "line.json"
    with pytest.raises(KeyboardInterrupt):
        entry_of(task, path, cyclic=False)
    first = entry_of(task, path, cyclic=False)
    before = len(waves)
    assert entry_of(task, path, cyclic=False) == first
    assert len(waves) == before
    other = entry_of(task, path, code="def", cyclic=False)
    assert len(waves) == before + before - 1  # the interrupted one was begun twice
    assert other["losses"] == first["losses"]


def test_together_the_trainings_are_those_by_themselves(task: Any, tmp_path: Path) -> None:
    from regret_runs import Runs

    long = replace(task, lengths=(STEPS, 2 * STEPS, 5 * STEPS))
    together, alone = Runs(long, tmp_path / "together", "abc"), Runs(long, tmp_path / "alone", "abc")
    rates = [0.01, 0.1, 1e3]
    for kind in ("trunk", "cosine", "one_cycle", "scout"):
        together.train(kind, rates, 1)
        for lr in rates:
            found, wanted = together.losses(kind, lr, 1), alone.losses(kind, lr, 1)
            assert found.keys() == wanted.keys()
            for schedule, losses in wanted.items():
                assert found[schedule] == {
                    n: None if loss is None else pytest.approx(loss, rel=1e-4) for n, loss in losses.items()
                }
                assert (lr == 1e3) == (None in losses.values())
    assert together.initial(1) == pytest.approx(alone.initial(1), rel=1e-5)
    assert together.kept["steps"] >= alone.kept["steps"]  # those that diverge go on beside the others
