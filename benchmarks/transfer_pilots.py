"""Trains pilots of the fit tasks, for fit_transfer.py: `python benchmarks/transfer_pilots.py [--minutes 40] [--long]`.

A pilot is a whole, shorter training under the target's own schedule. Each task is trained with seed 0 at nine LRs, .35 decades apart
around its best, at 1/32, 1/16, 1/8 and 1/4 of each length that its truth in regret_fit.json is known for: constant and wsd towards
3,000 steps (1,000 where the steps are dear), cosine and one_cycle towards 1,000. With --long the cheapest tasks are trained under
cosine and one_cycle for 3,000 steps too, which that truth lacks, and their pilots. Beside it stands what the range test of seed 0 tells.
Results are in transfer_fit.json, a line a task, written after each; a task that is there is left alone. Tasks whose trainings cannot be
fused are left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge_regrets import RegretCurve, regret_curves
from judge_tasks import NUM_STEPS
from lifelike import TASKS
from regret_runs import short
from regret_truth import path_of as truth_path
from regret_waves import plain_wave, trunk_wave

from lr_search import LRPrior, Workload
from lr_search.fused.support import Support, support_of

PATH = Path(__file__).with_name("transfer_fit.json")
DIVISORS = (32, 16, 8, 4)
STEP, AROUND = 0.35, 4  # decades, LRs to each side of the best
LONG, LONG_TASKS = 3000, 10
SEED = 0
ONE_CYCLE_ABOVE_COSINE = 0.2  # decades, where a task's truth has no one_cycle


def pilot_lengths(num_steps: int) -> list[int]:
    """The lengths of the pilots of a training, rising."""
    return [round(num_steps / divisor) for divisor in DIVISORS]


def grid(best: float) -> list[float]:
    """The LRs around a log10 LR, six significant digits each."""
    return [float(f"{10 ** (best + STEP * number):.6g}") for number in range(-AROUND, AROUND + 1)]


def best_place(truths: Sequence[RegretCurve], schedule: str) -> float:
    """log10 of the best LR under a schedule at the longest length known; of cosine for an unknown one_cycle."""
    known = [truth for truth in truths if truth.schedule == schedule]
    if not known:
        return best_place(truths, "cosine") + ONE_CYCLE_ABOVE_COSINE
    longest = max(known, key=lambda truth: truth.num_steps)
    return float(longest.places[int(longest.drops.argmax())])


def by_lr(rates: Sequence[float], losses: Sequence[float | None]) -> dict[str, float | None]:
    """LR -> loss, None where it diverged."""
    return {f"{lr:g}": short(loss) for lr, loss in zip(rates, losses, strict=True)}


def measured(name: str, truths: Sequence[RegretCurve]) -> dict[str, Any]:
    """The pilots of a task and its range test's priors."""
    begun, workload = time.process_time(), TASKS[name].make()
    support = support_of(workload, SEED)
    if not support.stacks:
        return {"skipped": support.reason or "the optimizer cannot step all models at once"}
    known = {(truth.schedule, truth.num_steps) for truth in truths}
    target = max(steps for schedule, steps in known if schedule == "constant")
    rates = grid((best_place(truths, "constant") + best_place(truths, "wsd")) / 2)
    initial, found, _ = trunk_wave(workload, support, rates, pilot_lengths(target), SEED)
    pilots: dict[str, dict[str, dict[str, float | None]]] = {
        schedule: {
            str(length): by_lr(rates, [each[schedule][length] for each in found]) for length in pilot_lengths(target)
        }
        for schedule in ("constant", "wsd")
    }
    for schedule in ("cosine", "one_cycle"):
        if (schedule, NUM_STEPS) in known:
            pilots[schedule] = trained(workload, support, schedule, grid(best_place(truths, schedule)), NUM_STEPS)
    return {
        "initial": short(initial),
        "steps_per_epoch": workload.steps_per_epoch,
        "pilots": pilots,
        "priors": priors(name, known | {(schedule, LONG) for schedule in ("cosine", "one_cycle")}),
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def trained(
    workload: Workload, support: Support, schedule: str, rates: Sequence[float], target: int
) -> dict[str, dict[str, float | None]]:
    """Length -> LR -> final loss, of the pilots of a training of `target` steps."""
    return {
        str(length): by_lr(rates, plain_wave(workload, support, schedule, rates, length, SEED)[1])
        for length in pilot_lengths(target)
    }


def priors(name: str, known: set[tuple[str, int]]) -> dict[str, Any]:
    """What the range test of the seed tells: "schedule length" -> the prior."""
    curve = replace(TASKS[name].make(), num_steps=NUM_STEPS).range_test(SEED, extend=True)
    return {
        f"{schedule} {steps}": {
            key: round(value, 6) if key in ("log10_std", "skew", "tails") else float(f"{value:.6g}")
            for key, value in LRPrior.from_curves([curve], schedule=schedule, num_steps=steps).to_json().items()
        }
        for schedule, steps in sorted(known)
    }


def add_long(name: str, truths: Sequence[RegretCurve], entry: dict[str, Any]) -> None:
    """Cosine and one_cycle of 3,000 steps, as "long", and the pilots of these."""
    begun, workload = time.process_time(), TASKS[name].make()
    support = support_of(workload, SEED)
    entry.setdefault("long", {})
    for schedule in ("cosine", "one_cycle"):
        rates = grid(best_place(truths, schedule))
        entry["pilots"].setdefault(schedule, {}).update(trained(workload, support, schedule, rates, LONG))
        losses = plain_wave(workload, support, schedule, rates[1:-1], LONG, SEED)[1]
        entry["long"][schedule] = by_lr(rates[1:-1], losses)
    entry["cpu_seconds"] = round(entry["cpu_seconds"] + time.process_time() - begun, 1)


def lacking(entry: dict[str, Any]) -> dict[str, list[int]]:
    """Schedule -> the lengths of pilots that an entry of fewer divisors has not."""
    found = {}
    for schedule, of_schedule in entry.get("pilots", {}).items():
        shortest = DIVISORS[0] * np.array([int(length) for length in of_schedule])
        targets = {t for t in (NUM_STEPS, LONG) if np.isclose(shortest, t, rtol=0.02).any()}
        wanted = [length for target in sorted(targets) for length in pilot_lengths(target)]
        missing = [length for length in wanted if str(length) not in of_schedule]
        if missing:
            found[schedule] = missing
    return found


def complete(name: str, entry: dict[str, Any]) -> None:
    """Train what an entry lacks, at the LRs that it has."""
    begun, workload = time.process_time(), TASKS[name].make()
    support = support_of(workload, SEED)
    missing = lacking(entry)
    pilots = entry["pilots"]
    trunk = [schedule for schedule in ("constant", "wsd") if schedule in missing]
    if trunk:
        rates = [float(lr) for lr in next(iter(pilots["constant"].values()))]
        _, found, _ = trunk_wave(workload, support, rates, missing["constant"], SEED)
        for schedule, length in product(trunk, missing["constant"]):
            pilots[schedule][str(length)] = by_lr(rates, [each[schedule][length] for each in found])
    for schedule, length in [(s, length) for s, lengths in missing.items() if s not in trunk for length in lengths]:
        rates = [float(lr) for lr in next(iter(pilots[schedule].values()))]
        pilots[schedule][str(length)] = by_lr(rates, plain_wave(workload, support, schedule, rates, length, SEED)[1])
    entry["cpu_seconds"] = round(entry["cpu_seconds"] + time.process_time() - begun, 1)


def save(found: dict[str, Any]) -> None:
    """A line a task, in the tasks' order."""
    dense = partial(json.dumps, separators=(",", ":"))
    lines = ",\n".join(f"{json.dumps(name)}:{dense(found[name])}" for name in TASKS if name in found)
    part = PATH.with_suffix(".part")
    part.write_text(f"{{\n{lines}\n}}\n")
    part.replace(PATH)


def main() -> None:
    """Train what is not there yet, the cheapest tasks first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40.0, help="no task is begun later")
    parser.add_argument("--long", action="store_true", help="cosine and one_cycle of 3,000 steps on the cheapest tasks")
    given = parser.parse_args()
    torch.set_num_threads(1)
    entries, begun = json.loads(truth_path("fit").read_text()), time.perf_counter()
    found: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {}
    order = sorted(entries, key=lambda name: entries[name]["cpu_seconds"] / entries[name]["steps"])
    if given.long:
        order = [name for name in order if "pilots" in found.get(name, {})][:LONG_TASKS]
    done = "long" if given.long else "priors"
    wanted = [name for name in order if "skipped" not in found.get(name, {})]
    for name in [name for name in wanted if done not in found.get(name, {}) or lacking(found[name])]:
        if time.perf_counter() - begun > 60 * given.minutes:
            break
        truths = regret_curves(truth_path("fit"), name, entries[name], "python benchmarks/regret_truth.py --side fit")
        if lacking(found.get(name, {})):
            complete(name, found[name])
        elif given.long:
            add_long(name, truths, found[name])
        else:
            found[name] = measured(name, truths)
        save(found)
        print(f"{name:<40} {found[name].get('cpu_seconds', 0):>7.1f} CPU s", flush=True)
    print(f"{len(found)} of {len(entries)} tasks; {time.perf_counter() - begun:.0f} s of wall in this call")


if __name__ == "__main__":
    main()
