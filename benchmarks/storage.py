"""What it costs to keep a trial: `python benchmarks/storage.py`, beside Optuna's own `study.optimize` on the same kinds of storage.

Trials of 4 studies, whose training is left out: each is asked for, reports its ten evaluations to the median pruner or to none,
and ends. CPU time a trial beyond the same in memory, median of several turns in which the two take turns; and what a trial takes of
the database: transactions that write, statements, and calls of fsync where strace is installed. PostgreSQL, its statements'
waiting apart, is a server of its own, left out where none is installed. Then the memory that a kept trial takes, by the number of
studies that have ended.

Aims, of `study.optimize` beside it: on SQLite at most 0.5 of its CPU time and 3 transactions without a pruner, at most 0.9 with one and
ten reports; memory a trial the same for 20,000 trials as for 2,000.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
import torch
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

import lr_search as lrs
from lr_search.comparison.budget import Budget
from lr_search.comparison.plans import study_plans
from lr_search.comparison.question import question
from lr_search.executors.work import Work
from lr_search.storage.fingerprints.fingerprint import fingerprint
from lr_search.storage.kept_file import database_of
from lr_search.storage.open import open_storage, quiet_optuna
from lr_search.studies.opening import open_studies
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation
from tests.helpers import postgresql

REPORTS = 10  # a trial
STUDIES = 4


class NeverPrunes(optuna.pruners.MedianPruner):
    """The median pruner at its usual work, with its verdict thrown away, so that every trial makes all its reports."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Never."""
        super().prune(study, trial)
        return False


PRUNERS = {"none": None, "median": NeverPrunes(n_startup_trials=2, n_warmup_steps=0)}


def workload() -> lrs.Workload:
    """As little training as there can be, with the evaluations of a real one."""
    batches = [torch.zeros(2, 1), torch.ones(2, 1)]
    return lrs.Workload(
        model=lambda: nn.Linear(1, 1),
        optimizer=torch.optim.SGD,
        loss=lambda model, batch: (model(batch) ** 2).mean(),
        train_data=lambda: batches,
        valid_data=lambda: batches,
        num_steps=REPORTS,
        eval_every=1,
        device="cpu",
    )


def evaluations() -> list[Evaluation]:
    """Of one training."""
    return [Evaluation(step, 1e-3, 0.5, {"loss": 1.0 / (1 + step)}, end_of_cycle=False) for step in range(REPORTS + 1)]


