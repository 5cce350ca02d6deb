"""The part of `gpu.py` that runs the tests marked `gpu`, a file at a time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu_part import Asked, Part, Row, missing

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"mark\.gpu|helpers\.devices")
BUSY = ("passed", "failed", "skipped")


def marked_files() -> list[Path]:
    """Those that hold tests marked `gpu`."""
    return [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if MARKED.search(path.read_text())]


def left_out(device: str) -> str:
    """A CPU runs these tests with all others."""
    if device != "cuda":
        return "tests marked gpu need a CUDA device"
    return missing("pytest", "pytest") or ("" if (ROOT / "tests").is_dir() else "the tests are not here")


def rows(asked: Asked) -> Iterator[Row]:
    """What came of each file."""
    for path in marked_files():
        name = path.relative_to(ROOT).as_posix()
        begun = time.monotonic()
        if asked.seconds_left <= 0:
            yield {"file": name, "ended": "the clock ran out"}
            continue
        found = outcome_of(path, asked.seconds_left, "gpu")
        yield {"file": name, **found, "seconds": round(time.monotonic() - begun, 1)}


def outcome_of(path: Path, seconds: float, mark: str) -> dict[str, object]:
    """How many tests of a file passed, failed and were skipped, and which failed; how it ended, where not with that."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", str(path), "-m", mark, "-q", "-p", "no:cacheprovider"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                [*command, f"--junitxml={report}"],
                cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"ended": "the clock ran out"}
        if not report.exists():
            return {"ended": f"pytest ended with {done.returncode}: {last_line(done.stdout + done.stderr)}"}
        return counted(report)


def counted(report: Path) -> dict[str, object]:
    """The numbers in pytest's XML."""
    cases = list(ET.parse(report).iter("testcase"))
    problems = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    failures = [f"{case.get('name')}: {_why(case)}" for case in problems]
    return {"passed": len(cases) - len(problems) - skipped, "failed": len(problems), "skipped": skipped,
            "failures": failures}  # fmt: skip


def _why(case: ET.Element) -> str:
    problem = case.find("failure")
    problem = case.find("error") if problem is None else problem
    return "" if problem is None else " ".join((problem.get("message") or "").split())[:300]


def last_line(text: str) -> str:
    """The last that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def cells(row: Row) -> Sequence[str]:
    """Numbers, or how it ended."""
    if "ended" in row:
        return [row["file"], *[""] * len(BUSY), row["ended"]]
    return [row["file"], *(str(row[name]) for name in BUSY), f"{row['seconds']:.0f}"]


def wrong(row: Row) -> str:
    """The tests that failed; a file of which none ran."""
    if "ended" in row:
        return "" if row["ended"] == "the clock ran out" else f"{row['file']}: {row['ended']}"
    if not row["passed"] + row["failed"]:
        return f"{row['file']}: no test ran"
    return "\n".join(f"{row['file']}: {failure}" for failure in row["failures"])


PART = Part("Tests marked gpu", 120.0, left_out, rows, ["file", *BUSY, "seconds"], cells, wrong)
