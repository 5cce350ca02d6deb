"""Trains the older tasks for 3,000 steps, and pilots of that, for fit_transfer.py: `python benchmarks/transfer_older.py [--minutes 40]`.

Those whose trainings can be fused, under constant, wsd and cosine, at LRs .35 decades apart from 1.75 below the best of short trainings
(truth.json) to 1.05 above it, wider where the best lies at an end; two seeds. Their data are small: 3,000 steps are 10 to 1,500 passes,
where those of the lifelike tasks are mostly below 20. Beside it stands what the range test of seed 0 tells. Results are in
transfer_older.json, a line a task, written after each; a task that is there is left alone.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge_regrets import RegretCurve, regret_curve
from lr_grid import LRGrid, write_lines
from tasks import TASKS
from transfer_pilots import pilot_lengths

from lr_search import LRPrior
from lr_search.fused.support import support_of

PATH = Path(__file__).with_name("transfer_older.json")
TRUTH = Path(__file__).with_name("truth.json")
LENGTH = 3000
LENGTHS = [*pilot_lengths(LENGTH), LENGTH // 3, LENGTH]
SCHEDULES = ("constant", "cosine", "wsd")
DATA = ("digits", "teacher", "text", "spirals", "targets", "factors", "sparse", "small_loss", "raw", "sets", "bag")


def data_of(name: str) -> str:
    """The word of an older task's name that tells its data, or all of it: tasks of the same are left out together."""
    return next((f"older: {data}" for data in DATA if data in name), f"older: {name}")


def older_truths() -> dict[str, list[RegretCurve]]:
    """Task -> what every LR loses in 3,000 steps, under each schedule."""
    return {
        name: [
            regret_curve(name, schedule, LENGTH, str(LENGTH), lengths[str(LENGTH)], entry["initial"])
            for schedule, lengths in entry["losses"].items()
        ]
        for name, entry in json.loads(PATH.read_text()).items()
        if "losses" in entry
    }


def measured(name: str, best_lr: float) -> dict[str, Any]:
    """The trainings of a task and its range test's priors."""
    begun, workload = time.process_time(), replace(TASKS[name].make(), num_steps=LENGTH)
    support = support_of(workload, 0)
    if not support.stacks:
        return {"skipped": support.reason or "the optimizer cannot step all models at once"}
    grid = LRGrid(workload, support, float(np.log10(best_lr)), LENGTHS, LENGTHS, least=LENGTH)
    losses = grid.trained()
    curve = workload.range_test(0, extend=True, num_steps=LENGTH // 32)
    priors = {
        f"{schedule} {LENGTH}": LRPrior.from_curves([curve], schedule=schedule, num_steps=LENGTH).to_json()
        for schedule in SCHEDULES
    }
    return {
        "initial": grid.initial,
        "steps_per_epoch": workload.steps_per_epoch,
        "losses": losses,
        "priors": priors,
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def main() -> None:
    """Train what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40.0, help="no task is begun later")
    given = parser.parse_args()
    torch.set_num_threads(1)
    truth, begun = json.loads(TRUTH.read_text()), time.perf_counter()
    found: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {}
    for name in sorted(set(TASKS) - set(found), key=lambda name: truth[name]["seconds"]):
        if time.perf_counter() - begun > 60 * given.minutes:
            break
        found[name] = measured(name, truth[name]["best_lr"])
        write_lines(PATH, found, TASKS)
        print(f"{name:<40} {found[name].get('cpu_seconds', 0):>7.1f} CPU s", flush=True)
    print(f"{len(found)} of {len(TASKS)} tasks; {time.perf_counter() - begun:.0f} s of wall in this call")


if __name__ == "__main__":
    main()
