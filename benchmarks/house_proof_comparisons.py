"""The comparisons that `house_proof.py` runs under the old code and under the present one: see house_proof_driver.py."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from house_proof_driver import KEPT, SEARCH, SHORT, STEPS_TO_KILL, Deadly, said, workload

import lr_search as lrs
from lr_search.results.summary import summary_frame

# when and where a trial ran, and for how long: written into the storage before it is read
STILL = {"seconds": 1.5, "started": "2026-01-01T00:00:00+00:00", "worker": "machine/1"}
MASKS = {
    r"data:[a-z/+]+;base64,[A-Za-z0-9+/=]+": "pictures: matplotlib writes its date and ids into them",
    r"(?s)<svg.*?</svg>": "pictures likewise",
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|\+00:00| UTC)?": "dates",
    r"\b[0-9a-f]{40}( \(with uncommitted changes\))?": "the commit",
    r"lr-search</dt><dd>[\d.]+": "the version",
    r"\d+(\.\d+)?( |&nbsp;)(s|ms|min|h)\b": "seconds",
    r"(/[\w.-]+)+/": "folders",
}
FILES = ("trials.csv", "summary.md", "summary.csv", "basins.csv", "pairwise.csv", "recommendation.json", "report.html")


def masked(text: str) -> str:
    """The text without what another run has otherwise."""
    for pattern in MASKS:
        text = re.sub(pattern, "…", text)
    return text


def stilled(storage: str, name: str) -> lrs.Comparison:
    """The comparison, as if every trial had taken the same time at the same place."""
    with contextlib.closing(sqlite3.connect(storage.removeprefix("sqlite:///"))) as database, database:
        rows = database.execute(
            "SELECT trial_user_attribute_id, value_json FROM trial_user_attributes WHERE key = 'record'"
        )
        for key, text in rows.fetchall():
            record = json.dumps({**json.loads(text), **STILL})
            database.execute(
                "UPDATE trial_user_attributes SET value_json = ? WHERE trial_user_attribute_id = ?", (record, key)
            )
    return lrs.load(storage, name)


def read(comparison: lrs.Comparison, folder: Path) -> dict[str, Any]:
    """Everything that a comparison answers."""
    found: dict[str, Any] = {}
    for name in ("trials", "evaluations", "curves", "confirmations"):
        found[name] = getattr(comparison, name)
    found["summary"] = summary_frame(comparison.records)
    for name in ("anytime", "pairwise", "basins", "costs"):
        found[name] = getattr(comparison, name)()
    recommendation = comparison.recommend()
    found["recommend"] = {**vars(recommendation), "text": masked(str(recommendation)), "code": recommendation.code}
    found["text"] = masked(repr(comparison) + found["summary"].to_string())
    comparison.save(folder)
    found["files"] = sorted(path.name for path in folder.iterdir())
    return found | {name: masked((folder / name).read_text()) for name in FILES if (folder / name).exists()}


def comparisons(folder: Path) -> dict[str, Any]:
    """Without a pruner, with one, confirmed; and fused."""
    fused = {"fused": {"executor": lrs.FusedExecutor(width=4), "schedules": ["constant", "sgdr"], "optimizers": None}}
    found = {}
    for name, settings in (KEPT | fused).items():
        storage = f"sqlite:///{folder / name}.db"
        said(lambda: lrs.compare(workload(), **{**SEARCH, **settings}, storage=storage, name=name))  # noqa: B023
        found[name] = read(stilled(storage, name), folder / name)
    return found


def _storage(folder: Path) -> str:
    return f"sqlite:///{folder / 'kept.db'}"


def begin(folder: Path) -> dict[str, Any]:
    """Comparisons for other code to read and to go on with: one that ended, one that was killed in the middle."""
    said(lambda: lrs.compare(workload(), **{**SHORT, "budget": 2}, storage=_storage(folder), name="ended"))
    work = workload()
    deadly = replace(work, loss=Deadly(work.loss, STEPS_TO_KILL))
    said(lambda: lrs.compare(deadly, **{**SHORT, "budget": 4}, storage=_storage(folder), name="killed"))
    return {}


def reading(folder: Path) -> dict[str, Any]:
    """What is read of the comparison that ended."""
    return read(stilled(_storage(folder), "ended"), folder / "read")


def extended(folder: Path) -> dict[str, Any]:
    """The comparison that ended, gone on with to twice its budget."""
    return _trials(**{**SHORT, "budget": 4, "storage": _storage(folder), "name": "ended"})


def after_the_kill(folder: Path) -> dict[str, Any]:
    """The comparison that was killed, gone on with."""
    return _trials(**{**SHORT, "budget": 4, "storage": _storage(folder), "name": "killed"})


def undisturbed(folder: Path) -> dict[str, Any]:
    """What the one that was killed must come to."""
    return _trials(**{**SHORT, "budget": 4, "storage": None, "name": "killed"})


def _trials(**settings: Any) -> Any:
    frame = said(lambda: lrs.compare(workload(), **settings))[0].trials
    order = ["strategy", "schedule", "optimizer", "seed", "number"]
    return frame.drop(columns=[*STILL, "ended"]).sort_values(order, ignore_index=True)


def command_line(folder: Path) -> dict[str, Any]:
    """What the commands print."""
    (folder / "target.py").write_text("from house_proof_driver import workload\n")
    calls = {
        "list": ["list"],
        "help": ["--help"],
        "compare --help": ["compare", "--help"],
        "range-test": ["range-test", "target:workload", "--seeds", "2"],
        "dry run": ["compare", "target:workload", "--dry-run"],
        "wrong name": ["compare", "target:workload", "--strategies", "gird"],
        "wrong target": ["range-test", "target:worklaod"],
    }
    return {name: _printed(arguments, folder) for name, arguments in calls.items()}


def _printed(arguments: list[str], folder: Path) -> list[Any]:
    done = subprocess.run([sys.executable, "-m", "lr_search", *arguments], cwd=folder, capture_output=True, text=True)
    return [done.returncode, masked(done.stdout), masked(done.stderr)]
