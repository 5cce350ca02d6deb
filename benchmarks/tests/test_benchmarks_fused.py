"""The benchmark of fused trainings: that a small run of it works, and that its tables and aims say what was measured."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from lr_search.fused.support import support_of

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
MODULES = ("fused", "fused_runs", "fused_tables", "fused_tasks")
MLP, LOCAL, AUTO = "MLP 64-32-32-10", "LocalExecutor", 'width="auto"'


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def main() -> ModuleType:
    import fused

    return fused


@pytest.fixture
def runs() -> ModuleType:
    import fused_runs

    return fused_runs


@pytest.fixture
def tables() -> ModuleType:
    import fused_tables

    return fused_tables


@pytest.fixture
def tasks() -> ModuleType:
    import fused_tasks

    return fused_tasks


def row(task: str = MLP, optimizer: str = "Adam", **changes: Any) -> dict[str, Any]:
    plain = {"alone": 2000.0, "ratios": {"1": 0.5, "8": 3.0, "16": 4.5, "32": 6.0}, "auto": 32}
    sizes = {"losses": 1.2e-7, "weights": 3e-6, "row_bytes": 2**16, "added_bytes": 3 * 2**19}
    return {"task": task, "optimizer": optimizer, **plain, **sizes, **changes}


def whole(local: list[float], auto: list[float]) -> dict[str, Any]:
    return {"task": MLP, "optimizer": "SGD", "steps": 300, "trials": 32, "seconds": {LOCAL: local, AUTO: auto}}


def found(rows: list[dict[str, Any]], auto: float = 2.0) -> dict[str, Any]:
    where = {"processor": "a processor", "torch": "2.9"}
    return {"machine": where, "rows": rows, "comparisons": [whole([4.0], [4.0 / auto])]}


class Clock:
    """Each look at it is a second later."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_small_run_is_written_and_printed(
    main: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = main.Plan([MLP], [1, 2], 2, 0.001, [main.Asked(MLP, "SGD", 4, 2)], 3)
    monkeypatch.setattr(main, "QUICK", plan)
    for name, value in {"MOST_STEPS": 40, "WIDTH": 3, "STEPS": 20}.items():
        monkeypatch.setattr(f"fused_runs.{name}", value)
    # a process of its own takes seconds
    monkeypatch.setattr("fused_runs.added_apart", lambda *what: len("".join(what)))
    path = tmp_path / "found.json"
    path.write_text(
        json.dumps({"cuda": {**found([row()]), "machine": {"gpu": "a GPU", "processor": "p", "torch": "2"}}})
    )
    monkeypatch.setattr(sys, "argv", ["fused.py", "--quick", "--device", "cpu", "--json", str(path)])
    threads = torch.get_num_threads()
    try:
        main.main()
    finally:
        torch.set_num_threads(threads)
    written = json.loads(path.read_text())
    assert list(written) == ["cuda", "cpu"]
    assert written["cpu"]["machine"]["torch"] == torch.__version__
    assert [(each["task"], each["optimizer"]) for each in written["cpu"]["rows"]] == [(MLP, "SGD"), (MLP, "Adam")]
    for each in written["cpu"]["rows"]:
        assert list(each["ratios"]) == ["1", "2"]
        assert min(each["alone"], *each["ratios"].values(), each["row_bytes"]) > 0
        assert each["auto"] in (1, 2)
        assert each["added_bytes"] == len(MLP + each["optimizer"] + "cpu")
        assert max(each["losses"], each["weights"]) < 1e-3
    seconds = written["cpu"]["comparisons"][0]["seconds"]
    assert list(seconds) == [LOCAL, "width=16", "width=32", AUTO]
    assert all(len(each) == 2 and min(each) > 0 for each in seconds.values())
    printed = capsys.readouterr().out
    assert "a GPU (p), torch 2" in printed
    assert f"| {MLP} | SGD | 4 |" in printed


