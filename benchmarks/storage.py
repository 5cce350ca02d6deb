"""What the storage costs a trial: `python benchmarks/storage.py`.

Runs comparisons of trials with ten evaluations each on a SQLite file, and subtracts the wall time of the bare trainings.
Prints its share of a trial that trains for one second. Aims: at most 5% without a pruner, at most 10% with one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import optuna
import torch
from torch import nn

import lr_search as lrs
from lr_search.comparison.budget import Budget
from lr_search.comparison.plans import study_plans
from lr_search.comparison.question import question
from lr_search.executors.progress import Progress
from lr_search.storage.fingerprints.fingerprint import fingerprint
from lr_search.storage.open import open_storage, quiet_optuna
from lr_search.studies.opening import open_studies

EVALUATIONS = 10
TRIAL_SECONDS = 1.0
AIMS = {"none": 0.05, "median": 0.10}


class NeverPrunes(optuna.pruners.MedianPruner):
    """The median pruner at its usual work, with its verdict thrown away, so that every trial makes all its reports."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Never."""
        super().prune(study, trial)
        return False


def workload() -> lrs.Workload:
    """As little training as there can be, with the evaluations of a real one."""
    batches = [torch.zeros(2, 1), torch.ones(2, 1)]
    return lrs.Workload(
        model=lambda: nn.Linear(1, 1),
        optimizer=torch.optim.SGD,
        loss=lambda model, batch: (model(batch) ** 2).mean(),
        train_data=lambda: batches,
        valid_data=lambda: batches,
        num_steps=EVALUATIONS,
        eval_every=1,
        device="cpu",
    )


def seconds_a_trial(pruner: optuna.pruners.BasePruner | None, trials: int) -> float:
    """Wall time a trial above that of the bare training, over 2 strategies x 2 seeds."""
    work = workload()
    with tempfile.TemporaryDirectory() as folder, quiet_optuna():
        storage = open_storage(f"sqlite:///{folder}/bench.db")
        asked = question(
            work, name="bench", strategies=["grid", "random"], schedules=["constant"], optimizers=None,
            lr_range=(1e-5, 0.1), range_test=None, budget=trials, seeds=2, pruner=pruner,
        )  # fmt: skip
        prints = {("SGD", seed): fingerprint(work, seed) for seed in asked.seeds}
        tasks = open_studies(storage, "bench", study_plans(Budget(asked)), prints)
        bare = statistics.median(bare_seconds(work) for _ in range(21))
        begun = time.perf_counter()
        lrs.LocalExecutor().run(tasks, Progress(0, 0, shown=False))
        wall = time.perf_counter() - begun
        frame = lrs.load(storage, "bench").trials
        assert len(frame) == 4 * trials
        return wall / len(frame) - bare


def bare_seconds(work: lrs.Workload) -> float:
    """Wall time of one training by itself."""
    begun = time.perf_counter()
    for _ in lrs.train(work, lrs.schedules.Constant(1e-3)):
        pass
    return time.perf_counter() - begun


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=16, help="a study")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    rows = []
    for name, pruner in (("none", None), ("median", NeverPrunes(n_startup_trials=2, n_warmup_steps=0))):
        cost = statistics.median(seconds_a_trial(pruner, given.trials) for _ in range(given.repeats))
        share = cost / (cost + TRIAL_SECONDS)
        rows.append({"pruner": name, "ms_a_trial": round(1000 * cost, 1), "share": round(share, 4), "aim": AIMS[name]})
        print(
            f"pruner {name:<8} {1000 * cost:6.1f} ms a trial   {100 * share:5.2f}% of one second (aim {100 * AIMS[name]:.0f}%)"
        )
    if given.out is not None:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
