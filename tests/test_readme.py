"""What README.md and docs/ print works as printed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

import lr_search as lrs
from lr_search.cli import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]
NUMBER = r"\d[\d,]*(?:\.\d+)?"
# the Python of the documents, each by a line that no other has: the tests below run it; those of Ray, tests/system/ray/test_ray_readme.py; those
# of trainers, the test_*_docs.py of each; the schedule of one's own, tests/schedules/test_plugged_in.py
SNIPPETS = [
    "curve = lrs.range_test(model, optimizer, loader, loss)",
    "comparison.save(",
    "discriminator_loss, generator_loss",
    "train_data=rollouts",
    "CrossEntropyLoss(weight=",
    "curve.bounds()[1]",
    "best.optuna_params()",
    "lrs.LRPrior.from_curves([curve])",
    "seed_study(study, make_workload()",
    "executor=lrs.FusedExecutor(width=16)",
    'by_name("triangular2", lr=0.1',
    "lrs.branches(workload",
    "lrs.transfer(workload",
    "lrs.refind(workload",
    "class Halving(Schedule)",
    "torch.optim.AdamW(model.parameters(), lr=run.lr)",
    "model.eta0 = run.lr",
    "RayExecutor(resources_per_trial",
    "StudySearcher(study, space",
    "accelerator.prepare(*make_training())",
    "net = make_net(callbacks=[test",
    "make_net(callbacks=[Schedule(run=run)])",
    "model.fit(x, y, batch_size=32, epochs=3, callbacks=[test",
    "make_model().fit(",
    "callbacks=[lrl.RangeTest(",
    "best.training_arguments()",
    "trainer.hyperparameter_search(",
]


def blocks(language: str, *documents: Path) -> list[str]:
    """What stands in the documents' fences of that language, in order."""
    texts = [document.read_text() for document in documents or DOCUMENTS]
    return [block for text in texts for block in re.findall(rf"(?ms)^```{language}\n(.*?)^```", text)]


def printed_with(line: str) -> str:
    """The one block of Python that has it."""
    (block,) = [block for block in blocks("python") if line in block]
    return block


def run(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_shown(printed: str, shown: str) -> None:
    """What was printed ends in what the document shows: the same words, the numbers to 5%, for machines round differently."""
    ours, theirs = (re.sub(r"\s+", " ", text).strip() for text in (printed, shown))
    ours, theirs = (re.sub(r"\d+ s of search", "some seconds of search", text) for text in (ours, theirs))
    words = re.sub(NUMBER, "#", theirs)
    assert re.sub(NUMBER, "#", ours)[-len(words) :] == words
    wanted = [float(number.replace(",", "")) for number in re.findall(NUMBER, theirs)]
    found = [float(number.replace(",", "")) for number in re.findall(NUMBER, ours)][-len(wanted) :]
    assert found == pytest.approx(wanted, rel=0.05, abs=2e-3)


def test_the_readme_is_short() -> None:
    assert README.stat().st_size <= 12_288


def test_every_document_is_linked_from_the_readme() -> None:
    linked = re.findall(r"\]\((docs/[\w.]+\.md)[)#]", README.read_text())
    assert {path.relative_to(ROOT).as_posix() for path in DOCUMENTS[1:]} == set(linked)


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        path, _, heading = link.partition("#")
        if not link.startswith("https://"):
            target = (document.parent / path) if path else document
            assert target.exists(), link
            heads = re.findall(r"(?m)^#+ (.*)$", target.read_text()) if heading else []
            slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
            assert not heading or heading in slugs, link


def test_every_snippet_is_run_by_a_test() -> None:
    assert len({printed_with(line) for line in SNIPPETS}) == len(SNIPPETS) == len(blocks("python"))


def test_the_two_commands_make_their_environment_in_one_line() -> None:
    lines = [block.strip() for block in blocks("bash", README)]
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


@pytest.mark.processes
def test_the_range_test_in_a_loop_of_your_own_prints_what_is_shown(tmp_path: Path) -> None:
    test, more = printed_with(SNIPPETS[0]), printed_with("curve.bounds()[1]")
    code = f"{test}\nprint('---')\n{more}\nprint(scheduler.get_last_lr())"
    found, _, after = run([sys.executable, "-c", code], tmp_path).partition("---")
    assert_shown(found, blocks("text", README)[0])
    assert after.strip().startswith("[")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_comparison_prints_what_is_shown(tmp_path: Path) -> None:
    comparison, more = printed_with("comparison.save("), printed_with("best.optuna_params()")
    code = f"{printed_with(SNIPPETS[0])}\n{comparison}\n{more}"
    assert_shown(run([sys.executable, "-c", code], tmp_path), blocks("text", README)[1])
    assert (tmp_path / "report" / "report.html").exists()


def line(**changes: Any) -> lrs.Workload:
    inputs = torch.linspace(-1, 1, 64)[:, None]
    return lrs.regression(
        model=lambda: torch.nn.Linear(1, 1), optimizer=torch.optim.Adam, train=(inputs, 3 * inputs), valid=(inputs, inputs),
        **{"batch_size": 32, "num_steps": 60, **changes},
    )  # fmt: skip


@pytest.mark.parametrize("place", [2, 3, 4])
def test_workloads_of_other_shapes_take_steps(place: int) -> None:
    from tests.helpers import shapes

    examples = torch.utils.data.TensorDataset(torch.linspace(-1, 1, 64)[:, None], torch.arange(64) % 2)
    names: dict[str, Any] = {"lrs": lrs, "torch": torch, **vars(shapes), "loader": shapes.points()}
    names |= {"make_model": lambda: torch.nn.Linear(1, 2), "train_set": examples, "valid_set": examples}
    exec(printed_with(SNIPPETS[place]), names)
    training = lrs.train(names["workload"], lrs.schedules.Constant(0.01))
    assert training.advance(8)
    assert training.evaluate().keys() == {names["workload"].objective}


@pytest.mark.long
def test_the_gan_runs(tmp_path: Path) -> None:
    printed = run([sys.executable, str(ROOT / "examples" / "gan.py"), "20"], tmp_path)
    assert re.match(r"(constant, learning rate|cosine, peak learning rate) [\d.e-]+, adams: distance ", printed)
    assert list(tmp_path.iterdir()) == []


def test_the_prior_s_sampler_is_one_of_the_study() -> None:
    model = torch.nn.Linear(4, 1)
    names: dict[str, Any] = {"lrs": lrs, "optuna": optuna, "model": model}
    names["optimizer"] = torch.optim.SGD(model.parameters(), lr=0.1)
    names["train_loader"] = [torch.randn(8, 4) for _ in range(8)]
    names["loss"] = lambda model, batch: (model(batch) - 1).square().mean()
    exec(printed_with("lrs.LRPrior.from_curves([curve])"), names)
    assert names["study"].sampler is names["sampler"]
    assert names["prior"].low < names["curve"].suggest().lr < names["prior"].high


def test_the_schedule_by_name_is_attached_at_its_base() -> None:
    names: dict[str, Any] = {"lrs": lrs, "optimizer": torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)}
    exec(printed_with('by_name("triangular2", lr=0.1'), names)
    assert names["scheduler"].get_last_lr() == pytest.approx([0.1 / 4])  # base_ratio 1/4, as its row says


