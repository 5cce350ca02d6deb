"""An objective that is ready for `study.optimize`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import optuna
from optuna.trial import BaseTrial

from lr_search.curves.prior import LRPrior
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.studies.schedule_layout import layouts_of
from lr_search.training.training import train
from lr_search.workloads.workload import Workload
from lr_search_optuna.checks import require_direction
from lr_search_optuna.report_evaluations import report_evaluations
from lr_search_optuna.suggest_lr import suggest_lr
from lr_search_optuna.suggest_schedule import suggest_schedule


@checked
def objective(
    workload: Workload,
    schedules: str | Sequence[str] = ("constant",),
    *,
    prior: LRPrior | None = None,
    seed: Seed = 0,
    search_shape: bool = False,
    name: str = "lr",
) -> Callable[[BaseTrial], float]:
    """The workload as an objective: `study.optimize(objective(workload, ["constant", "sgdr"]), n_trials=20)`.

    Each trial suggests an LR and a schedule, trains, reports and is pruned. All start from the same weights and see the same
    batches. Trainings draw from the global random generators, which threads share: run several processes on one storage
    rather than `n_jobs`.

    Args:
        workload: what is trained.
        schedules: names; see `lr_search.schedules.by_name`.
        prior: of the LR; default: the one that `seed_study` stored in the study.
        seed: of the weights and the batches.
        search_shape: whether the sampler also chooses the schedules' shapes. Pruners compare trials at the same steps, and
            cycles of another shape end at others.
        name: of the LR's parameter.

    Raises:
        UnknownNameError: no schedule has that name; the message has the nearest.
        InvalidInputError: a training is too short for a schedule; at a trial: the study's direction is not the workload's.

    >>> import torch
    >>> data = torch.linspace(-1, 1, 64).reshape(8, 8, 1)
    >>> workload = Workload(
    ...     model=lambda: torch.nn.Linear(1, 1),
    ...     optimizer=torch.optim.SGD,
    ...     loss=lambda model, x: ((model(x) - 3 * x) ** 2).mean(),
    ...     train_data=lambda: data,
    ...     valid_data=lambda: data,
    ...     num_steps=40,
    ... )
    >>> study = optuna.create_study()
    >>> study.optimize(objective(workload, ["constant", "triangular"], prior=LRPrior.around(0.3)), n_trials=4)
    >>> sorted(study.best_params)
    ['lr', 'schedule']
    """
    names = [schedules] if isinstance(schedules, str) else list(schedules)
    layouts_of(names, workload)  # tried now rather than at the first trial

    def run(trial: BaseTrial) -> float:
        if isinstance(trial, optuna.Trial):
            require_direction(trial.study, workload.direction)
        lr = suggest_lr(trial, prior, name)
        schedule = suggest_schedule(
            trial, names, workload.num_steps, lr=lr, steps_per_epoch=workload.steps_per_epoch, search_shape=search_shape
        )
        return report_evaluations(trial, train(workload, schedule, seed=seed))

    return run