def ours(
    storage: BaseStorage, pruner: optuna.pruners.BasePruner | None, trials: int, studies: int = STUDIES
) -> Callable[[], None]:
    """What keeps so many trials in all, evenly over the studies."""
    asked = question(
        workload(), name="bench", strategies=["random"], schedules=["constant"], optimizers=None, lr_range=(1e-5, 0.1),
        range_test=None, budget=max(1, trials // studies), seeds=studies, pruner=pruner,
    )  # fmt: skip
    start = fingerprint(asked.sides["SGD"].workload, 0)
    prints = {("SGD", seed): start for seed in asked.seeds}
    tasks = open_studies(storage, "bench", study_plans(Budget(asked)), prints)
    made = evaluations()

    def run() -> None:
        work = Work(tasks)
        while (job := work.next()) is not None:
            for evaluation in made:
                job.report(evaluation)
            job.finish(Outcome("finished", "as planned", steps=REPORTS, evaluations=list(made)))
            work.ended(job)

    return run


def theirs(storage: BaseStorage, pruner: optuna.pruners.BasePruner | None, trials: int) -> Callable[[], None]:
    """What Optuna does of itself for as many, without a record of what became of them."""
    studies = [
        optuna.create_study(
            storage=storage, study_name=f"peer {number}", pruner=pruner or optuna.pruners.NopPruner(),
            sampler=optuna.samplers.RandomSampler(seed=number),
        )
        for number in range(STUDIES)
    ]  # fmt: skip

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("lr", 1e-5, 0.1, log=True)
        for step in range(REPORTS if pruner is not None else 0):
            trial.report(1.0 / (1 + step), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return 1.0

    def run() -> None:
        for study in studies:
            study.optimize(objective, n_trials=trials // STUDIES)

    return run


@contextmanager
def storages() -> Iterator[dict[str, Callable[[], BaseStorage]]]:
    """Name -> a new one."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        numbers = iter(range(10**6))
        kinds: dict[str, Callable[[], BaseStorage]] = {
            "memory": InMemoryStorage,
            "SQLite": lambda: open_storage(f"sqlite:///{folder}/{next(numbers)}.db"),
            "Journal": lambda: JournalStorage(JournalFileBackend(f"{folder}/{next(numbers)}.log")),
        }
        if postgresql.programs() is not None:
            folder.chmod(0o755)  # the server may run as an account of its own
            (folder / "postgresql").mkdir()
            server = postgresql.Server(folder / "postgresql")
            server.start()
            stack.callback(server.drop)
            kinds["PostgreSQL"] = lambda: open_storage(server.new_database())
        yield kinds


class Counted:
    """What a database is asked to do."""

    def __init__(self, storage: BaseStorage) -> None:
        self.statements = self.transactions = 0
        self._wrote = False
        database = database_of(storage)
        if database is not None:
            sqlalchemy.event.listen(database.engine, "before_cursor_execute", self._statement)
            sqlalchemy.event.listen(database.engine, "commit", self._commit)

    def _statement(self, _connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        if not text.startswith(("BEGIN", "PRAGMA")):
            self.statements += 1
            self._wrote |= not text.startswith("SELECT")

    def _commit(self, _connection: Any) -> None:
        self.transactions += 1


def cpu_ms(run: Callable[[], None], trials: int) -> tuple[float, float]:
    """CPU and wall time, ms a trial."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return 1000 * (time.process_time() - cpu) / trials, 1000 * (time.perf_counter() - wall) / trials


def costs(pruner: str, trials: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each kind of storage: ours and theirs, beyond memory."""
    spent: dict[tuple[str, str], list[tuple[float, float]]] = {}
    counted: dict[tuple[str, str], Counted] = {}
    with storages() as kinds, quiet_optuna():
        for _ in range(repeats):
            for kind, new in kinds.items():
                for who, make in (("ours", ours), ("optimize", theirs)):
                    storage = new()
                    run = make(storage, PRUNERS[pruner], trials)
                    counted[kind, who] = Counted(storage)
                    spent.setdefault((kind, who), []).append(cpu_ms(run, trials))
    rows = []
    for kind in [kind for kind in kinds if kind != "memory"]:
        row: dict[str, Any] = {"pruner": pruner, "storage": kind}
        for who in ("ours", "optimize"):
            for place, unit in enumerate(("cpu_ms", "wall_ms")):
                both = zip(spent[kind, who], spent["memory", who], strict=True)
                row[f"{who}_{unit}"] = round(statistics.median(kept[place] - bare[place] for kept, bare in both), 2)
            for what in ("transactions", "statements"):
                row[f"{who}_{what}"] = round(getattr(counted[kind, who], what) / trials, 1)
        row["ratio"] = round(row["ours_cpu_ms"] / row["optimize_cpu_ms"], 2)
        rows.append(row)
    return rows


def fsyncs(who: str, pruner: str, trials: int) -> float | None:
    """Calls a trial, on SQLite: what twice as many trials take more."""
    if shutil.which("strace") is None:
        return None
    calls = []
    for count in (trials, 2 * trials):
        command = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", sys.executable, __file__]
        arguments = ["--only", who, "--pruner", pruner, "--trials", str(count)]
        told = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stderr
        calls.append(sum(int(found) for found in re.findall(r"(\d+)\s+(?:fsync|fdatasync)$", told, re.M)))
    return (calls[1] - calls[0]) / trials


def only(who: str, pruner: str, trials: int) -> None:
    """Nothing but that, on SQLite."""
    with tempfile.TemporaryDirectory() as folder, quiet_optuna():
        storage = open_storage(f"sqlite:///{folder}/a.db")
        {"ours": ours, "optimize": theirs}[who](storage, PRUNERS[pruner], trials)()


def memory_kb(trials: int, a_study: int = 100) -> float:
    """What a trial takes that has ended, with ten evaluations: so many in all, on SQLite."""
    with tempfile.TemporaryDirectory() as folder, quiet_optuna():
        storage = open_storage(f"sqlite:///{folder}/a.db")
        run = ours(storage, None, trials, trials // a_study)
        tracemalloc.start()
        run()
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    return taken / 1024 / trials


def main() -> None:
    """Print the tables, and write them as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=80, help="in 4 studies")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--kept", type=int, nargs="*", default=[2000, 20000], help="numbers of trials whose memory is measured"
    )
    parser.add_argument(
        "--only", choices=["ours", "optimize"], default=None, help="run these trials once, and print nothing"
    )
    parser.add_argument("--pruner", choices=list(PRUNERS), default="none", help="with --only")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    if given.only:
        only(given.only, given.pruner, given.trials)
        return
    print(f"{date.today()}, {os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}, Optuna {optuna.__version__}, "
          f"SQLAlchemy {sqlalchemy.__version__}; a trial, beyond memory; median of {given.repeats}")  # fmt: skip
    rows = []
    for pruner in PRUNERS:
        rows += costs(pruner, given.trials, given.repeats)
    for row in rows:
        print(
            f"pruner {row['pruner']:<7} {row['storage']:<11}"
            + "".join(
                f"{who:>9} {row[f'{who}_cpu_ms']:6.2f} ms CPU {row[f'{who}_wall_ms']:6.2f} wall "
                f"{row[f'{who}_transactions']:5.1f} tx {row[f'{who}_statements']:5.1f} st"
                for who in ("ours", "optimize")
            )
            + f"   ratio {row['ratio']:.2f}"
        )
    for pruner in PRUNERS:
        for who in ("ours", "optimize"):
            calls = fsyncs(who, pruner, given.trials)
            print(
                f"pruner {pruner:<7} {who:<9} "
                + ("no strace here" if calls is None else f"{calls:.2f} fsync a trial on SQLite")
            )
    kept = {trials: round(memory_kb(trials), 2) for trials in given.kept}
    print("memory a kept trial: " + ", ".join(f"{kb} KB of {trials:,}" for trials, kb in kept.items()))
    if given.out is not None:
        given.out.write_text(json.dumps({"costs": rows, "memory_kb": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
