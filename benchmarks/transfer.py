"""How good the LRs of `lrs.transfer` are: `python benchmarks/transfer.py --side unseen --json FILE [--train-truth] [--transfer-alone]`.

Runs it on each task of a side (fit and judge: lifelike ones, whose truth regret_truth.py measured; unseen: unseen_truth.py) under each
schedule, at the longest length whose truth is known, for a quarter of a training and for a whole one; and what costs as much as the quarter
in pilots of T/16 whose best LR is moved unchanged: random LRs, Optuna's TPE, a log grid. Beside them the range test's suggestion, and that
of 1,000 steps moved as T^-.32. `--train-truth` first trains what regret_judge.json lacks: cosine of 3,000 steps, and constant and cosine of
10,000 on the two cheapest tasks; kept in transfer_judge.json. `--transfer-alone` leaves out the searches. Tasks whose truth is of trainings
too short for pilots are left out.

Prints the mean regret of each way with a 95% interval over tasks, how far transfer lies from the suggestion task by task, and how often its
80% interval holds the best LR. What was run is kept in the JSON, task by task: a second call goes on. The judging side is for constants
that are done: once.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from judge_regrets import RegretCurve, regret_curve, regret_curves
from judge_statistics import difference, estimate, task_means
from lifelike import TASKS
from regret_runs import short
from regret_truth import MOST_WIDENINGS, STEP, lr_at, path_of
from regret_waves import plain_wave
from unseen import TASKS as UNSEEN
from unseen_truth import PATH as UNSEEN_TRUTH

import lr_search as lrs
from lr_search import LRPrior, Workload
from lr_search.fused.support import Support, support_of
from lr_search.scaling.transfer_strategy import RUNGS, SHORTEST_PILOT

TRUTH = Path(__file__).with_name("transfer_judge.json")
SCHEDULES = ("constant", "cosine", "wsd", "one_cycle")
COSTS = {"a quarter": 0.25, "a whole": 1.0}
SEARCHED_COST = (
    0.25  # the other searches are run up to that cost: sixteen pilots one after the other take longest of all
)
SHORTEST = math.ceil(SHORTEST_PILOT / RUNGS[0].share)  # steps of a training that has pilots
PILOT = 16  # T / steps of a pilot of the searches beside
RANGE = (1e-5, 10.0)
FORMULA = -0.32
LONGER, LONGER_TASKS = 10_000, 2
TRUTH_SEEDS, TRUTH_PLACES = 2, 3  # places to each side
SUGGESTION = "suggestion"


def truth_path(side: str) -> Path:
    """The file of a side's truth."""
    return UNSEEN_TRUTH if side == "unseen" else path_of(side)


def truths_of(side: str, name: str, entry: dict[str, Any]) -> list[RegretCurve]:
    """The longest length that is known of each schedule, and 10,000 steps beside it."""
    known = regret_curves(truth_path(side), name, entry, "python benchmarks/regret_truth.py or unseen_truth.py")
    added = json.loads(TRUTH.read_text()).get(name, {}) if TRUTH.exists() else {}
    known += [
        regret_curve(name, schedule, int(length), length, of_lr, entry["initial"])
        for schedule, lengths in added.items()
        for length, of_lr in lengths.items()
    ]
    usual = [truth for truth in known if SHORTEST <= truth.num_steps < LONGER]
    longest = {truth.schedule: truth for truth in sorted(usual, key=lambda truth: truth.num_steps)}
    return [longest[s] for s in SCHEDULES if s in longest] + [t for t in known if t.num_steps == LONGER]


def by_cost(entries: dict[str, Any]) -> list[str]:
    """The tasks, those of the cheapest steps first."""
    return sorted(entries, key=lambda name: float(entries[name]["cpu_seconds"] / entries[name].get("steps", 1)))