def test_the_tables_print_from_what_was_written(tables: ModuleType, main: ModuleType) -> None:
    kept = json.loads((ROOT / "benchmarks" / "fused.json").read_text())
    printed = tables.text(kept)
    for each in kept.values():
        assert [row["task"] for row in each["rows"][::2]] == main.FULL.tasks
        assert {tuple(row["ratios"]) for row in each["rows"]} == {tuple(map(str, main.FULL.widths))}
        assert each["machine"].get("gpu", each["machine"]["processor"]) in printed
        for row in each["rows"]:
            assert f"| {row['task']} | {row['optimizer']} | {row['alone']:,.0f} | {row['ratios']['1']:.2f} |" in printed
    assert len(kept["cpu"]["comparisons"]) == len(main.FULL.comparisons)


def test_the_page_has_the_tables_that_were_kept(tables: ModuleType) -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    kept = json.loads((ROOT / "benchmarks" / "fused.json").read_text())["cpu"]
    cells = [*map(tables.rate_cells, kept["rows"]), *map(tables.comparison_cells, kept["comparisons"])]
    for row in cells:
        assert f"| {' | '.join(row)} |" in page
    assert kept["machine"]["processor"] in page


def test_fused_and_alone_agreed(tables: ModuleType) -> None:
    kept = json.loads((ROOT / "benchmarks" / "fused.json").read_text())
    assert max(row["losses"] for each in kept.values() for row in each["rows"]) < 1e-3


def test_every_task_can_be_fused(tasks: ModuleType) -> None:
    for name, task in tasks.TASKS.items():
        for optimizer in tasks.OPTIMIZERS:
            support = support_of(task.workload(optimizer, 10, "cpu"), 0)
            assert (support.reason, support.stacks, support.metrics, support.draws) == ("", True, True, False), name


def test_the_models_are_those_that_the_aims_name(tasks: ModuleType) -> None:
    sizes = {name: sum(each.numel() for each in task.model().parameters()) for name, task in tasks.TASKS.items()}
    assert sizes[MLP] == 64 * 32 + 32 * 32 + 32 * 10 + 32 + 32 + 10
    assert sizes["residual MLP 32"] == 64 * 32 + 4 * 32 * 32 + 32 * 10 + 5 * 32 + 10
    assert sizes["CNN 8-16"] == 9 * 8 + 9 * 8 * 16 + 8 + 16 + 256 * 10 + 10
    assert sizes["CNN 8-16, BatchNorm"] == sizes["CNN 8-16"] + 8 + 16  # two a channel for one
    for width in (32, 64):
        attention, forward = 4 * width * (width + 1), 2 * 2 * width**2 + 3 * width
        layers = 2 * (attention + forward + 2 * 2 * width)
        assert sizes[f"transformer {width}"] == (64 + 32) * width + layers + 64 * (width + 1)


def test_a_transformer_sees_no_later_token(tasks: ModuleType) -> None:
    torch.manual_seed(0)
    model = tasks.Transformer(32)
    inputs, targets = tasks.sequences(0, 8)[0]
    assert (tuple(inputs.shape), tuple(targets.shape)) == ((8, 32), (8, 32))
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    changed = torch.cat([inputs[:, :20], (inputs[:, 20:] + 1) % 64], dim=1)
    before, after = model(inputs), model(changed)
    torch.testing.assert_close(before[:, :20], after[:, :20])
    assert (before[:, 20:] - after[:, 20:]).abs().amax() > 0.1


def test_each_word_has_few_followers(tasks: ModuleType) -> None:
    words = tasks.tokens()
    pairs = {(a, b) for line in words for a, b in pairwise(line.tolist())}
    assert max(sum(a == word for a, _ in pairs) for word in range(64)) <= 4


def test_a_rate_counts_all_models(runs: ModuleType) -> None:
    taken: list[int] = []
    contender = runs.Contender(8, taken.append, Clock(), steps=5)
    assert contender.rate() == 40.0  # within a second
    contender.fit(seconds=3.0, rounds=4)
    assert contender.steps == 15
    contender.fit(seconds=1e9, rounds=4)
    assert taken == [5, 5, 5, 15, 15]
    assert contender.steps == (runs.MOST_STEPS - 2 * runs.FEWEST) // 4


