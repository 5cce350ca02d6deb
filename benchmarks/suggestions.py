"""How good the suggested learning rates are: `python benchmarks/suggestions.py [--sets a b c judge] [--seeds 5] [--jobs 2]`.

Every rule of lr_search, every finder of other libraries and some constants suggest an LR for the same tasks and seeds.
Each suggestion's regret is looked up in truth.json: 0 as good as the best LR of a dense grid, 1 no better than not
training. No suggestion counts as 1. What the peers suggest does not depend on lr_search, so that it is kept in peers.json;
after a change of a task or of a peer, run with --peers-fresh.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import PEERS, versions
from tasks import TASKS
from truth import regret, truth

from lr_search.curves.suggest import RULES

CACHE = Path(__file__).with_name("peers.json")
CONSTANTS = (1e-1, 1e-2, 1e-3, 1e-4)
STATUSES = ("ok", "noisy", "flat", "at_edge", "diverged_at_start")
FINE = np.logspace(-7, 3, 201)


@dataclass(frozen=True)
class Run:
    """One suggestion for one task and seed; `steps` are the optimizer steps that it cost."""

    task: str
    row: str
    seed: int
    lr: float | None
    status: str | None
    steps: int
    regret: float


def run(task: str, row: str, seed: int, lr: float | None, steps: int = 0, status: str | None = None) -> Run:
    """The run with its regret looked up."""
    return Run(task, row, seed, lr, status, steps, 1.0 if lr is None else regret(task, lr))


def ours(task: str, seeds: int) -> list[Run]:
    """What each rule of lr_search suggests; they share one range test a seed, which may extend itself.

    Its steps are those charged: a forward pass of the gain ratio counts as a third of a step. The last row is the default
    rule on the same curve without its gain ratio, as on curves of other programs.
    """
    torch.set_num_threads(1)
    workload, runs = TASKS[task].make(), []
    for seed in range(seeds):
        curve = workload.range_test(seed, extend=True)
        read = {
            f"lr_search {rule}": (curve, rule) for rule in RULES if rule != "gain_ratio" or curve.gain_ratio is not None
        }
        read["calibrated, loss only"] = replace(curve, gain_ratio=None, metrics={}, num_forwards=0.0), "calibrated"
        for row, (looked_at, rule) in read.items():
            found = looked_at.suggest(rule, schedule="constant")  # as the truth was trained
            runs.append(run(task, row, seed, found.lr, looked_at.steps_charged, found.status))
    return runs


def asked_peers(task: str, seeds: int) -> dict[str, list[tuple[float | None, int]]]:
    """Row -> the LR and the steps of each seed, of the peers that are installed."""
    torch.set_num_threads(1)
    workload = TASKS[task].make()
    found: dict[str, list[tuple[float | None, int]]] = {}
    for seed in range(seeds):
        for row, find in PEERS.items():
            try:
                found.setdefault(row, []).append(find(workload, seed))
            except ImportError:
                found.pop(row, None)
    return found


def peers(tasks: list[str], seeds: int, jobs: int, fresh: bool) -> list[Run]:
    """What the peers suggest, from the cache as far as it goes."""
    kept = json.loads(CACHE.read_text()) if CACHE.exists() else {"versions": {}, "runs": {}}
    known = {task: min(map(len, rows.values())) for task, rows in kept["runs"].items()}  # seeds
    wanted = [task for task in tasks if fresh or known.get(task, 0) < seeds]
    installed = versions() if wanted else kept["versions"]
    print(f"peers: {', '.join(f'{name} {version}' for name, version in installed.items())}")
    if wanted:
        asked = each(partial(asked_peers, seeds=seeds), wanted, jobs)
        found = {task: rows for task, rows in zip(wanted, asked, strict=True) if rows}
        kept["runs"] |= found
        if found:
            save({"versions": installed, "runs": {task: kept["runs"][task] for task in TASKS if task in kept["runs"]}})
    print(f"peers' suggestions: {len(tasks) - len(wanted)} tasks from {CACHE.name}, {len(wanted)} asked anew\n")
    return [
        run(task, row, seed, lr, steps)
        for task in tasks
        for row, found in kept["runs"].get(task, {}).items()
        for seed, (lr, steps) in enumerate(found[:seeds])
    ]


def save(kept: dict[str, Any]) -> None:
    """A line a task."""
    short = partial(json.dumps, separators=(",", ":"))
    lines = ",\n".join(f"{json.dumps(task)}:{short(rounded(found))}" for task, found in kept["runs"].items())
    CACHE.write_text(f'{{"versions": {json.dumps(kept["versions"])},\n"runs": {{\n{lines}\n}}}}\n')


def rounded(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same with LRs of six significant digits."""
    return {row: [(lr and float(f"{lr:.6g}"), steps) for lr, steps in pairs] for row, pairs in found.items()}


def each(function: Any, tasks: list[str], jobs: int) -> Iterable[Any]:
    """The function's result for every task, from `jobs` processes."""
    if jobs == 1:
        return [function(task) for task in tasks]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(function, tasks))


