"""The tables of benchmarks/schedules.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from schedule_runs import CLAIMED, FACTORS, HIGHER, SHARES, SHORT, Run, incumbent_area, reached
from schedule_snapshots import MEMBERS
from schedule_tasks import CONTROLS, CYCLIC, OTHERS

Key = tuple[str, int]  # task and seed


class Found:
    """The runs, with what they are measured against."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.by_row: dict[tuple[str, float], dict[Key, Run]] = {}
        for run in runs:
            self.by_row.setdefault((run.row, run.share), {})[run.task, run.seed] = run
        self.keys = list(self.by_row["constant", 1.0])
        self.start = {key: run.losses[0] for key, run in self.by_row["constant", 1.0].items()}
        self.best = {key: min(rows[key].losses[-1] for rows in self.by_row.values()) for key in self.keys}
        self.tuned = {task: self._tuned(task) for task in dict.fromkeys(task for task, _ in self.keys)}

    def regret(self, run: Run) -> float:
        """Of the final loss: 0 the best of all runs of that task and seed, 1 no better than the start."""
        key = run.task, run.seed
        return min(1.0, (run.losses[-1] - self.best[key]) / (self.start[key] - self.best[key]))

    def _tuned(self, task: str) -> str:
        """The constant whose mean regret over the seeds is least."""
        rows = ["constant", *(f"constant x {factor:.3g}" for factor in FACTORS)]
        seeds = [key for key in self.keys if key[0] == task]
        return min(rows, key=lambda row: np.mean([self.regret(self.by_row[row, 1.0][key]) for key in seeds]))

    def rows(self, name: str, share: float = 1.0) -> dict[Key, Run]:
        """The runs of a schedule; "tuned constant" is the best constant of each task."""
        if name != "tuned constant":
            return self.by_row[name, share]
        return {key: self.by_row[self.tuned[key[0]], 1.0][key] for key in self.keys}

    def area(self, run: Run) -> float:
        """Under the incumbent curve."""
        key = run.task, run.seed
        return incumbent_area(run, self.start[key], self.best[key])

    def goal(self, name: str) -> dict[Key, float]:
        """The final losses of a full constant training."""
        return {key: run.losses[-1] for key, run in self.rows(name).items()}


def report(found: Mapping[str, Any]) -> str:
    """Every table, in Markdown."""
    known = Found([Run(**run) for run in found["runs"]])
    tasks = ", ".join(
        f"{task} ({row.removeprefix('constant x ') if 'x' in row else '1'})" for task, row in known.tuned.items()
    )
    parts = [
        "# Schedules from the same range-tested peak LR",
        f"`python benchmarks/schedules.py`, {len(known.keys)} pairs of task and seed. Tuned constants, as factors of the peak: {tasks}.",
        "## In full length",
        full_table(known),
        "## Laid out for a part of the steps",
        short_table(known),
        "## From a peak 3.16 times as high",
        higher_table(known),
        "## Snapshots",
        *(snapshot_table(found["snapshots"], what) for what in ("loss", "error")),
        between_table(found["snapshots"]),
    ]
    return "\n\n".join(parts) + "\n"


def full_table(known: Found) -> str:
    """A line a schedule: final regret, steps to the constants' final losses, area under the incumbent curve."""
    goals = known.goal("constant"), known.goal("tuned constant")
    rows = []
    for name in ("tuned constant", *CONTROLS, *CYCLIC, *OTHERS):
        runs = known.rows(name)
        line = [name, f"{np.mean([known.regret(run) for run in runs.values()]):.3f}"]
        line.append(f"{np.mean([run.losses[-1] <= goals[1][key] for key, run in runs.items()]):.0%}")
        for goal in goals:
            steps = [reached(run, goal[key]) for key, run in runs.items()]
            line.append(f"{_percent(float(np.median(steps)))} ({np.mean(np.isfinite(steps)):.0%})")
        line.append(f"{np.mean([known.area(run) for run in runs.values()]):.3f}")
        line.append(f"{np.mean([run.charged for run in runs.values()]):.2f}")
        rows.append(line)
    heads = [
        "schedule", "final regret", "ends no worse than the tuned constant", "steps to the constant's final loss",
        "steps to the tuned constant's", "area under the incumbent", "cost",
    ]  # fmt: skip
    return _markdown(heads, rows)


