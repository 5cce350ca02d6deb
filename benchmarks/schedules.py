"""Schedules from one and the same range-tested peak LR: `python benchmarks/schedules.py [--seeds 5] [--jobs 2] [--report]`.

Five small tasks (benchmarks/schedule_tasks.py), objective: the validation loss. The claims of the CLR, SGDR and snapshot papers
stand beside their controls: the tuned constant, linear, exponential and cosine decay, and the CLR paper's own (linear from max
to min over one step_size, then min). Cyclic schedules are read at their cycles' ends, the others every 20 of 1000 steps.
Writes schedules.json, and docs/schedules_measured.md with the tables; --report makes the tables of what is kept.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from schedule_report import report
from schedule_runs import runs
from schedule_snapshots import CLASSIFIED, snapshot_runs
from schedule_tasks import TASKS

KEPT = Path(__file__).with_name("schedules.json")
WRITTEN = Path(__file__).parent.parent / "docs" / "schedules_measured.md"


def measured(seeds: int, jobs: int) -> dict[str, Any]:
    """Every task and seed."""
    with ProcessPoolExecutor(jobs) as pool:
        plans = [pool.submit(runs, task, seed) for seed in range(seeds) for task in TASKS]
        snapshots = [pool.submit(snapshot_runs, task, seed) for seed in range(seeds) for task in CLASSIFIED]
        found: dict[str, Any] = {"runs": [], "snapshots": []}
        for count, plan in enumerate(plans, start=1):
            found["runs"] += plan.result()
            print(f"schedules: {count} of {len(plans)}", flush=True)
        for count, each in enumerate(snapshots, start=1):
            found["snapshots"].append(each.result())
            print(f"snapshots: {count} of {len(snapshots)}", flush=True)
    return found


def main() -> None:
    """Measure, or read what was measured, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", action="store_true", help="of the kept measurements")
    arguments = parser.parse_args()
    if not arguments.report:
        found = measured(arguments.seeds, arguments.jobs)
        KEPT.write_text(json.dumps(found, separators=(",", ":")).replace('},{"task"', '},\n{"task"') + "\n")
    text = report(json.loads(KEPT.read_text()))
    WRITTEN.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
