"""The script for a GPU, as far as a CPU can try it: its parts in small, its clock, and what it says where something is missing."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"
MODULES = (
    "gpu",
    "gpu_part",
    "gpu_checks",
    "gpu_fused",
    "gpu_memory",
    "gpu_ray",
    "fused",
    "fused_runs",
    "fused_tables",
    "fused_tasks",
)
MLP = "MLP 64-32-32-10"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def main() -> ModuleType:
    import gpu

    return gpu


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """These are not installed, as far as the script can see."""
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in modules else found(name))


def asked(main: ModuleType, device: str = "cpu", seconds: float = 60.0) -> Any:
    return main.Asked(device, True, time.monotonic() + seconds)


# ---- the whole ----


def test_without_a_card_it_says_so() -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("This machine has no CUDA device")
    assert done.stderr == ""


def test_a_small_run_on_the_cpu_is_written_and_printed(
    main: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu_fused

    def here(name: str, how: Any, path: Path) -> str:
        main.write_rows(name, how, path)
        return ""

    monkeypatch.setattr(main, "run_apart", here)
    monkeypatch.setattr(gpu_fused, "QUICK_TASKS", (MLP,))
    for name, value in {"WIDTH": 3, "STEPS": 20}.items():
        monkeypatch.setattr(f"fused_runs.{name}", value)
    path = tmp_path / "found.json"
    words = ["gpu.py", "--device", "cpu", "--quick", "--parts", "checks", "fused", "memory", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", words)
    threads = torch.get_num_threads()
    try:
        assert main.main() == 0
    finally:
        torch.set_num_threads(threads)
    found = json.loads(path.read_text())
    assert found["wrong"] == []
    assert found["machine"]["torch"] == torch.__version__
    checks, fused, memory = (found["parts"][name] for name in ("checks", "fused", "memory"))
    assert checks == {"left_out": "tests marked gpu need a CUDA device", "rows": []}
    assert [(row["task"], row["optimizer"]) for row in fused["rows"]] == [(MLP, "SGD"), (MLP, "Adam")]
    for row in fused["rows"]:
        assert list(row["ratios"]) == ["1", "2"]
        assert min(row["alone"], *row["ratios"].values()) > 0
        assert row["losses"] < 1e-3
        assert row["added_bytes"] == {"1": None, "2": None}
    assert [(row["widths"], row["finished"]) for row in memory["rows"]] == [([8, 4, 4], 8)]
    assert memory["rows"][0]["apart"] < 1e-3
    printed = capsys.readouterr().out
    assert "Left out: tests marked gpu need a CUDA device." in printed
    assert f"| {MLP} | SGD |" in printed
    assert "| 8, 4, 4 |" in printed
    assert "Nothing came out wrong." in printed


@pytest.mark.ray
def test_parts_on_the_cpu_in_processes_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    parts = ["checks", "memory", "ray"]  # test_a_small_run_on_the_cpu_is_written_and_printed: fused too
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--quick", "--parts", *parts, "--json", str(path)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=400
    )
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(path.read_text())
    assert list(found["parts"]) == parts
    assert [each.get("ended", "") for each in found["parts"].values()] == ["", "", ""]
    first, second = found["parts"]["ray"]["rows"]
    assert (first["finished"], second["finished"], second["apart"]) == (4, 4, 0.0)
    assert (second["most_at_once"], second["workers"]) == (1, 1)
    # a busy machine may be late with the second worker
    assert all("ran at once" in line for line in found["wrong"])


def test_all_parts_together_take_less_than_eight_minutes(main: ModuleType) -> None:
    assert main.TOTAL_SECONDS < 460
    assert sum(part.seconds for part in main.PARTS.values()) <= main.TOTAL_SECONDS
    assert "in under 8 minutes" in main.__doc__


def test_every_tables_rows_are_as_long_as_its_head(main: ModuleType) -> None:
    late = "the clock ran out"
    fused = {"task": MLP, "optimizer": "SGD", "alone": 1.0, "ratios": {"1": 0.5, "2": 1.5}, "losses": 1e-7}
    rows = {
        "checks": [{"file": "a", "passed": 1, "failed": 0, "skipped": 2, "seconds": 3.0}, {"file": "a", "ended": late}],
        "fused": [{**fused, "row_bytes": 2**20, "added_bytes": {"1": 1, "2": 2**21}}, {"task": MLP, "optimizer": "SGD", "failed": "no"}],
        "memory": [memory_row()],
        "ray": [ray_row(), {"at_once": 1, "ended": late}],
    }  # fmt: skip
    for name, part in main.PARTS.items():
        assert {len(part.cells(row)) for row in rows[name]} == {len(part.heads)}, name
    assert main.PARTS["fused"].cells(rows["fused"][0])[-3:] == ["2.0", "2.0", "1e-07"]


# ---- the clock, and what fails ----

SLOW = """
import subprocess, sys, time
rows, = [sys.argv[i + 1] for i, word in enumerate(sys.argv) if word == "--rows"]
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(rows, "w") as file:
    file.write('{"process": %d}\\n{"half' % child.pid)
