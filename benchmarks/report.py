"""What a report of very many trials takes: `python benchmarks/report.py [--trials 100000] [--studies 500]`.

Writes a SQLite file with a comparison of that size (ten evaluations a trial, two metrics; no training), then measures in a
process of its own each, imports (of torch, pandas, matplotlib, ...) apart: reading it and the summary (aims: under 5 s and
under 1 GB), every table, and the whole report (aim: under 60 s). Also prints how often the 95% t-interval holds the true
mean, for normal and for skewed differences.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from optuna.storages._rdb import models
from optuna.trial import TrialState

from lr_search.results.statistics import paired_interval
from lr_search.storage.keys import PLAN, RECORD
from lr_search.storage.open import open_storage, quiet_optuna

PATH = Path(__file__).with_name("report.json")
NAME = "many"
STRATEGIES = ["grid", "random", "range_test", "tpe", "mine"]
SCHEDULES = ["constant", "cosine", "one_cycle", "sgdr", "triangular2"]
NUM_STEPS, EVALUATIONS, RANGE = 1_000, 10, (1e-5, 10.0)
AIMS = {"summary": (5.0, 1_000.0), "report": (60.0, None)}  # seconds, MB
LR_DISTRIBUTION = optuna.distributions.FloatDistribution(*RANGE, log=True)
PARTS = {
    "summary": "found.summary(full=True)",
    "tables": "(found.trials, found.evaluations, found.pairwise(), found.anytime(), found.basins(), found.costs())",
    "report": "found.save(sys.argv[2])",
}
SCRIPT = """
import resource, sys, time
began = time.perf_counter()
import lr_search as lrs, lr_search.comparison.loading, lr_search.results.findings, lr_search.report.page
imported = time.perf_counter()
found = lrs.load(sys.argv[1])
{part}
print(imported - began, time.perf_counter() - imported, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def plan(order: int, strategy: str, schedule: str, seed: int) -> dict[str, Any]:
    """A study's plan, as `compare` stores it."""
    steps = np.linspace(0, NUM_STEPS - 1, 301).round()
    return {
        "kind": "search", "comparison": NAME, "order": order, "format": 1, "strategy": strategy, "schedule": schedule,
        "optimizer": "SGD", "seed": seed, "lr_range": list(RANGE), "num_steps": NUM_STEPS, "objective": "loss",
        "direction": "minimize", "schedule_shape": schedule, "by_name": schedule, "steps_per_epoch": 100,
        "shape": {"step": steps.tolist(), "lr": [1.0] * len(steps), "cycle_ends": []},
        "optimizer_call": {"class": "torch.optim.SGD", "module": "torch.optim", "settings": {}, "groups": []},
    }  # fmt: skip


def outcome(lr: float, generator: np.random.Generator) -> tuple[float, dict[str, Any]]:
    """A trial's objective and record: a valley over log LR with noise; divergence far above it."""
    diverged = lr > 3
    steps = np.linspace(0, NUM_STEPS, EVALUATIONS + 1)[: 2 if diverged else None]
    end = 0.2 + 0.15 * np.log10(lr / 0.05) ** 2 + 0.02 * generator.standard_normal()
    losses = (end + (2.3 - end) * np.exp(-steps / 200)).tolist()
    record = {
        "ended": "diverged" if diverged else "finished",
        "reason": f"the training loss became inf at step {int(steps[-1])}" if diverged else f"all {NUM_STEPS} steps done",
        "steps": int(steps[-1]),
        "curve": None, "error": None, "seconds": 1.5, "device": "cpu (1 thread)",
        "worker": f"node{generator.integers(8)} 1234", "started": "2026-01-01T00:00:00.000+00:00",
        "evaluations": {
            "step": steps.astype(int).tolist(),
            "lr": [lr] * len(steps),
            "train_loss": [float("nan"), *losses[1:]],
            "end_of_cycle": [False] * len(steps),
            "metrics": {"accuracy": (1 - np.array(losses) / 2.3).tolist(), "loss": losses},
        },
    }  # fmt: skip
    return float("inf") if diverged else losses[-1], record


def write(url: str, studies: int, trials: int) -> None:
    """A comparison of so many studies and trials in all."""
    storage = open_storage(url)
    seeds = -(-studies // (len(STRATEGIES) * len(SCHEDULES)))
    keys = [(a, b, s) for a in STRATEGIES for b in SCHEDULES for s in range(seeds)][:studies]
    first = 1
    for order, key in enumerate(keys):
        study = optuna.create_study(storage=storage, study_name=f"{NAME}/{'/'.join(map(str, key))}")
        study.set_user_attr(PLAN, plan(order, *key))
        count = trials // len(keys)
        rows = list(_rows(study._study_id, first, count, np.random.default_rng(order)))
        with storage._backend.engine.begin() as connection:  # type: ignore[attr-defined]
            for model, place in zip(_MODELS, range(len(_MODELS)), strict=True):
                connection.execute(sqlalchemy.insert(model), [row[place] for row in rows])
        first += count


_MODELS = (models.TrialModel, models.TrialValueModel, models.TrialParamModel, models.TrialUserAttributeModel)


def _rows(
    study_id: int, first: int, count: int, generator: np.random.Generator
) -> Iterator[tuple[dict[str, Any], ...]]:
    kinds = models.TrialValueModel.TrialValueType
    low, high = np.log(RANGE)
    for number in range(count):
        lr = float(np.exp(generator.uniform(low, high)))
        value, record = outcome(lr, generator)
        trial = {"trial_id": first + number}
        yield (
            {**trial, "number": number, "study_id": study_id, "state": TrialState.COMPLETE},
            {**trial, "objective": 0, "value": None if np.isinf(value) else value,
             "value_type": kinds.INF_POS if np.isinf(value) else kinds.FINITE},
            {**trial, "param_name": "lr", "param_value": lr,
             "distribution_json": optuna.distributions.distribution_to_json(LR_DISTRIBUTION)},
            {**trial, "key": RECORD, "value_json": json.dumps(record)},
        )  # fmt: skip


def measure(url: str, part: str, folder: Path) -> dict[str, float]:
    """Seconds after the import, and the most memory, of a process that does one part."""
    script = SCRIPT.format(part=PARTS[part])
    command = [sys.executable, "-c", script, url, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    imported, seconds, megabytes = map(float, done.stdout.split()[-3:])
    return {"import_seconds": imported, "seconds": seconds, "megabytes": megabytes}


def coverage(simulations: int = 20_000) -> dict[str, dict[int, float]]:
    """How often the 95% interval of n differences holds the true mean."""
    generator = np.random.default_rng(0)
    kinds = {
        "normal": (lambda n: generator.standard_normal(n), 0.0),
        "lognormal": (lambda n: np.exp(generator.standard_normal(n)), float(np.exp(0.5))),
        "difference of two lognormals": (lambda n: np.exp(generator.standard_normal((2, n))).T @ [1.0, -1.0], 0.0),
    }
    found: dict[str, dict[int, float]] = {}
    for kind, (draw, mean) in kinds.items():
        for n in (3, 5, 10):
            intervals = (paired_interval(draw(n)) for _ in range(simulations))
            held = sum(each.low <= mean <= each.high for each in intervals)
            found.setdefault(kind, {})[n] = held / simulations
    return found


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--studies", type=int, default=500)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, quiet_optuna():
        url = f"sqlite:///{folder}/many.db"
        began = time.perf_counter()
        write(url, asked.studies, asked.trials)
        size = Path(folder, "many.db").stat().st_size / 2**20
        print(
            f"{asked.trials:,} trials in {asked.studies} studies, {size:.0f} MB, written in {time.perf_counter() - began:.0f} s\n"
        )
        parts = {part: measure(url, part, Path(folder) / "report") for part in PARTS}
        page = Path(folder, "report", "report.html").stat().st_size / 2**20
    print("| | imports, s | seconds | MB | aim |\n|---|---|---|---|---|")
    for part, found in parts.items():
        seconds, megabytes = AIMS.get(part, (None, None))
        aims = [f"{seconds:g} s" if seconds else "", f"{megabytes:g} MB" if megabytes else ""]
        missed = (seconds and found["seconds"] > seconds) or (megabytes and found["megabytes"] > megabytes)
        told = f"{', '.join(a for a in aims if a)}: {'MISSED' if missed else 'reached'}" if seconds else ""
        print(
            f"| {part} | {found['import_seconds']:.1f} | {found['seconds']:.1f} | {found['megabytes']:.0f} | {told} |"
        )
    print(f"\nthe page: {page:.1f} MB\n\n| differences | n = 3 | n = 5 | n = 10 |\n|---|---|---|---|")
    held = coverage()
    for kind, each in held.items():
        print(f"| {kind} | " + " | ".join(f"{share:.1%}" for share in each.values()) + " |")
    kept = {"trials": asked.trials, "studies": asked.studies, "parts": parts, "page_megabytes": page, "coverage": held}
    PATH.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