def train_truth(side: str, entries: dict[str, Any]) -> None:
    """What is not known yet, the cheapest tasks first."""
    cheap = by_cost(entries)[:LONGER_TASKS]
    found: dict[str, Any] = json.loads(TRUTH.read_text()) if TRUTH.exists() else {}
    for name in by_cost(entries):
        entry = entries[name]
        if "3000" not in entry["losses"]["constant"]:
            continue
        wanted = [("cosine", 3000), *((schedule, LONGER) for schedule in ("constant", "cosine") if name in cheap)]
        workload = TASKS[name].make()
        support = support_of(workload, 0)
        for schedule, length in wanted:
            of_task = found.setdefault(name, {}).setdefault(schedule, {})
            if str(length) not in of_task and support.stacks:
                (near,) = [t for t in truths_of(side, name, entry) if t.schedule == schedule and t.num_steps < LONGER]
                of_task[str(length)] = around_best(workload, support, near, length)
                TRUTH.write_text(json.dumps(found) + "\n")
                print(f"truth of {name}, {length} steps of {schedule}", flush=True)


def around_best(workload: Workload, support: Support, near: RegretCurve, length: int) -> dict[str, list[float | None]]:
    """LR -> a loss a seed, around the best of a shorter truth; wider where the best lies at an end."""
    best = round(float(near.places[int(near.drops.argmax())]) / STEP)
    low, high = best - TRUTH_PLACES, best + TRUTH_PLACES
    found: dict[int, list[float | None]] = {}
    for _ in range(MOST_WIDENINGS + 1):
        places = [place for place in range(low, high + 1) if place not in found]
        rates = [lr_at(place) for place in places]
        by_seed = [plain_wave(workload, support, near.schedule, rates, length, s)[1] for s in range(TRUTH_SEEDS)]
        found |= {place: [short(loss) for loss in losses] for place, *losses in zip(places, *by_seed, strict=True)}
        means = {p: np.mean([np.inf if loss is None else loss for loss in losses]) for p, losses in found.items()}
        winner = min(means, key=lambda place: float(means[place]))
        if low < winner < high:
            break
        low, high = low - 2 * (winner == low), high + 2 * (winner == high)
    return {f"{lr_at(place):.6g}": found[place] for place in sorted(found)}


def judged(name: str, truth: RegretCurve, alone: bool) -> list[dict[str, Any]]:
    """Every way's LR for one training. Args: alone: without the searches."""
    workload = replace((TASKS | UNSEEN)[name].make(), num_steps=truth.num_steps)
    curve = workload.range_test(0, extend=True)
    prior = LRPrior.from_curves([curve], schedule=truth.schedule, num_steps=truth.num_steps)
    usual = curve.suggest(schedule=truth.schedule, num_steps=1000).lr
    rows = [
        row(SUGGESTION, truth, prior.mode, prior.ppf([0.1, 0.9]).tolist()),
        row("T^-.32", truth, usual * (truth.num_steps / 1000) ** FORMULA),
    ]
    for told, cost in COSTS.items():
        found = lrs.transfer(workload, schedule=truth.schedule, cost=cost, executor=lrs.FusedExecutor(), progress=False)
        rows.append(row(f"transfer, {told}", truth, found.lr, list(found.interval), found.cost))
        if cost <= SEARCHED_COST and not alone:
            rows += [row(f"{way}, {told}", truth, lr) for way, lr in searched(workload, truth.schedule, cost).items()]
    return rows


def searched(workload: Workload, schedule: str, cost: float) -> dict[str, float]:
    """The best LR of as many pilots as the cost pays for, by each search."""
    pilots = int(cost * PILOT)
    length = workload.num_steps // PILOT
    support = support_of(workload, 0)
    draws = 10 ** np.random.default_rng(0).uniform(*np.log10(RANGE), pilots)
    low, high = np.log10(RANGE)
    grid = 10 ** (low + (high - low) * (np.arange(pilots) + 0.5) / pilots)
    found = {}
    for way, rates in (("random", draws.tolist()), ("grid", grid.tolist())):
        losses = final(workload, support, schedule, rates, length)
        found[way] = rates[int(np.argmin(losses))]
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    for _ in range(pilots):
        trial = study.ask()
        lr = trial.suggest_float("lr", *RANGE, log=True)
        study.tell(trial, final(workload, support, schedule, [lr], length)[0])
    return found | {"tpe": float(study.best_params["lr"])}