def short_table(known: Found) -> str:
    """A line a schedule: how often a shorter training ends where the full constant one does."""
    goals = known.goal("constant"), known.goal("tuned constant")
    rows = []
    for name in ("constant", "tuned constant", *SHORT):
        line = [name]
        for share in (*SHARES, 1.0):
            line.append(" / ".join(f"{_share_reached(known, name, share, goal):.0%}" for goal in goals))
        line += [
            f"{np.mean([known.regret(_at(known, name, share)[key]) for key in known.keys]):.3f}" for share in SHARES
        ]
        rows.append(line)
    parts = [f"{share:.0%}" for share in SHARES]
    heads = [
        "schedule",
        *(f"as good in {part}" for part in (*parts, "100%")),
        *(f"final regret at {part}" for part in parts),
    ]
    return _markdown(heads, rows)


def higher_table(known: Found) -> str:
    """A line a schedule: the suggestion as the peak, and 3.16 times it, in full length and in the CLR paper's share."""
    goal, rows = known.goal("constant"), []
    for name in HIGHER:
        line = [name]
        for share in (1.0, CLAIMED):
            for row in (name, f"{name} x 3.16"):
                runs = known.rows(row, share)
                line.append(f"{np.mean([known.regret(run) for run in runs.values()]):.3f}")
        line += [f"{_share_reached(known, row, CLAIMED, goal):.0%}" for row in (name, f"{name} x 3.16")]
        rows.append(line)
    heads = [
        "schedule",
        "final regret",
        "x 3.16",
        "in 36% of the steps",
        "x 3.16",
        "as good as the constant in 36%",
        "x 3.16",
    ]
    return _markdown(heads, rows)


def _share_reached(known: Found, name: str, share: float, goal: Mapping[Key, float]) -> float:
    return float(np.mean([run.losses[-1] <= goal[key] for key, run in _at(known, name, share).items()]))


def _at(known: Found, name: str, share: float) -> dict[Key, Run]:
    """The runs laid out for that share; a constant's is the full run, cut there."""
    if "constant" not in name:
        return known.rows(name, share)
    cut = {}
    for key, run in known.rows(name).items():
        count = sum(step <= share + 1e-9 for step in run.steps)
        cut[key] = Run(**{**vars(run), "steps": run.steps[:count], "losses": run.losses[:count]})
    return cut


def snapshot_table(found: Sequence[Mapping[str, Any]], what: str) -> str:
    """A line a way of getting models: the mean loss or error of the last m together."""
    rows = []
    for way in found[0]["ways"]:
        values = np.array([each["ways"][way][what] for each in found])  # (tasks and seeds, m)
        single = np.array([each["ways"][way][what][0] for each in found])
        means = [f"{value:.4f}" for value in values.mean(0)]
        better = np.mean(values < single[:, None], axis=0)
        rows.append(
            [way, *means, *[""] * (MEMBERS - len(means)), f"{better[len(better) // 2]:.0%}" if len(better) > 1 else ""]
        )
    heads = [f"validation {what}: models from", *(f"m = {m}" for m in range(1, MEMBERS + 1)), "m = 4 better than m = 1"]
    return _markdown(heads, rows)


def between_table(found: Sequence[Mapping[str, Any]]) -> str:
    """A line a way: how much consecutive models differ."""
    rows = []
    for way in found[0]["ways"]:
        values = [each["ways"][way] for each in found if "barrier" in each["ways"][way]]
        if values:
            measures: Callable[[str], float] = lambda what, v=values: float(np.mean([each[what] for each in v]))  # noqa: E731
            rows.append([way, f"{measures('disagreement'):.2%}", f"{measures('barrier'):.3f}"])
    return _markdown(["consecutive models from", "disagree on", "loss barrier between"], rows)


def _percent(share: float) -> str:
    return "never" if math.isinf(share) else f"{share:.0%}"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
