"""How good searches are at equal cost: `python benchmarks/search.py [--sets judge] [--seeds 10] [--jobs 2] [--json FILE]`.

Regret after 1, 2, 3, 4, 8 and 16 full trainings' worth of steps for each way of searching the LR, with and without pruning; range tests
and probes are charged. The searches are lr_search's own, from the plan to the pruner; only the trainings are not run: their losses
are looked up in search_curves.json (trained at four LRs a decade with each seed; linear in log LR between). Range tests are run.

Each study sees the losses of its own seed. Regret is that of the LR it picks in the mean over all seeds, so that luck does not
count: 0 as good as the best LR between 1e-5 and 10, 1 no better than not training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from search_curves import GRID, kept, regrets
from search_runs import BUDGETS, PRUNED_AT, TRIALS_OF_WRONG_PRIORS, Run, runs_of_task

import lr_search as lrs

ROUNDS = 10_000  # of the bootstrap over tasks
INTERVAL = (0.1, 0.9)


def main_table(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Row -> budget -> mean regret; a budget that pays for no training is left out."""
    runs: list[Run] = [run for entry in found.values() for run in entry["runs"]]
    table: dict[str, dict[str, float]] = {}
    for row in sorted({run.row for run in runs}):
        for budget in BUDGETS:
            lost = [run.regret for run in runs if run.row == row and run.budget == budget]
            if lost:
                table.setdefault(row, {})[str(budget)] = float(np.mean(lost))
    return table


def ratio(found: dict[str, dict[str, Any]], one: str, other: str, budget: int) -> dict[str, float]:
    """One row's mean regret over another's, with the 95% interval of a bootstrap over tasks."""

    def means(row: str) -> np.ndarray:
        of_task = [[r.regret for r in e["runs"] if r.row == row and r.budget == budget] for e in found.values()]
        return np.array([np.mean(lost) for lost in of_task])

    above, below = means(one), means(other)
    drawn = np.random.default_rng(0).integers(len(above), size=(ROUNDS, len(above)))
    low, high = np.quantile(above[drawn].mean(1) / np.maximum(below[drawn].mean(1), 1e-12), [0.025, 0.975])
    return {"ratio": float(above.mean() / below.mean()), "low": float(low), "high": float(high)}


def over_tasks(values: dict[str, list[float]]) -> dict[str, float]:
    """The mean over tasks of each task's mean, with Student's 95% interval."""
    means = np.array([np.mean(of_task) for of_task in values.values()])
    half = float(stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    return {"mean": float(means.mean()), "low": float(means.mean() - half), "high": float(means.mean() + half)}


def pruning_table(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Row -> the share of steps saved and the regret added, by pruning the same number of trials."""
    table = {}
    for row in dict.fromkeys(pair[0] for entry in found.values() for pair in entry["pruning"]):
        pairs = {task: [p for p in entry["pruning"] if p[0] == row] for task, entry in found.items()}
        saved = {task: [1 - cut.steps / plain.steps for _, _, plain, cut in some] for task, some in pairs.items()}
        added = {task: [cut.regret - plain.regret for _, _, plain, cut in some] for task, some in pairs.items()}
        table[row] = {"saved": over_tasks(saved), "added": over_tasks(added)}
    return table


def prior_table(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The share of priors whose 80% interval holds the best LR, and their median width in decades."""
    inside, widths = [], []
    for task, entry in found.items():
        best = GRID[int(regrets(task).argmin())]
        for prior in entry["priors"]:
            low, high = prior.ppf(INTERVAL)
            inside.append(low <= best <= high)
            widths.append(np.log10(high / low))
    return {"holds": float(np.mean(inside)), "width": float(np.median(widths)), "priors": len(widths)}


def wrong_table(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Row -> mean regret after 16 trials."""
    runs: list[Run] = [run for entry in found.values() for run in entry["wrong"]]
    return {row: float(np.mean([r.regret for r in runs if r.row == row])) for row in dict.fromkeys(r.row for r in runs)}


def summary_of(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All that is printed."""
    return {
        "tasks": list(found),
        "studies": sum(len(entry["runs"]) for entry in found.values()),
        "regret": main_table(found),
        "range_test over grid at 4": ratio(found, "range_test", "grid", 4),
        "range_test over tpe at 4": ratio(found, "range_test", "tpe", 4),
        "range_test over grid at 8": ratio(found, "range_test", "grid", 8),
        "pruning": pruning_table(found),
        "prior": prior_table(found),
        "wrong": wrong_table(found),
    }


def text(summary: dict[str, Any]) -> str:
    """The summary as tables."""
    lines = [f"{len(summary['tasks'])} tasks, {summary['studies']} studies: {', '.join(summary['tasks'])}", ""]
    lines += [f"{'mean regret at budget':<26}" + "".join(f"{budget:>8}" for budget in BUDGETS)]
    for row, means in sorted(summary["regret"].items(), key=lambda item: item[1].get("8", 9.0)):
        cells = (f"{means[str(b)]:8.3f}" if str(b) in means else f"{'':>8}" for b in BUDGETS)
        lines.append(f"{row:<26}" + "".join(cells))
    lines.append("")
    for name in ("range_test over grid at 4", "range_test over tpe at 4", "range_test over grid at 8"):
        lines.append("{}: {ratio:.2f} (95% interval over tasks {low:.2f} to {high:.2f})".format(name, **summary[name]))
    lines += ["", f"as many trials at budget {PRUNED_AT}, pruned: steps saved, regret added (95% intervals over tasks)"]
    for row, found in summary["pruning"].items():
        saved, added = found["saved"], found["added"]
        lines.append(
            f"{row:<26}{saved['mean']:6.0%} ({saved['low']:.0%} to {saved['high']:.0%})"
            f"{added['mean']:+9.4f} ({added['low']:+.4f} to {added['high']:+.4f})"
        )
    prior = summary["prior"]
    lines += [
        "",
        f"the prior's 80% interval holds the best LR in {prior['holds']:.0%} of {prior['priors']} priors; "
        f"median width {prior['width']:.2f} decades",
        f"after {TRIALS_OF_WRONG_PRIORS} trials: " + ", ".join(f"{k} {v:.3f}" for k, v in summary["wrong"].items()),
    ]
    return "\n".join(lines)


def markdown(summary: dict[str, Any]) -> str:
    """The main table as docs/benchmarks.md has it."""
    lines = [
        "| strategy | " + " | ".join(f"budget {b}" if b == 1 else str(b) for b in BUDGETS) + " |",
        "| --- " * 7 + "|",
    ]
    for row, means in sorted(summary["regret"].items(), key=lambda item: item[1].get("8", 9.0)):
        cells = (f"{means[str(b)]:.3f}".lstrip("0") if str(b) in means else "" for b in BUDGETS)
        lines.append(f"| `{row}` | ".replace(", pruned`", "`, pruned") + " | ".join(cells) + " |")
    return "\n".join(lines)


def each(function: Callable[[str], Any], tasks: Sequence[str], jobs: int) -> dict[str, Any]:
    """The function's result for every task, from `jobs` processes."""
    with ProcessPoolExecutor(jobs) as pool:
        return dict(zip(tasks, pool.map(function, tasks), strict=True))


def main() -> None:
    """Search, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sets", nargs="+", default=["judge"], help="judge, or a, b and c, which the rules were fitted to"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None, help="where the summary is written")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tasks = [task for task, entry in kept().items() if entry["set"] in given.sets]
    summary = summary_of(each(partial(runs_of_task, seeds=given.seeds), tasks, given.jobs))
    print(f"lr_search {lrs.__version__}\n{text(summary)}")
    if given.json is not None:
        given.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
