"""Tasks to judge on: each with its truth, and with the curves that are kept in benchmarks/data/curves_*.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import lifelike
import tasks
import torch
from judge_regrets import JudgeError, RegretCurve, read_truth, regret_curve, regret_curves
from lifelike.fingerprint import fingerprint
from lifelike.sources import FOLDER
from truth import PATH as OLD_PATH

import lr_search as lrs

HERE = Path(__file__).parent
NUM_STEPS = 1000  # of the workload whose range test is run
OWN = "own length"  # of the older tasks, each of its own
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Judged:
    """A task and what is known of it.

    Args:
        name: of the task.
        code: what its truth was measured of.
        truths: by schedule and length.
        old: whether it is one of `tasks`, not of `lifelike`.
    """

    name: str
    code: str
    truths: tuple[RegretCurve, ...]
    old: bool = False


def of_side(side: str, names: Sequence[str] | None, jobs: int) -> list[Judged]:
    """The tasks of a side whose truth is known.

    Args:
        side: "fit" or "judge".
        names: only these; None: all.
        jobs: processes in which the tasks are built.

    Raises:
        JudgeError: there is no truth file, it is of other code, or a name is not in it.
        MissingDataError: a task's data have not been fetched.
    """
    path, command = HERE / f"regret_{side}.json", f"python benchmarks/regret_truth.py --side {side}"
    entries = read_truth(path, command)
    there = [name for name, task in lifelike.TASKS.items() if task.side == side]
    unknown = [name for name in entries if name not in there]
    if unknown:
        raise JudgeError(
            f"{path.name} must hold tasks of side {side} in benchmarks/lifelike, but knows {unknown[0]}, which is none: take its line out"
        )
    if unmeasured := [name for name in there if name not in entries]:
        print(f"no truth is known of {len(unmeasured)} of {len(there)} tasks: {', '.join(unmeasured)}")
    wanted = named(names, list(entries), path.name)
    codes = dict(zip(wanted, each(code_of, wanted, jobs), strict=True))
    for name, code in codes.items():
        if code != entries[name].get("code"):
            raise JudgeError(
                f"{path.name} knows {name} as {entries[name].get('code')}, the code now makes {code}: {command} --tasks {name}"
            )
    return [
        Judged(name, codes[name], tuple(regret_curves(path, name, entries[name], f"{command} --tasks {name}")))
        for name in wanted
    ]


def of_sets(sets: Sequence[str], names: Sequence[str] | None) -> list[Judged]:
    """The older tasks, under a constant LR for as many steps as each has. Args: sets: of a, b, c and judge; names: only these."""
    entries = {n: e for n, e in read_truth(OLD_PATH, "python benchmarks/truth.py").items() if e["set"] in sets}
    found = []
    for name in named(names, list(entries), OLD_PATH.name):
        entry = entries[name]
        of_lr = {str(lr): losses for lr, losses in zip(entry["lrs"], entry["final"], strict=True)}
        found.append(
            Judged(
                name,
                "",
                (regret_curve(name, "constant", entry["num_steps"], OWN, of_lr, entry["initial"]),),
                old=True,
            )
        )
    return found


def named(names: Sequence[str] | None, known: Sequence[str], file: str) -> list[str]:
    """The names asked for, or all. Raises: JudgeError: the file has no such task."""
    for name in names or ():
        if name not in known:
            raise JudgeError(f"--tasks {name}: {file} must hold its truth; there are {', '.join(known)}")
    return list(names or known)


def code_of(name: str) -> str:
    """The fingerprint of a task as it is now."""
    torch.set_num_threads(1)
    return fingerprint(lifelike.TASKS[name])


def with_curves(judged: Sequence[Judged], path: Path, seeds: int, jobs: int, fresh: bool) -> list[list[lrs.LRCurve]]:
    """The range tests of each task, a seed each: kept ones where task and version are the same, others run now.

    Args:
        judged: the tasks.
        path: of the file in which they are kept.
        seeds: of each task.
        jobs: processes.
        fresh: run all of them again, after a change of the ramp.
    """
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found: dict[str, list[Any]] = {}
    for one in judged:
        entry = kept.get(one.name, {})
        same = not fresh and (entry.get("code"), entry.get("version")) == (one.code, lrs.__version__)
        found[one.name] = entry["curves"] if same else []
    wanted = [one for one in judged if len(found[one.name]) < seeds]
    missing = [(one, range(len(found[one.name]), seeds)) for one in wanted]
    for one, curves in zip(wanted, each(range_tests, missing, jobs), strict=True):
        found[one.name] += curves
        kept[one.name] = {"code": one.code, "version": lrs.__version__, "curves": found[one.name]}
        save(path, kept)
    print(f"range tests: {len(judged) - len(wanted)} tasks' from {path.name}, {len(wanted)} tasks' run now")
    return [[lrs.LRCurve.from_json(record) for record in found[one.name][:seeds]] for one in judged]


def range_tests(wanted: tuple[Judged, range]) -> list[dict[str, Any]]:
    """Run them. Args: wanted: the task and the seeds. Returns: curves as JSON."""
    torch.set_num_threads(1)
    judged, seeds = wanted
    workload = tasks.TASKS[judged.name].make() if judged.old else lifelike.TASKS[judged.name].make()
    asked = workload if judged.old else replace(workload, num_steps=NUM_STEPS)
    return [asked.range_test(seed, extend=True).to_json() for seed in seeds]


def save(path: Path, kept: dict[str, Any]) -> None:
    """A line a task."""
    dense = partial(json.dumps, separators=(",", ":"))
    lines = ",\n".join(f"{json.dumps(task)}:{dense(entry)}" for task, entry in kept.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(f"{{\n{lines}\n}}\n")
    part.replace(path)


def curves_path(name: str) -> Path:
    """Where the curves of a side are kept."""
    return FOLDER / f"curves_{name}.json"


def each(function: Callable[[T], R], wanted: Sequence[T], jobs: int) -> Iterator[R]:
    """The function's results in turn, as they come; from `jobs` processes."""
    if jobs == 1 or len(wanted) < 2:
        yield from map(function, wanted)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(function, wanted)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