def final(workload: Workload, support: Support, schedule: str, rates: Sequence[float], length: int) -> list[float]:
    """The final losses of pilots, inf where one diverged."""
    if support.stacks:
        losses = plain_wave(workload, support, schedule, rates, length, 0)[1]
        return [np.inf if loss is None else loss for loss in losses]
    found = []
    for lr in rates:
        shorter = replace(workload, num_steps=length, eval_every=length)
        training = lrs.train(shorter, lrs.schedules.by_name(schedule, lr, length, shorter.steps_per_epoch), seed=0)
        last = list(training)[-1].metrics["loss"]
        found.append(last if training.stopped == "finished" and np.isfinite(last) else np.inf)
        training.close()
    return found


def row(
    way: str, truth: RegretCurve, lr: float, interval: list[float] | None = None, cost: float | None = None
) -> dict[str, Any]:
    """What is kept of one way."""
    held = None if interval is None or truth.best is None else bool(interval[0] <= 10**truth.best <= interval[1])
    regret = min(1.0, truth.regret(float(np.log10(lr))))
    return {"way": way, "lr": lr, "regret": regret, "held": held, "cost": cost}


def report(found: dict[str, dict[str, Any]]) -> None:
    """Print the table of each schedule and length."""
    kinds = list(dict.fromkeys(kind for of_task in found.values() for kind in of_task))
    for kind in kinds:
        print(f"\n{kind}: {sum(kind in of_task for of_task in found.values())} tasks")
        rows = [(task, each) for task, of_task in found.items() for each in of_task.get(kind, [])]
        ways = list(dict.fromkeys(each["way"] for _, each in rows))
        by_way = {w: task_means([(task, each["regret"]) for task, each in rows if each["way"] == w]) for w in ways}
        for way in ways:
            mean = estimate(list(by_way[way].values()))
            apart, _ = difference(by_way[way], by_way[SUGGESTION])
            held = [each["held"] for _, each in rows if each["way"] == way and each["held"] is not None]
            print(
                f"{way:<16} {mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})  above the suggestion {apart.mean:+.3f} "
                f"({apart.low:+.3f} to {apart.high:+.3f})" + (f"  interval holds {np.mean(held):.0%}" if held else "")
            )


def main() -> None:
    """Judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=["fit", "judge", "unseen"], required=True)
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--schedules", nargs="+", choices=SCHEDULES, default=SCHEDULES)
    parser.add_argument("--train-truth", action="store_true", help="train what the truth of the judging side lacks")
    parser.add_argument("--transfer-alone", action="store_true", help="without the searches at the same cost")
    parser.add_argument("--json", type=Path, required=True, help="where what was run is kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    entries = json.loads(truth_path(given.side).read_text())
    if given.train_truth:
        train_truth(given.side, entries)
    found: dict[str, Any] = json.loads(given.json.read_text()) if given.json.exists() else {}
    for name in given.tasks or by_cost(entries):
        for truth in truths_of(given.side, name, entries[name]):
            kind = f"{truth.schedule} {truth.num_steps}"
            if truth.schedule in given.schedules and kind not in found.get(name, {}) and truth.drops.max() > 0:
                begun = time.perf_counter()
                found.setdefault(name, {})[kind] = judged(name, truth, given.transfer_alone)
                given.json.write_text(json.dumps(found) + "\n")
                print(f"{name}, {kind}: {time.perf_counter() - begun:.0f} s", flush=True)
    report(found)


if __name__ == "__main__":
    main()
