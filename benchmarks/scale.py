"""What Ray costs a comparison: `OMP_NUM_THREADS=1 python benchmarks/scale.py [--part short long many hooks] [--json FILE]`.

The same trainings by LocalExecutor, by RayExecutor (workers kept from trial to trial, and new for each) and by a Tuner that has no
searcher, scheduler or storage of ours: wall time of the whole call in a Ray that runs already, the share of the workers' time inside
trainings, and what lies between a training and the next on a worker. All take turns; medians, and ratios within a turn.

    short   trainings of half a second on 2 workers
    long    of some ten seconds on 2 workers
    many    that only sleep, on 16 workers (--workers): here the driver is what is measured
    hooks   the driver's time for a report and a trial, by calling Tune's hooks without Ray, the more studies are finished

Aims: at most 1.10 times the bare Tuner's wall time; at most 2 ms a report, however many studies are finished; workers busy 95% of the time
where trainings take 10 s or more. Run it alone: it takes some ten minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from scale_hooks import PRUNERS, measured
from scale_runs import Run, compared, started, tuned
from scale_tables import BARE, LOCAL, NEW, OURS, row, text
from scale_work import EVALUATIONS, digits, seconds_a_step, sleeping

JSON = Path(__file__).with_suffix(".json")
STUDIES, TRIALS = (1, 10, 100), 100  # of the part `hooks`
say = partial(print, flush=True)


@dataclass(frozen=True)
class Plan:
    """How one part is run.

    Args:
        seconds: a training, as long as it has a core for itself.
        workers: at once.
        budget: trials in each of four studies.
        turns: of every contender.
        sleeps: whether trainings only wait.
        local: whether LocalExecutor runs too.
        new: trials in each of four studies where workers are new for each trial; 0: that is not run. It runs once.
    """

    seconds: float
    workers: int
    budget: int
    turns: int
    sleeps: bool = False
    local: bool = False
    new: int = 0

    def made(self, step_seconds: float) -> Callable[[Path], Any]:
        """What makes the workload, given the folder where it notes what it does."""
        if self.sleeps:
            return partial(sleeping, self.seconds)
        return partial(digits, EVALUATIONS * round(self.seconds / step_seconds / EVALUATIONS))


PLANS = {
    "short": Plan(0.5, 2, budget=8, turns=3, local=True, new=3),
    "long": Plan(11.0, 2, budget=2, turns=2),
    "many": Plan(10.0, 16, budget=12, turns=1, sleeps=True),
}
PARTS = [*PLANS, "hooks"]


def part(plan: Plan, step_seconds: float) -> dict[str, list[Run]]:
    """Every contender's runs, in turns."""
    names = [LOCAL] * plan.local + [OURS, BARE]
    runs: dict[str, list[Run]] = {}
    with started(plan.workers):
        for name in (OURS, BARE):  # what Ray and Tune load the first time
            run(name, partial(sleeping, 0.0), 1, plan.workers)
        for turn in range(plan.turns):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                found = run(name, plan.made(step_seconds), plan.budget, plan.workers)
                runs.setdefault(name, []).append(found)
                say(row(name, [asdict(found)]))
        for name in (OURS, BARE) if plan.new else ():
            found = run(name, plan.made(step_seconds), plan.new, plan.workers, reuse_actors=False)
            runs[name + NEW] = [found]
            say(row(name + NEW, [asdict(found)]))
    return runs


def run(name: str, made: Callable[[Path], Any], budget: int, workers: int, *, reuse_actors: bool = True) -> Run:
    """One run of one contender."""
    if name == BARE:
        return tuned(made, points(budget), workers, reuse_actors=reuse_actors)
    if name == LOCAL:
        return compared(made, budget, 1, reuse_actors=None)[0]
    return compared(made, budget, workers, reuse_actors=reuse_actors)[0]


@cache
def points(budget: int) -> Sequence[float]:
    """The LRs that the four studies try: they depend on no results."""
    return compared(partial(sleeping, 0.0), budget, 1, reuse_actors=None)[1]


def hooks() -> list[dict[str, Any]]:
    """The driver's time."""
    return [
        found
        for storage in ("memory", "SQLite")
        for pruner in PRUNERS
        for found in measured(storage, pruner, STUDIES, TRIALS, say)
    ]


def main() -> None:
    """Run the parts, print the tables and write them as JSON; parts that are not run keep what the file has of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--part", nargs="*", choices=PARTS, default=PARTS, help="which; none: only print what the file has"
    )
    parser.add_argument("--workers", type=int, default=PLANS["many"].workers, help="of the part `many`")
    parser.add_argument("--json", type=Path, default=JSON)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(given.json.read_text()) if given.json.exists() else {}
    step_seconds = seconds_a_step() if {*given.part} & PLANS.keys() else 0.0
    for name in given.part:
        say(f"\n{name}")
        if name == "hooks":
            found[name] = hooks()
            continue
        plan = replace(PLANS[name], **({"workers": given.workers} if name == "many" else {}))
        runs = part(plan, step_seconds)
        found[name] = {
            "cores": os.cpu_count(),
            "runs": {who: [asdict(each) for each in some] for who, some in runs.items()},
        }
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    given.json.write_text(json.dumps(found, indent=1) + "\n")
    say("\n" + text(found))


if __name__ == "__main__":
    main()