time.sleep(60)
"""
FAILING = "import sys; print('so far'); sys.exit('the card is on fire')"


def alive(process: int) -> bool:
    """Whether it runs; one that has ended, and that nobody has asked for, does not."""
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


@pytest.fixture
def scripted(main: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A part whose process is that of a script."""

    def make(code: str, seconds: float) -> dict[str, Any]:
        script = tmp_path / "script.py"
        script.write_text(code)
        monkeypatch.setattr(main, "__file__", str(script))
        monkeypatch.setattr(main, "FEWEST_SECONDS", 0.0)
        found: dict[str, Any] = main.ran("memory", "cpu", True, seconds)
        return found

    return make


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_a_part_is_ended_where_its_time_is_over_and_its_rows_are_kept(main: ModuleType, scripted: Any) -> None:
    found = scripted(SLOW, 2.0)
    assert found["ended"] == "the clock ran out"
    assert len(found["rows"]) == 1
    deadline = time.monotonic() + 10
    while alive(found["rows"][0]["process"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(found["rows"][0]["process"])
    assert main.wrong("memory", {**found, "rows": []}) == []


def test_a_part_that_fails_is_told(main: ModuleType, scripted: Any) -> None:
    found = scripted(FAILING, 60.0)
    assert (found["ended"], found["rows"]) == ("failed: the card is on fire", [])
    assert main.wrong("memory", found) == ["memory: failed: the card is on fire"]
    assert "Ended early: failed: the card is on fire." in main.text("memory", found)


def test_a_part_is_not_begun_where_hardly_any_time_is_left(main: ModuleType) -> None:
    assert main.ran("memory", "cpu", True, 10.0) == {"left_out": "the clock ran out", "rows": []}
    import gpu_fused

    late = list(gpu_fused.rows(replace(asked(main), until=time.monotonic() - 1)))
    assert [row["ended"] for row in late] == ["the clock ran out"] * 2


def test_what_is_not_installed_is_said(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_fused

    without(monkeypatch, "pytest", "ray", "sklearn")
    assert main.ran("checks", "cuda", True, 60.0)["left_out"] == "pytest is not installed"
    assert main.text("ray", main.ran("ray", "cpu", True, 60.0)).endswith("Left out: Ray is not installed.")
    monkeypatch.setattr(gpu_fused, "QUICK_TASKS", (MLP, "transformer 32"))
    monkeypatch.setattr(gpu_fused, "measured", lambda *what: {"made": what[0]})
    rows = list(gpu_fused.rows(asked(main)))
    assert [row.get("ended") for row in rows] == ["scikit-learn is not installed, which has its data"] * 2 + [None] * 2
    assert [gpu_fused.wrong(row) for row in rows] == [""] * 4


# ---- the parts ----


def test_every_file_with_tests_for_a_gpu_is_run(main: ModuleType) -> None:
    import gpu_checks

    names = {path.relative_to(ROOT / "tests").as_posix() for path in gpu_checks.marked_files()}
    assert names == {
        "fused/test_fused_on_a_gpu.py", "ramp/test_restores_on_a_gpu.py", "training/test_no_waiting.py",
        "training/test_no_waiting_on_a_gpu.py", "training/test_precision.py",
    }  # fmt: skip


def test_outcomes_of_a_test_file_are_counted(main: ModuleType, tmp_path: Path) -> None:
    import gpu_checks

    path = tmp_path / "test_it.py"
    path.write_text(
        "import pytest\npytestmark = pytest.mark.gpu\n"
        "def test_right(): pass\n"
        "def test_wrong(): assert 1 == 2, 'not the same'\n"
        "@pytest.fixture\ndef broken(): raise OSError('no card')\n"
        "def test_broken(broken): pass\n"
        "@pytest.mark.skip\ndef test_left_out(): pass\n"
    )
    found = gpu_checks.outcome_of(path, 60.0, "gpu")
    assert [found[name] for name in ("passed", "failed", "skipped")] == [1, 2, 1]
    assert [failure.partition(":")[0] for failure in found["failures"]] == ["test_wrong", "test_broken"]
    told = gpu_checks.wrong({"file": "test_it.py", **found})
    assert "test_it.py: test_wrong: AssertionError: not the same" in told
    assert gpu_checks.wrong({"file": "a", "passed": 0, "failed": 0, "skipped": 3, "failures": []}) == "a: no test ran"


def memory_row(**changes: Any) -> dict[str, Any]:
    row = {"trials": 16, "peak_bytes": 2**30, "limit_bytes": 2**29, "widths": [16, 8, 8], "finished": 16, "apart": 1e-6}
    return {**row, "seconds": 3.0, **changes}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ""),
        ({"widths": [16, 8, 4, 4, 8, 4, 4]}, ""),
        ({"widths": [16]}, "memory did not run out of 16 at once: trained together were [16]"),
        ({"widths": [16, 9, 9]}, "the width was not halved: [16, 9, 9]"),
        ({"finished": 15}, "15 of 16 trials finished"),
        ({"apart": 0.01}, "the losses are 1e-02 from those of one by one"),
        ({"apart": float("nan")}, "the losses are nan from those of one by one"),
    ],
)
def test_what_is_wrong_where_memory_runs_out(main: ModuleType, changes: dict[str, Any], told: str) -> None:
    assert main.PARTS["memory"].wrong(memory_row(**changes)) == told


