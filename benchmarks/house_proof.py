"""Proves that no answer changed: runs one driver under the old code and under the present one, and compares to the bit.

    python benchmarks/house_proof.py OLD_REF

The old code is a git worktree of OLD_REF; the present code is this working tree. Each is installed into a folder of its own, so
that its entry points are its own. Compared are public names and arguments, range tests with all that is read off them,
schedules, trainings, comparisons (with and without a pruner, confirmed, fused) with their report, what the command line prints,
a storage that the old code wrote, and comparisons that the old code began or was killed in. Exits with 1 where anything differs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("public", "curves", "schedules", "trainings", "comparisons", "command_line")
SHOWN = 5  # of what differs in one part


def main(ref: str) -> int:
    """Run both sides and print the table. Returns: the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the worktree goes, too
    top = Path(tempfile.mkdtemp(prefix="house_proof."))
    try:
        _install(ref, top)
        with ThreadPoolExecutor(2) as both:
            list(both.map(lambda side: _run(top, side, side, *PARTS, "undisturbed"), ("old", "new")))
            list(both.map(lambda place: _begin(top, place), ("old", "handed")))
        _run(top, "old", "old", "reading", "extended", "after_the_kill")
        _run(top, "new", "handed", "reading", "extended", "after_the_kill")
        return _report(top)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(top / "tree")], cwd=ROOT, capture_output=True)
        shutil.rmtree(top, ignore_errors=True)


def _install(ref: str, top: Path) -> None:
    subprocess.run(["git", "worktree", "add", "--detach", "-q", str(top / "tree"), ref], cwd=ROOT, check=True)
    ours = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in ours.stdout.decode().split("\n"):
        if name and (ROOT / name).is_file():
            (top / "present" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, top / "present" / name)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    for side, tree in (("old", "tree"), ("new", "present")):
        subprocess.run([*pip, "--target", str(top / f"{side}-code"), str(top / tree)], check=True)


def _run(top: Path, side: str, place: str, *parts: str) -> int:
    """Run the driver's parts under one side's code, in a folder. Returns: the exit code, which must be 0 but for a kill."""
    path = f"{top / f'{side}-code'}{os.pathsep}{ROOT / 'benchmarks'}"
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "COLUMNS": "120"}
    driver = ROOT / "benchmarks" / "house_proof_driver.py"
    (top / place).mkdir(exist_ok=True)
    call = [sys.executable, str(driver), str(top / place), *parts]
    done = subprocess.run(call, env=environment, cwd=top / place, capture_output=True, text=True)
    if done.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"{side}: {' '.join(parts)} failed:\n{done.stderr[-3000:]}")
    return done.returncode


def _begin(top: Path, place: str) -> None:
    if _run(top, "old", place, "begin") != -signal.SIGKILL:
        raise SystemExit("the comparison that was to be killed in the middle ended before: raise its budget")


def _report(top: Path) -> int:
    """Print the table. Returns: 1 where anything differs."""
    rows = [(part, "old", part, "new", part) for part in PARTS]
    rows += [
        ("undisturbed", "old", "undisturbed", "new", "undisturbed"),
        ("a storage of the old code", "old", "reading", "handed", "reading"),
        ("begun by it, and extended", "old", "extended", "handed", "extended"),
        ("killed, and gone on with", "old", "undisturbed", "handed", "after_the_kill"),
    ]
    print(f"{'compared':<28} {'values':>8}  result")
    results = []
    for title, one, part, other, same in rows:
        old, new = _read(top / one, part, f"{top}/old-code"), _read(top / other, same, f"{top}/new-code")
        differing = [path for path in {**old, **new} if old.get(path) != new.get(path)]
        print(f"{title:<28} {len(old):>8}  {f'DIFFERS in {len(differing)}' if differing else 'equal'}")
        for path in differing[:SHOWN]:
            print(f"    {path}")
            print(f"        old: {_shown(old.get(path), new.get(path))}")
            print(f"        new: {_shown(new.get(path), old.get(path))}")
        results.append(differing)
    return int(any(results))


def _read(folder: Path, part: str, code: str) -> dict[str, Any]:
    """Path -> value, of everything that a part found."""
    kept = json.loads((folder / f"{part}.json").read_text())
    if not kept["from"].startswith(code):
        raise SystemExit(f"{part} of {folder.name} ran under {kept['from']}, not under {code}")
    return dict(_leaves(kept["found"], ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in pairs:
            yield from _leaves(each, f"{path}/{key}")
        yield f"{path}/#", len(value)
    else:
        yield path, value


def _shown(value: Any, other: Any) -> str:
    """The value, from where it differs."""
    if not isinstance(value, str) or not isinstance(other, str):
        return repr(value)[:200]
    first = next((k for k, (a, b) in enumerate(zip(value, other, strict=False)) if a != b), min(len(value), len(other)))
    return repr(value[max(0, first - 60) : first + 140])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    sys.exit(main(sys.argv[1]))