def test_the_range_is_found_again_at_five_points() -> None:
    names: dict[str, Any] = {"lrs": lrs, "workload": line()}
    exec(printed_with("lrs.refind(workload"), names)
    assert len(names["found"].to_frame()) == 5


def test_the_training_functions_are_compared_and_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = torch.linspace(-1, 1, 32).reshape(-1, 1)
    names: dict[str, Any] = {
        "make_model": lambda: torch.nn.Linear(1, 1),
        "batches": lambda steps: ((x, 3 * x) for _ in range(steps)),
        "evaluate": lambda model: (model(x) - 3 * x).square().mean(),
    }
    block = printed_with("torch.optim.AdamW(model.parameters(), lr=run.lr)").replace("num_steps=300", "num_steps=60")
    exec(block.replace("budget=4)", "budget=2, seeds=1, progress=False)"), names)
    assert names["comparison"].recommend().value < 1.0  # untrained, the mean of (w x - 3 x)^2 is about 3
    exec(printed_with("model.eta0 = run.lr"), names)
    assert 1e-7 < names["train"].range_test(seed=0).suggest().lr < 10


@pytest.mark.long
def test_the_study_of_your_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna_dashboard")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"lrs": lrs, "optuna": optuna, "make_workload": lambda width=8: line()}
    exec(printed_with("seed_study(study, make_workload()").replace("n_trials=20", "n_trials=2"), names)
    assert [trial.state.name for trial in names["study"].trials] == ["COMPLETE"] * 2


@pytest.mark.long
def test_the_fused_comparison_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"lrs": lrs, "workload": line()}
    block = printed_with("executor=lrs.FusedExecutor(width=16)")
    exec(block.replace("executor=", "budget=2, seeds=1, progress=False, executor="), names)
    assert set(names["comparison"].trials["schedule"]) == {"constant", "sgdr"}


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
    printed = printed_with("lrs.branches(workload")
    names: dict[str, Any] = {"lrs": lrs, "workload": line(eval_every=600)}
    exec(printed, names)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["300", "600", "1200"]
    said = re.findall(r"([\d,]+) steps in place of ([\d,]+)", printed)[0]
    assert [int(number.replace(",", "")) for number in said] == [names["branches"].steps, 300 + 600 + 1200]


def test_the_transfer_runs_as_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"lrs": lrs, "workload": line(num_steps=1600)}
    exec(printed_with("lrs.transfer(workload"), names)
    found = names["found"]
    assert capsys.readouterr().out.startswith(f"cosine with Adam in 1,600 steps: LR {found.lr:.3g} (80% between")
    assert names["schedule"](0) == found.lr
    assert found.cost <= 0.25
    assert (tmp_path / "transfer.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_the_transfer_of_5000_steps_is_better_than_ten_times_less_or_more(tmp_path: Path) -> None:
    printed = run([sys.executable, str(ROOT / "examples" / "transfer.py")], tmp_path)
    assert printed.startswith("cosine with AdamW in 5,000 steps: LR ")
    low, found, high = (float(loss) for loss in re.findall(r"loss ([\d.]+) after 5,000 steps", printed))
    assert found < min(low, high)


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
    assert "learning rate" in printed
    assert (tmp_path / "compare_digits_report" / "report.html").exists()


@pytest.mark.long
def test_the_demo_runs_and_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lr_search", "demo", "--budget", "2", "--seeds", "1"]
    first = run(command, tmp_path)
    assert "Train with: " in first
    trials = (tmp_path / "report" / "trials.csv").read_text()
    run(command, tmp_path)
    assert (tmp_path / "report" / "trials.csv").read_text() == trials  # to the second: nothing was trained again