def test_what_is_replaced_to_play_it_is_put_back(main: ModuleType) -> None:
    import gpu_memory

    from lr_search.executors import fused_run
    from lr_search.fused import trials

    before = fused_run.FusedTraining, trials.FusedLoss

    def play() -> None:
        with gpu_memory.noted_widths(), gpu_memory.limited(gpu_memory.QUICK, [None, None], "cpu"):
            assert fused_run.FusedTraining is not before[0]
            assert trials.FusedLoss is not before[1]
            raise OSError("in the middle")

    with pytest.raises(OSError, match="in the middle"):
        play()
    assert (fused_run.FusedTraining, trials.FusedLoss) == before


def test_on_a_card_the_limit_lies_between_the_peaks_and_is_lifted(
    main: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu_memory

    fractions: list[tuple[float, int]] = []
    card = SimpleNamespace(total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: fractions.append(given))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(gpu_memory, "emptied", lambda device: None)

    def run() -> None:
        with gpu_memory.limited(gpu_memory.FULL, [16 * 2**27, 4 * 2**27], "cuda") as limit:
            assert limit == 10 * 2**27
            raise OSError("in the middle")

    with pytest.raises(OSError, match="in the middle"):
        run()
    assert fractions == [(10 / 64, 0), (1.0, 0)]


def test_a_machine_with_a_card_is_named_after_it(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="a card", total_memory=2**30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    found = main.machine("cuda")
    assert [found[name] for name in ("gpu", "gpu_bytes", "capability")] == ["a card", 2**30, "9.0"]
    assert "gpu" not in main.machine("cpu")
    json.dumps(found)


def ray_row(**changes: Any) -> dict[str, Any]:
    row = {"at_once": 2, "seconds": 9.0, "trained_seconds": 5.0, "trial_seconds": 2.0, "most_at_once": 2, "workers": 2}
    return {**row, "device": "a GPU", "finished": 4, "apart": 0.0, "on_asked_device": True, **changes}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ""),
        ({"most_at_once": 1}, "1 trials ran at once where 2 should have"),
        ({"finished": 3}, "3 of 4 trials finished"),
        ({"apart": 0.5}, "the losses are 5e-01 from those of 2 at once"),
        ({"on_asked_device": False, "device": "cpu (1 thread)"}, "they were trained on cpu (1 thread)"),
    ],
)
def test_what_is_wrong_on_ray(main: ModuleType, changes: dict[str, Any], told: str) -> None:
    assert main.PARTS["ray"].wrong(ray_row(**changes)) == told


def test_how_many_ran_at_once(main: ModuleType) -> None:
    import gpu_ray

    assert gpu_ray.max_at_once([]) == 0
    assert gpu_ray.max_at_once([(0, 1), (1, 2)]) == 1
    assert gpu_ray.max_at_once([(0, 3), (1, 2), (2, 4), (2, 3)]) == 3


def test_what_is_wrong_with_fused_trials(main: ModuleType) -> None:
    named = {"task": MLP, "optimizer": "SGD"}
    wrong = main.PARTS["fused"].wrong
    assert wrong({**named, "losses": 1e-7}) == ""
    assert wrong({**named, "ended": "the clock ran out"}) == ""
    assert wrong({**named, "failed": "OSError: no"}) == f"{MLP}, SGD: OSError: no"
    assert wrong({**named, "losses": 0.1}).endswith("are 1e-01 from those of each by itself")
