"""What benchmarks/judge.py prints and refuses, and the fingerprint that its truth goes by."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import judge
import judge_tasks
import lifelike
from lifelike.fingerprint import fingerprint
from lifelike.sources import MissingDataError
from lifelike.task import LifelikeTask

pytestmark = pytest.mark.bench

INITIAL = [2.0, 2.1, 1.9, 2.0]


def regression() -> lrs.Workload:
    """A line through 64 points, by full steps over small batches."""
    inputs = torch.linspace(-1, 1, 64).reshape(8, 8, 1)
    return lrs.Workload(
        model=lambda: nn.Linear(1, 1), optimizer=torch.optim.SGD, train_data=lambda: inputs, valid_data=lambda: inputs, device="cpu",
        loss=lambda model, batch: ((model(batch) - 3 * batch) ** 2).mean(),
    )  # fmt: skip


def entry(task: LifelikeTask) -> dict[str, object]:
    losses = {
        schedule: {
            length: {f"{10**p:.6g}": [2 - max(0.0, 1 - (p + 1) ** 2)] * 2 for p in (-2, -1.5, -1, -0.5, 0)}
            for length in lengths
        }
        for schedule, lengths in {"constant": ("300", "1000"), "cosine": ("300",)}.items()
    }
    return {"code": fingerprint(task), "torch": "2", "initial": INITIAL, "losses": losses, "cpu_seconds": 1.0}


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, LifelikeTask]:
    made = {name: LifelikeTask(name, "fit", "none", "lines", regression) for name in ("one", "other")}
    made["third"] = LifelikeTask("third", "judge", "none", "lines", regression)
    monkeypatch.setattr(lifelike, "TASKS", made, raising=False)
    monkeypatch.setattr(judge_tasks, "HERE", tmp_path)
    monkeypatch.setattr(judge_tasks, "FOLDER", tmp_path / "data")
    for side in ("fit", "judge"):
        path = tmp_path / f"regret_{side}.json"
        path.write_text(json.dumps({name: entry(task) for name, task in made.items() if task.side == side}))
    return made


def test_the_command_prints_every_table_and_keeps_the_curves(
    tasks: dict[str, LifelikeTask], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--seeds", "2", "--jobs", "1", "--per-task"]
    judge.main([*options, "--json", str(tmp_path / "runs.json")])
    first = capsys.readouterr().out
    titles = [line[3:].partition(":")[0] for line in first.splitlines() if line.startswith("==")]
    assert titles == [
        "constant, 300 steps", "constant, 1000 steps", "constant, all lengths", "cosine, 300 steps", "overview", "constant", "cosine",
    ]  # fmt: skip
    assert first.count("present rule ") == 4 + 1
    of_present = [line.split() for line in first.splitlines() if line.startswith("present rule ")]
    told = first.partition("== overview\n")[2].splitlines()[1:5]
    assert [line.split()[-8] for line in told] == [words[2] for words in of_present[:4]]  # the mean regrets
    lines = [line for line in first.splitlines() if line.startswith(("one ", "other "))]
    assert [line.count("1.0e-01") for line in lines] == [2, 2, 1, 1]  # the best LR at each length
    assert "range tests: 0 tasks' from curves_fit.json, 2 tasks' run now" in first
    runs = json.loads((tmp_path / "runs.json").read_text())
    assert {run["task"] for run in runs} == {"one", "other"}
    judge.main(options)
    second = capsys.readouterr().out
    assert "range tests: 2 tasks' from curves_fit.json, 0 tasks' run now" in second
    assert second.splitlines()[1:] == first.splitlines()[1:]
    judge.main(["--seeds", "3", "--jobs", "1", "--schedules", "cosine", "--tasks", "one"])
    third = capsys.readouterr().out
    assert "1 tasks' run now" in third
    assert "constant, " not in third


def test_the_judging_side_is_asked_for_by_name_and_beside_widths_of_the_fitted(
    tasks: dict[str, LifelikeTask], capsys: pytest.CaptureFixture[str]
) -> None:
    judge.main(["--side", "judge", "--seeds", "1", "--jobs", "1", "--lengths", "300"])
    found = capsys.readouterr().out
    assert found.startswith(judge.ONCE)
    assert "constant, 300 steps: 1 tasks" in found
    assert "the width: fitted on --side fit" in found
    assert "2 tasks' run now" in found  # of the fitted side
    assert "1000" not in found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        judge.main(["--jobs", "1", *arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err.strip()


def test_what_the_truth_does_not_have_is_refused_in_words(
    tasks: dict[str, LifelikeTask], capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, "--lengths", "700") == "--lengths 700: the truth must have it, but there are 300, 1000"
    assert (
        refused(capsys, "--schedules", "sgdr")
        == "--schedules sgdr: the truth must have it, but there are constant, cosine"
    )
    assert (
        refused(capsys, "--tasks", "none") == "--tasks none: regret_fit.json must hold its truth; there are one, other"
    )
    assert refused(capsys, "--seeds", "0") == "--seeds must be at least 1, but got 0"
    assert "argument --side" in refused(capsys, "--side", "both")


def test_a_truth_of_other_code_is_refused(
    tasks: dict[str, LifelikeTask], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "regret_fit.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({"one": known["one"] | {"code": "0123456789ab"}}))
    assert refused(capsys) == (
        f"regret_fit.json knows one as 0123456789ab, the code now makes {fingerprint(tasks['one'])}: "
        "python benchmarks/regret_truth.py --side fit --tasks one"
    )
    path.write_text(json.dumps({"third": known["one"]}))
    assert refused(capsys).startswith(
        "regret_fit.json must hold tasks of side fit in benchmarks/lifelike, but knows third"
    )
    path.write_text(
        json.dumps({"one": {"code": known["one"]["code"], "losses": {"constant": {"300": {"0.1": [1.0]}}}}})
    )
    assert "KeyError: 'initial': python benchmarks/regret_truth.py --side fit --tasks one" in refused(capsys)
    path.write_text("{")
    assert refused(capsys).startswith("regret_fit.json must be JSON, but it is not")
    path.unlink()
    assert refused(capsys) == (
        "A truth file must be there to judge by, but regret_fit.json is not: python benchmarks/regret_truth.py --side fit"
    )


def test_missing_data_are_told_with_the_command_that_gets_them(
    tasks: dict[str, LifelikeTask], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> lrs.Workload:
        raise MissingDataError("python benchmarks/fetch_data.py fashion")

    monkeypatch.setitem(tasks, "one", LifelikeTask("one", "fit", "none", "lines", missing))
    assert refused(capsys) == "python benchmarks/fetch_data.py fashion"


def test_where_no_lr_trains_nothing_is_judged(
    tasks: dict[str, LifelikeTask], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "regret_fit.json"
    known = json.loads(path.read_text())["one"]
    known["losses"] = {"constant": {"300": {"0.1": [9.0], "1": [None]}}}
    path.write_text(json.dumps({"one": known}))
    assert refused(capsys) == "Nothing is left to judge: name other --tasks, --schedules or --lengths."


def test_the_older_tasks_have_the_regret_that_they_had(capsys: pytest.CaptureFixture[str]) -> None:
    from truth import regret, truth

    for one in judge_tasks.of_sets(["b", "judge"], None):
        (found,) = one.truths
        assert found.num_steps == truth()[one.name]["num_steps"]
        for place in np.linspace(found.places[0], found.places[-1] + 0.5, 40):
            assert found.regret(place) == pytest.approx(regret(one.name, 10**place), abs=1e-4)


# ---- the fingerprint ----


def test_a_fingerprint_is_the_same_every_time_and_another_for_other_code() -> None:
    task = LifelikeTask("one", "fit", "none", "lines", regression)
    state = torch.get_rng_state()
    found = fingerprint(task)
    assert len(found) == 12
    assert torch.equal(torch.get_rng_state(), state)
    assert fingerprint(LifelikeTask("renamed", "judge", "other", "others", regression)) == found

    def changed(**settings: object) -> str:
        return fingerprint(LifelikeTask("one", "fit", "none", "lines", lambda: lrs.Workload(**parts | settings)))

    parts = {
        name: getattr(regression(), name)
        for name in ("model", "optimizer", "loss", "train_data", "valid_data", "device")
    }
    inputs = parts["train_data"]()
    others = [
        changed(model=lambda: nn.Linear(1, 1, bias=False)),
        changed(optimizer=lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9)),
        changed(loss=lambda model, batch: (model(batch) - 3 * batch).abs().mean()),
        changed(train_data=lambda: inputs * 1.01),
        changed(valid_data=lambda: inputs.flip(0)),
        changed(clip_norm=1.0),
        fingerprint(LifelikeTask("one", "fit", "none", "lines", regression, lengths=(300,))),
    ]
    assert len({found, *others}) == 8
    assert changed(num_steps=7) == found
