"""What only a GPU can answer, in under 8 minutes on one card: `python benchmarks/gpu.py`, with torch 2.8 or later.

    checks    the tests marked `gpu`: a range test restores the GPU's random state, weights and optimizer to the bit, also after an
              exception; bf16, and fp16 with a GradScaler; no step waits for the device; fused trials come out as one by one
    fused     fused trials of small models, 1 to 64 at once, against one by one: rates, memory, agreement
    memory    memory runs out under a FusedExecutor: the width is halved, no trial is lost, the answers are the same
    ray       two trials at a time on one card by Ray, against one at a time

Each part runs in a process of its own, and is ended where its time is over; what it has found by then is kept. What is not
installed (pytest, scikit-learn, Ray) is said and left out. Prints a table for each part, and writes benchmarks/gpu.json with the
card's name. Exit code 1 where something came out wrong. Without a card: a sentence.

`--device cpu --quick` tries out the script: it runs on the CPU what has a meaning there, and writes nothing unless --json is given.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fused import processor
from fused_tables import markdown
from gpu_checks import PART as CHECKS
from gpu_checks import last_line
from gpu_fused import PART as FUSED
from gpu_memory import PART as MEMORY
from gpu_part import Asked, Part
from gpu_ray import PART as RAY

PARTS: dict[str, Part] = {"checks": CHECKS, "fused": FUSED, "memory": MEMORY, "ray": RAY}
TOTAL_SECONDS = 455.0  # of all parts; what Python and torch need to start comes on top
FEWEST_SECONDS, RESERVE_SECONDS = 15.0, 5.0  # a part is not begun in less; its rows end so long before it is ended
WRITTEN = Path(__file__).with_suffix(".json")
NO_CARD = (
    "This machine has no CUDA device that torch can use, so there is nothing that this script could tell. "
    "`--device cpu --quick` tries it out."
)
say = partial(print, flush=True)


def machine(device: str) -> dict[str, Any]:
    """What it runs on."""
    found: dict[str, Any] = {"processor": processor(), "torch": torch.__version__, "python": platform.python_version()}
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found = {"gpu": card.name, "gpu_bytes": card.total_memory, "capability": f"{card.major}.{card.minor}", **found}
        found["cuda"] = torch.version.cuda
    return found


def write_rows(name: str, asked: Asked, path: Path) -> None:
    """Run a part in this process, and write its rows as they come, a line each."""
    torch.set_num_threads(1)
    with path.open("w") as file:
        for row in PARTS[name].rows(asked):
            file.write(json.dumps(row) + "\n")
            file.flush()


def run_apart(name: str, asked: Asked, path: Path) -> str:
    """Run a part in a process of its own. Returns: how it ended, "" where by itself and well."""
    command = [sys.executable, __file__, "--part", name, "--device", asked.device, "--rows", str(path)]
    command += ["--quick"] if asked.quick else []
    command += ["--seconds", f"{asked.seconds_left - RESERVE_SECONDS:.1f}"]
    printed = path.with_suffix(".txt")  # no pipe: what it leaves behind would keep that open
    with printed.open("w") as file:
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = child.wait(timeout=max(asked.seconds_left, 1.0))
        except subprocess.TimeoutExpired:
            return "the clock ran out"
        finally:
            _end(child)
    return "" if code == 0 else f"failed: {last_line(printed.read_text(errors='replace')) or code}"


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a process and those that it has started, if it has not ended by itself."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def ran(name: str, device: str, quick: bool, seconds: float) -> dict[str, Any]:
    """A part's rows, and how it ended."""
    part, begun = PARTS[name], time.monotonic()
    reason = part.left_out(device)
    if not reason and seconds < FEWEST_SECONDS:
        reason = "the clock ran out"
    if reason:
        return {"left_out": reason, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        ended = run_apart(name, Asked(device, quick, begun + min(seconds, part.seconds)), path)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("\n")]  # the last may be half a line
    return {"ended": ended, "seconds": round(time.monotonic() - begun, 1), "rows": rows}


def text(name: str, found: dict[str, Any]) -> str:
    """A part's table, and what is to be said of it."""
    part = PARTS[name]
    if "left_out" in found:
        return f"{part.about}\n\nLeft out: {found['left_out']}."
    lines = [f"{part.about} ({found['seconds']:.0f} s)", markdown(part.heads, map(part.cells, found["rows"]))]
    if found["ended"]:
        lines.append(f"Ended early: {found['ended']}.")
    return "\n\n".join(lines)


def wrong(name: str, found: dict[str, Any]) -> list[str]:
    """What came out wrong in a part, a line each."""
    told = [PARTS[name].wrong(row) for row in found["rows"]]
    ended = found.get("ended", "")
    told += [f"{name}: {ended}"] if ended.startswith("failed") else []
    return [line for line in told if line]


def run_all(names: Sequence[str], device: str, quick: bool) -> dict[str, Any]:
    """Every part after the other, each as long as it may take and the whole has left."""
    begun = time.monotonic()
    found: dict[str, Any] = {"machine": machine(device), "device": device, "quick": quick, "parts": {}}
    say(", ".join(f"{name} {value}" for name, value in found["machine"].items()))
    for name in names:
        found["parts"][name] = ran(name, device, quick, TOTAL_SECONDS - (time.monotonic() - begun))
        say("\n" + text(name, found["parts"][name]))
    found["wrong"] = [line for name, part in found["parts"].items() for line in wrong(name, part)]
    found["seconds"] = round(time.monotonic() - begun, 1)
    return found


def main() -> int:
    """Run, print the tables and write them as JSON. Returns: the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--json", type=Path, default=None, help=f"what is written; on a card, {WRITTEN.name} beside it")
    for inner, kind in (("--part", str), ("--rows", Path), ("--seconds", float)):  # of the processes that it starts
        parser.add_argument(inner, type=kind, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        say(NO_CARD)
        return 0
    if given.part is not None:
        write_rows(given.part, Asked(given.device, given.quick, time.monotonic() + given.seconds), given.rows)
        return 0
    found = run_all(given.parts, given.device, given.quick)
    path = given.json or (WRITTEN if given.device == "cuda" and not given.quick else None)
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n")
    say(f"\n{found['seconds']:.0f} s. " + ("Wrong:" if found["wrong"] else "Nothing came out wrong."))
    for line in found["wrong"]:
        say(f"- {line}")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