def test_ratios_are_medians_within_rounds(runs: ModuleType, monkeypatch: pytest.MonkeyPatch, tasks: ModuleType) -> None:
    workload = tasks.TASKS[MLP].workload("SGD", 40, "cpu")
    monkeypatch.setattr(runs, "MOST_STEPS", 40)
    made: dict[int, list[float]] = {1: [10.0, 20.0, 40.0], 2: [20.0, 20.0, 120.0]}  # by round

    def rate(contender: Any) -> float:
        return made[contender.models].pop(0)

    monkeypatch.setattr(runs.Contender, "fit", lambda self, seconds, rounds: None)
    monkeypatch.setattr(runs.Contender, "rate", rate)
    assert runs.rates(workload, support_of(workload, 0), [2], 3, 0.1) == {"alone": 20.0, "ratios": {"2": 2.0}}


def test_differences_are_relative_lengths(runs: ModuleType) -> None:
    counted = {"a": torch.tensor([[3.0]]), "b": torch.tensor([4.0]), "num_batches_tracked": torch.tensor(1000)}
    other = {**counted, "b": torch.tensor([4.5])}
    assert runs.vector(counted).tolist() == [3.0, 4.0]
    assert runs.relative(runs.vector(other), runs.vector(counted)) == pytest.approx(0.1)


def test_memory_that_16_models_add_is_at_least_their_weights(runs: ModuleType) -> None:
    added = runs.added_apart("transformer 64", "Adam", "cpu")
    weights = 4 * sum(each.numel() for each in runs.TASKS["transformer 64"].model().parameters())
    assert (added is None) == (not runs.STATUS.exists())
    assert added is None or 14 * weights < added < 2**30


def test_cells_say_what_was_measured(tables: ModuleType) -> None:
    assert tables.rate_heads([row()]) == ["model", "optimizer", "alone, steps/s", "1", "8", "16", "32", "auto"]
    assert tables.rate_cells(row()) == [MLP, "Adam", "2,000", "0.50", "3.00", "4.50", "6.00", "6.00 at 32"]
    assert tables.rate_cells(row(auto=1))[-1] == "1.00 at 1"  # it does not fuse
    assert tables.agreement_cells(row()) == [MLP, "Adam", "1e-07", "3e-06", "1.0", "1.5"]
    assert tables.agreement_cells(row(added_bytes=None))[-1] == ""
    compared = whole([4.0, 5.0, 9.0], [2.0, 2.0, 9.0])
    assert tables.comparison_cells(compared) == [MLP, "SGD", "300", "5.0", "2.0 (2.00)"]
    assert tables.comparison_heads([compared]) == ["model", "optimizer", "steps", LOCAL, AUTO]


def test_an_aim_that_is_missed_is_said_so(tables: ModuleType) -> None:
    def verdicts(device: str, rows: list[dict[str, Any]], auto: float = 2.0) -> list[str]:
        return [line.rpartition(": ")[2] for line in tables.aims(device, found(rows, auto))]

    adam, sgd, slow = row(), row(optimizer="SGD"), {"1": 0.5, "8": 1.4, "16": 1.2, "32": 9.0}
    assert verdicts("cpu", [adam, sgd]) == ["reached"] * 4
    fair = {"1": 0.5, "8": 1.4, "16": 3.5, "32": 9.0}
    assert verdicts("cpu", [row(ratios=fair), row(optimizer="SGD", ratios=fair)])[:2] == ["MISSED", "reached"]
    transformer = row("transformer 32", ratios=slow)
    assert verdicts("cpu", [transformer])[0] == "MISSED"
    assert verdicts("cpu", [{**transformer, "ratios": {**slow, "8": 1.5}}])[0] == "reached"
    assert verdicts("cpu", [row(auto=1), row(auto=8, ratios={"8": 0.94, "16": 4})], auto=0.94)[-2:] == ["MISSED"] * 2
    gpu = [row(ratios={"16": 14.0, "64": 16.0}, auto=64), row("CNN 8-16", ratios={"16": 9.0, "64": 14.0}, auto=64)]
    gpu.append(row(optimizer="SGD", ratios={"16": 12.0, "64": 13.0}, auto=64))
    assert verdicts("cuda", gpu) == ["reached", "MISSED", "reached", "reached"]
    assert "the MLP: 16.00 times at width 64 (MLP 64-32-32-10, Adam), aim 15" in tables.aims("cuda", found(gpu))[0]
