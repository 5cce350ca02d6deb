"""compare(): strategies x schedules x optimizers x seeds -> studies -> Comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from lr_search.comparison.budget import Budget
from lr_search.comparison.comparison import Comparison
from lr_search.comparison.cost import plan_text
from lr_search.comparison.plans import confirmation_left, confirmation_plans, study_plans
from lr_search.comparison.question import Pruner, question
from lr_search.comparison.search_ranges import as_recorded, may_move, moved
from lr_search.comparison.today import UsedToday
from lr_search.comparison.tryout import further_starts, tried_starts
from lr_search.comparison.unchanged import require_unchanged
from lr_search.errors import require
from lr_search.executors.display.logger import LOGGER
from lr_search.executors.executor import Executor
from lr_search.executors.interrupts import worker_deaths_held
from lr_search.executors.local import LocalExecutor
from lr_search.executors.progress import Progress
from lr_search.kinds.checked import checked
from lr_search.kinds.seeds import MOST_SEEDS
from lr_search.optimizers.names import NamedOptimizers
from lr_search.storage.open import StorageLike, open_storage, quiet_optuna, storage_errors
from lr_search.storage.reading import read_records
from lr_search.storage.rescue import rescued
from lr_search.storage.working.working_storage import WorkingStorage
from lr_search.storage.working.wrapped import working_storage
from lr_search.studies.opening import delete_comparison, finished_trials, open_studies, recorded_plans
from lr_search.studies.study import StudyTask
from lr_search.workloads.trainable import Trainable
from lr_search.workloads.workload import Workload


@checked
def compare(
    workload: Workload | Trainable,
    *,
    strategies: str | Sequence[Any] | Mapping[str, Any] = ("grid", "random", "range_test"),
    schedules: str | Sequence[str] | Mapping[str, Any] = ("constant", "triangular2", "sgdr"),
    optimizers: NamedOptimizers | None = None,
    lr_range: tuple[float, float] | None = None,
    range_test: Mapping[str, Any] | None = None,
    today: UsedToday = None,
    budget: float = 8,
    seeds: int | Sequence[int] = 3,
    pruner: Pruner = None,
    confirm: int = 0,
    snapshots: int | None = None,
    search_shape: bool = False,
    executor: Executor | None = None,
    storage: StorageLike = "sqlite:///lr_search.db",
    name: str = "comparison",
    dry_run: bool = False,
    fresh: bool = False,
    progress: bool = True,
) -> Comparison:
    """Search the learning rate in several ways under several schedules, and compare what was found and what it cost.

    Says the number of studies and the total cost before the first step, then how far it has come: by the logger `lr_search`, which
    writes to standard error unless `logging` was set up, and by bars on a terminal. Killed or interrupted, the same call goes on
    where it was; a larger budget extends it.

    Args:
        workload: what is trained; or a training function of your own, see `Trainable`.
        strategies: names (see `lr-search list`), Optuna's samplers among them; or name -> Optuna sampler (its class, a
            function that makes it, or itself), or name -> the LR used today.
        schedules: names (see `lr-search list`), or name -> (peak LR -> Schedule or Controller). The range tests of a
            controller such as refind are charged to its trials.
        optimizers: names (see `lr-search list`), or name -> (params, lr=...) -> Optimizer; default: the workload's own.
            One that finds its LR itself (Prodigy) is not searched: it gets the strategy `defaults` alone. One that its
            authors want under certain schedules only (Prodigy, Schedule-Free) is trained under those.
        lr_range: (low, high), the range that every strategy searches. None: by each optimizer's kind (1e-4 to 10 for SGD and its like,
            1e-6 to 1 for Adam's: `lr_search.optimizers.lr_ranges.RANGES`), which the printed plan names. Range tests are then run
            first; where they show it as too narrow it is moved for all studies of the optimizer, whatever their seed and strategy.
        range_test: how the range test is run: num_steps, curves, start_lr, end_lr, ramp. Default: over lr_range in a third of a
            training's steps, from 20 to 100; where lr_range is None, on beyond it while nothing breaks.
        today: the LR that you train with now, or {"lr": 3e-4, "schedule": "cosine"}: a schedule by name, by default the first that is
            compared; and "optimizer", by default the first. It is trained once a seed, which no study is charged for, and the answer
            is told against it. It may join later; another one than the name began with is refused.
        budget: what each study may spend, in full trainings; range tests, pilots, pruned and failed trials are charged. Below 1 it pays
            for the pilots of `transfer` alone.
        seeds: how many, or which.
        pruner: an Optuna pruner; "auto", for one that suits each schedule, which the printed plan names with the reason; or
            None. A strategy that cuts its trials itself (one_epoch) does so in any case, by its own rule.
        confirm: fresh seeds on which the best two, and today's, are trained again at the end (judged on test_data where given).
        snapshots: how many models, of a cyclic training's last cycle ends, are judged together as an ensemble beside the
            single model, at no further step; 0: none. Default: 2 of a workload, none of a training function, whose models lr_search
            does not hold. More than 2 take in models from early in a short training, which cost more than they add. Needs
            `workload.combine`, and holds as many copies of the weights.
        search_shape: let the sampler also choose the shape of the named schedules: their number of cycles, base_ratio, T_mult,
            ..., within the ranges that `lr-search list` shows. Not under a pruner ("auto" leaves such schedules without one), nor
            with one_epoch.
        executor: runs the trials; default: one after the other in this process.
        storage: a database URL, an Optuna storage, or None to keep nothing.
        name: of the comparison in the storage. It goes on only with the model, data, metrics, optimizer and settings that it began with;
            more strategies, schedules, optimizers or seeds and a larger budget join it.
        dry_run: print the plan and its cost, and train nothing.
        fresh: delete what the storage holds under that name, and start over.
        progress: say the plan and how far it has come: on a terminal by bars, elsewhere by a line for each study that is complete
            and one a minute.

    Raises:
        InvalidInputError: an argument breaks a rule.
        WorkloadError: the workload cannot be trained: found by one step and one evaluation before anything is stored, and chained
            to what the user's code raised; or a factory of it gives something else each time it is called.
        FingerprintError: the storage holds another comparison under that name; the message says in what it differs.
        StorageError: the storage cannot be opened, or failed or lost its file meanwhile; or `fresh` while another process works on
            it.
        TrialsFailedError: three trials in a row raised an exception.
    """
    require(0 <= confirm <= MOST_SEEDS, f"confirm must be a number of seeds, 0 to {MOST_SEEDS:,}", confirm=confirm)
    asked = question(
        workload, name=name, strategies=strategies, schedules=schedules, optimizers=optimizers, lr_range=lr_range,
        range_test=range_test, budget=budget, seeds=seeds, pruner=pruner, snapshots=snapshots, search_shape=search_shape, today=today,
    )  # fmt: skip
    budgeted = Budget(asked)
    runner: Executor = LocalExecutor() if executor is None else executor
    pace_of = partial(runner.first_pace, asked.workload, asked.seeds)
    with quiet_optuna(), storage_errors(), worker_deaths_held():
        workloads = {optimizer: side.workload for optimizer, side in asked.sides.items()}
        seeds_now = asked.seeds[: 1 if dry_run else None]
        limits = runner.time_limits()
        starts = tried_starts(workloads, seeds_now, own=optimizers is None, on_test_data=confirm > 0, limits=limits)
        if dry_run:
            print(plan_text(budgeted, budgeted.confirm_steps(confirm), [], pace_of), flush=True)  # noqa: T201
            return Comparison(open_storage(None), name)
        # after the workload was tried, and sent to where it is trained, so that wrong use leaves no file
        with runner.session(workloads) as running:
            opened = open_storage(storage)
            if fresh:
                delete_comparison(opened, name)
            budgeted = as_recorded(budgeted, recorded_plans(opened, name))
            plans = study_plans(budgeted)
            require_unchanged(opened, name, plans, starts)
            done = finished_trials(opened, name, plans)
            to_confirm = confirmation_left(budgeted, read_records(opened, name), confirm) if confirm else (0, 0)
            if progress:
                LOGGER.info(plan_text(budgeted, to_confirm[1], done, pace_of))
            working = working_storage(opened)
            if may_move(budgeted.asked):
                tasks = open_studies(working, name, plans, starts, kinds=("range_test",))
                if ramps := [task for task in tasks if not task.complete()]:
                    trials, steps = budgeted.asked.curves * len(ramps), budgeted.range_test_steps * len(ramps)
                    with closing(Progress(trials, steps, name=name, shown=progress)) as shown:
                        _run(running, ramps, shown, working, name)
                if not all(task.complete() for task in tasks):  # the time was over before
                    return Comparison(opened, name, budgeted.asked)
                budgeted = as_recorded(budgeted, recorded_plans(opened, name))  # another process may search by now
                budgeted, lines = moved(budgeted, tasks)
                if progress and lines:
                    LOGGER.info("\n".join(lines))
                plans = study_plans(budgeted)
                done = finished_trials(opened, name, plans)
            asked = budgeted.asked
            tasks = open_studies(working, name, plans, starts)
            trials = max(0, budgeted.total_trials() - len(done)) + to_confirm[0]
            steps = budgeted.total_steps() - sum(trial.steps for trial in done) + to_confirm[1]
            with closing(Progress(trials, steps, name=name, shown=progress)) as shown:
                _run(running, tasks, shown, working, name)
                if confirm and all(task.complete() for task in tasks):  # not where the time was over before
                    extra = confirmation_plans(asked, read_records(opened, name), confirm)
                    tasks = open_studies(
                        working, name, extra, further_starts(starts, extra, runner.time_limits()), len(plans)
                    )
                    left = [task.plan.budget_steps for task in tasks if not task.complete()]
                    shown.plan(len(left), sum(left))
                    _run(running, tasks, shown, working, name)
    return Comparison(opened, name, asked)


def _run(executor: Executor, tasks: list[StudyTask], shown: Progress, storage: WorkingStorage, name: str) -> None:
    with rescued(storage, name) as rescue:
        for task in tasks:
            task.require_file = rescue.require_file
        executor.run(tasks, shown)
