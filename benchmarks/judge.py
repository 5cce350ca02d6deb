"""How good suggestions, searches and priors are, on trainings like people's own: `python benchmarks/judge.py [--side fit|judge]`.

Reads the regret of every learning rate from regret_fit.json or regret_judge.json (made by benchmarks/regret_truth.py) and runs the range
tests, which are kept in benchmarks/data. For each schedule and length it prints

- the mean regret of the LR that the present rule suggests, of those of other rules, of constant LRs, of log grids of 3, 4 and 8 trainings
  and of a range test with 1, 2, 3 and 8 trainings, each with a 95% interval over tasks, and how much that is above the present rule's;
- the present rule's by its status, and the tasks on which it is called ok but loses much;
- of the prior's 80% interval the interval score, how often it holds the best LR, some LR of a regret of at most .05, or only such.

0 is as good as the best LR, 1 no better than not training. "beyond" is the share of LRs above or below all that were trained:
judge_regrets.py says what those count as. Searches cover 1e-5 to 10. The judging side is for rules that are done: --side judge, once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

import torch
from judge_priors import PriorRun, constant_widths, prior_run
from judge_regrets import JudgeError, RegretCurve
from judge_rules import suggested
from judge_runs import Run
from judge_searches import searched
from judge_tables import heading, overview, per_task, prior_table, regret_table, status_table
from judge_tasks import OWN, Judged, curves_path, each, of_sets, of_side, with_curves
from lifelike.sources import MissingDataError

import lr_search as lrs

SETS = ("a", "b", "c", "judge")
ONCE = "The judging side: what is changed after these numbers were seen has not been judged by them. Run it once."
Read = tuple[list[Run], list[PriorRun]]


def judged(task: tuple[Sequence[RegretCurve], Sequence[lrs.LRCurve]]) -> Read:
    """Everything that the curves of one task come to. Args: task: its truths, and a curve a seed."""
    torch.set_num_threads(1)
    truths, curves = task
    runs = [
        run
        for truth in truths
        for seed, curve in enumerate(curves)
        for run in [*suggested(curve, truth, seed), *searched(curve, truth, seed)]
    ]
    return runs, priors(task)


def priors(task: tuple[Sequence[RegretCurve], Sequence[lrs.LRCurve]]) -> list[PriorRun]:
    """Only what the priors say."""
    truths, curves = task
    return [prior_run(curve, truth, seed) for truth in truths for seed, curve in enumerate(curves)]


def chosen(tasks: Sequence[Judged], schedules: Sequence[str] | None, lengths: Sequence[str] | None) -> list[Judged]:
    """The tasks with the truths of these schedules and lengths. Raises: JudgeError: no task has one of them, or no LR of it trains."""
    for option, wanted, there in (
        ("schedules", schedules, dict.fromkeys(truth.schedule for one in tasks for truth in one.truths)),
        ("lengths", lengths, dict.fromkeys(truth.length for one in tasks for truth in one.truths)),
    ):
        for name in wanted or ():
            if name not in there:
                raise JudgeError(f"--{option} {name}: the truth must have it, but there are {', '.join(there)}")
    found = []
    for one in tasks:
        truths = [
            truth
            for truth in one.truths
            if truth.schedule in (schedules or [truth.schedule]) and truth.length in (lengths or [truth.length])
        ]
        for truth in truths:
            if truth.drops.max() <= 0:
                print(f"left out: no LR lowers the loss of {truth.task} under {truth.schedule} of {truth.length} steps")
        trained = tuple(truth for truth in truths if truth.drops.max() > 0)
        found += [Judged(one.name, one.code, trained, one.old)] if trained else []
    if not found:
        raise JudgeError("Nothing is left to judge: name other --tasks, --schedules or --lengths.")
    return found


def groups(truths: Sequence[RegretCurve]) -> dict[str, list[RegretCurve]]:
    """Title -> truths: each schedule at each length, then at all of its lengths."""
    order = list(dict.fromkeys(truth.schedule for truth in truths))
    found: dict[str, list[RegretCurve]] = {}
    for schedule, grouped in groupby(sorted(truths, key=lambda t: order.index(t.schedule)), key=lambda t: t.schedule):
        of_schedule = list(grouped)
        lengths = sorted({truth.length for truth in of_schedule}, key=lambda length: (len(length), length))
        for length in lengths:
            told = length if length == OWN else f"{length} steps"
            found[f"{schedule}, {told}"] = [truth for truth in of_schedule if truth.length == length]
        if len(lengths) > 1:
            found[f"{schedule}, all lengths"] = of_schedule
    return found


def report(
    tasks: Sequence[Judged], found: Read, widths: tuple[dict[str, float], str], given: argparse.Namespace
) -> None:
    """Print the tables."""
    runs, intervals = found
    truths = [truth for one in tasks for truth in one.truths]
    parts: dict[str, Read] = {}
    for title, of_group in groups(truths).items():
        keys = {(truth.schedule, truth.length) for truth in of_group}
        shown = [run for run in runs if (run.schedule, run.length) in keys]
        of_priors = [prior for prior in intervals if (prior.truth.schedule, prior.truth.length) in keys]
        print(f"\n== {heading(title, of_group, given.seeds)}\n{regret_table(shown)}\n\n{status_table(shown)}")
        print(f"\n{prior_table(of_priors, *widths)}")
        parts[title] = shown, of_priors
    print(f"\n== overview\n{overview(parts)}")
    if given.per_task:
        for schedule in dict.fromkeys(truth.schedule for truth in truths):
            of_schedule = [truth for truth in truths if truth.schedule == schedule]
            print(f"\n== {schedule}\n{per_task([run for run in runs if run.schedule == schedule], of_schedule)}")


def fitted_widths(given: argparse.Namespace, intervals: Sequence[PriorRun]) -> tuple[dict[str, float], str]:
    """The width of the interval that the priors are judged beside, by schedule, and where it comes from."""
    if given.side == "judge" and given.old is None:
        tasks = of_side("fit", None, given.jobs)
        curves = with_curves(tasks, curves_path("fit"), given.seeds, given.jobs, given.fresh)
        pairs = [(one.truths, of_task) for one, of_task in zip(tasks, curves, strict=True)]
        return constant_widths(
            [run for found in each(priors, pairs, given.jobs) for run in found]
        ), "fitted on --side fit"
    return constant_widths(intervals), "fitted on these tasks"


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=["fit", "judge"], default="fit")
    parser.add_argument(
        "--old", nargs="*", choices=SETS, metavar="SET", help=f"sets of the older tasks instead: {', '.join(SETS)}"
    )
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--schedules", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--lengths", nargs="+", metavar="STEPS", help="only these")
    parser.add_argument("--seeds", type=int, default=5, help="range tests of each task")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="run the range tests again, after a change of the ramp")
    parser.add_argument("--per-task", action="store_true", help="also a line a task")
    parser.add_argument("--json", type=Path, help="where every suggestion and search is written")
    return parser


def run(given: argparse.Namespace) -> None:
    """Judge."""
    for name in ("seeds", "jobs"):
        if getattr(given, name) < 1:
            raise JudgeError(f"--{name} must be at least 1, but got {getattr(given, name)}")
    if given.old is not None:
        tasks, cache = of_sets(given.old or SETS, given.tasks), "old"
    else:
        if given.side == "judge":
            print(ONCE)
        tasks, cache = of_side(given.side, given.tasks, given.jobs), given.side
    tasks = chosen(tasks, given.schedules, given.lengths)
    curves = with_curves(tasks, curves_path(cache), given.seeds, given.jobs, given.fresh)
    pairs = [(one.truths, of_task) for one, of_task in zip(tasks, curves, strict=True)]
    parts = list(each(judged, pairs, given.jobs))
    found = [one for runs, _ in parts for one in runs], [one for _, intervals in parts for one in intervals]
    print(f"lr_search {lrs.__version__}, mean regret: 0 the best LR, 1 no better than not training")
    report(tasks, found, fitted_widths(given, found[1]), given)
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(one) for one in found[0]], indent=0) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge, or say in words why not."""
    try:
        run(options().parse_args(arguments))
    except (JudgeError, MissingDataError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
