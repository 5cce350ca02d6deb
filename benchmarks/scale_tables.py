"""The tables of `scale.py`, from what it has written as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

LOCAL, OURS, BARE = "LocalExecutor", "RayExecutor", "bare Tuner"
NEW = ", new workers"  # for each trial
RATIO, BUSY, REPORT_MS, FLAT = (
    1.10,
    0.95,
    2.0,
    1.5,
)  # the aims; flat: at most so much more after 99 finished studies than after none
HEADS = (
    "",
    "trials",
    "s each",
    "wall, s",
    "trials a minute",
    "over bare",
    "whole call",
    "first to last",
    "a worker's",
    "between, ms",
    "waiting, ms",
)
Runs = Sequence[Mapping[str, Any]]


def shares(run: Mapping[str, Any]) -> tuple[float, float, float]:
    """The share of the workers' time inside trainings.

    Returns: of the whole call; from the first training's beginning to the last one's end; of each worker from its own first to its last.
    """
    training, workers = run["training"], run["workers"]
    return training / (workers * run["wall"]), training / (workers * run["window"]), training / run["at_it"]


def ratio(ours: Runs, bare: Runs) -> float:
    """Median over the turns of the wall time over the bare Tuner's."""
    return statistics.median(one["wall"] / other["wall"] for one, other in zip(ours, bare, strict=True))


def cells(name: str, runs: Runs, bare: Runs = ()) -> list[str]:
    """One contender's medians."""
    wall = statistics.median(run["wall"] for run in runs)
    parts = [statistics.median(each) for each in zip(*map(shares, runs), strict=True)]
    between, waiting = (1000 * statistics.median(run[key] for run in runs) for key in ("between", "waiting"))
    each = statistics.median(run["training"] / run["trials"] for run in runs)
    over = f"{ratio(runs, bare):.2f}" if bare else ""
    trials = runs[0]["trials"]
    return [
        name, str(trials), f"{each:.2f}", f"{wall:.1f}", f"{60 * trials / wall:.0f}", over,
        *(f"{part:.1%}" for part in parts), f"{between:.0f}", f"{waiting:.1f}",
    ]  # fmt: skip


def row(name: str, runs: Runs) -> str:
    """One contender in a line, as it goes."""
    return "   ".join(f"{head} {cell}".strip() for head, cell in zip(HEADS, cells(name, runs), strict=True) if cell)


def part_rows(runs: Mapping[str, Runs]) -> list[list[str]]:
    """A row a contender."""
    found = []
    for name, some in runs.items():
        bare = runs.get(BARE + NEW if name.endswith(NEW) else BARE, ())
        found.append(cells(name, some, bare if name.startswith(OURS) else ()))
    return found


def hook_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A row a storage and pruner; a column a number of trials: ms a report, ms a trial."""
    kinds = dict.fromkeys((row["storage"], row["pruner"]) for row in rows)
    found = []
    for storage, pruner in kinds:
        some = [row for row in rows if (row["storage"], row["pruner"]) == (storage, pruner)]
        found.append([storage, pruner, *(f"{row[what]:.2f}" for what in ("report", "trial") for row in some)])
    return found


def hook_heads(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of those."""
    counts = list(dict.fromkeys(row["trials"] for row in rows))
    return ["storage", "pruner", *(f"ms a {what}, {count:,}" for what in ("report", "trial") for count in counts)]


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def aims(found: Mapping[str, Any]) -> list[str]:
    """What was aimed at and what came of it."""
    lines = []
    for name in [each for each in ("short", "long", "many") if each in found]:
        runs = found[name]["runs"]
        over = ratio(runs[OURS], runs[BARE])
        lines.append(_aim(f"{name}: {over:.2f} x the bare Tuner's wall time (at most {RATIO:.2f})", over <= RATIO))
    if "long" in found:
        busy = statistics.median(shares(run)[1] for run in found["long"]["runs"][OURS])
        lines.append(_aim(f"long: workers busy {busy:.1%} (at least {BUSY:.0%})", busy >= BUSY))
    if "hooks" in found:
        worst = max(row["report"] for row in found["hooks"])
        lines.append(_aim(f"hooks: {worst:.2f} ms a report at most (below {REPORT_MS:g})", worst < REPORT_MS))
        growth = max(_growth(found["hooks"]))
        lines.append(
            _aim(
                f"hooks: {growth:.2f} x as much a report with all studies but one finished as with none", growth <= FLAT
            )
        )
    return lines


def _growth(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """A report's time after the most finished studies over that after none; where there is a pruner to report to."""
    kinds = {(row["storage"], row["pruner"]) for row in rows if row["pruner"] != "none"}
    some = [[row["report"] for row in rows if (row["storage"], row["pruner"]) == kind] for kind in sorted(kinds)]
    return [each[-1] / each[0] for each in some]


def _aim(told: str, reached: bool) -> str:
    return f"{told}: {'reached' if reached else 'MISSED'}"


def text(found: Mapping[str, Any]) -> str:
    """All of it."""
    tables = [
        f"{name} ({found[name]['cores']} cores)\n\n{markdown(HEADS, part_rows(found[name]['runs']))}"
        for name in ("short", "long", "many")
        if name in found
    ]
    if "hooks" in found:
        tables.append("hooks\n\n" + markdown(hook_heads(found["hooks"]), hook_rows(found["hooks"])))
    return "\n\n".join([*tables, "\n".join(aims(found))])