def constants(tasks: list[str]) -> list[Run]:
    """No finder at all."""
    return [run(task, f"always {lr:.0e}".replace("e-0", "e-"), 0, lr) for lr in CONSTANTS for task in tasks]


def best_constant(tasks: list[str]) -> list[Run]:
    """The single LR with the lowest mean regret on these tasks, chosen in hindsight."""
    best = min(FINE.tolist(), key=lambda lr: float(np.mean([regret(task, lr) for task in tasks])))
    return [run(task, f"best constant ({best:.1e})", 0, best) for task in tasks]


def table(title: str, runs: list[Run], tasks: list[str]) -> str:
    """A line a row, over all runs on these tasks."""
    lines = [
        f"{title}: {len(tasks)} tasks",
        f"{'':26}{'mean':>6}{'median':>8}{'p90':>6}{'worst':>7}{'<=5%':>6}{'>.5':>6}{'none':>6}{'spread':>8}{'steps':>7}"
        f"   {'ok':>5}{'noisy':>7}{'flat':>6}{'edge':>6}{'div':>6}{'ok, >.2':>9}",
    ]
    for row in dict.fromkeys(run.row for run in runs):
        lines.append(line(row, [run for run in runs if run.row == row]))
    return "\n".join(lines)


def line(row: str, runs: list[Run]) -> str:
    """Regrets, shares, the spread of log10 LR over seeds, steps, and statuses where there are any."""
    regrets = np.array([run.regret for run in runs])
    text = (
        f"{row:26}{regrets.mean():6.3f}{np.median(regrets):8.3f}{np.quantile(regrets, 0.9):6.2f}{regrets.max():7.2f}"
        f"{share(regrets <= 0.05):>6}{share(regrets > 0.5):>6}{share(run.lr is None for run in runs):>6}"
        f"{spread(runs):8.2f}{np.mean([run.steps for run in runs]):7.0f}"
    )
    if runs[0].status is None:
        return text
    shares = [share(run.status == status for run in runs) for status in STATUSES]
    misled = share(run.status == "ok" and run.regret > 0.2 for run in runs)
    return f"{text}   {shares[0]:>5}{shares[1]:>7}{shares[2]:>6}{shares[3]:>6}{shares[4]:>6}{misled:>9}"


def share(which: Iterable[bool]) -> str:
    """In per cent."""
    return f"{100 * np.mean(list(which)):.0f}%"


def spread(runs: list[Run]) -> float:
    """The median over tasks of the deviation over seeds of log10 LR."""
    by_task: dict[str, list[float]] = {}
    for run in runs:
        if run.lr is not None:
            by_task.setdefault(run.task, []).append(float(np.log10(run.lr)))
    found = [float(np.std(places, ddof=1)) for places in by_task.values() if len(places) > 1]
    return float(np.median(found)) if found else 0.0


def per_task(runs: list[Run], tasks: list[str]) -> str:
    """Mean regret by task and row."""
    rows = list(dict.fromkeys(run.row for run in runs))
    lines = [f"{number:>3} {row}" for number, row in enumerate(rows)]
    lines.append(f"{'':36}{'best':>9}" + "".join(f"{number:>6}" for number in range(len(rows))))
    for task in tasks:
        means = [
            np.mean([run.regret for run in runs if (run.task, run.row) == (task, row)] or [np.nan]) for row in rows
        ]
        lines.append(f"{task:36}{truth()[task]['best_lr']:>9.1e}" + "".join(f"{mean:6.2f}" for mean in means))
    return "\n".join(lines)


def main() -> None:
    """Print the tables and write the runs as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=["a", "b", "c", "judge"])
    parser.add_argument("--tasks", nargs="+", default=None, help="only these")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None, help="where every run is written")
    parser.add_argument("--per-task", action="store_true", help="also print the mean regret of each task and row")
    parser.add_argument("--peers-fresh", action="store_true", help="ask the peers again")
    given = parser.parse_args()
    sets = {
        name: [task.name for task in TASKS.values() if task.set == name and task.name in truth()] for name in given.sets
    }
    if given.tasks:
        sets = {name: [task for task in tasks if task in given.tasks] for name, tasks in sets.items()}
    tasks = [task for of_set in sets.values() for task in of_set]
    runs = [run for found in each(partial(ours, seeds=given.seeds), tasks, given.jobs) for run in found]
    runs += peers(tasks, given.seeds, given.jobs, given.peers_fresh) + constants(tasks)
    groups = {f"set {name}": of_set for name, of_set in sets.items() if of_set} | (
        {"all": tasks} if len(sets) > 1 else {}
    )
    for title, of_group in groups.items():
        shown = [run for run in runs if run.task in of_group] + best_constant(of_group)
        print(table(title, shown, of_group), "\n")
        if given.per_task and title != "all":
            print(per_task(shown, of_group), "\n")
    if given.json is not None:
        runs += [run for of_set in sets.values() if of_set for run in best_constant(of_set)]
        given.json.write_text(json.dumps([asdict(run) for run in runs], indent=0) + "\n")


if __name__ == "__main__":
    main()
