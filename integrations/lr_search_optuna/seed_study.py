"""Starts a study where a range test points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import optuna

from lr_search import plugins
from lr_search.curves.curve import LRCurve
from lr_search.curves.prior import PRIOR_ATTRIBUTE, LRPrior
from lr_search.errors import require, unknown_name
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.kinds.seeds import MOST_SEEDS
from lr_search.ramp.settings import RampSettings
from lr_search.workloads.workload import Workload
from lr_search_optuna.checks import require_direction
from lr_search_optuna.dashboard.stored import stored_prior

STEPS_ATTRIBUTE = "lr_search_range_test_steps"  # the study attribute with what the prior cost
_APART = 1_000_003  # between the seeds of several curves, as in `compare`


@checked
def seed_study(
    study: optuna.Study,
    workload: Workload,
    *,
    schedule: str | None = None,
    seed: Seed = 0,
    curves: int = 1,
    lr_range: tuple[float, float] = (1e-5, 10.0),
    name: str = "lr",
    **range_test: Any,
) -> LRPrior:
    """Run range tests, store the prior they give in the study, and enqueue its mode as the next trial's LR.

    A second worker that calls it finds the prior, runs
    nothing and enqueues nothing; one that calls it while the first's range test is under way runs its own, and takes the prior
    that was stored first.

    Args:
        study: Optuna's, of the workload's direction.
        workload: what is trained.
        schedule: the name of the one that the trials train under; None: one that decays.
        seed: of the first range test.
        curves: how many range tests, >= 1; several see how far the suggestion depends on the seed.
        lr_range: (low, high), the range that is tested and searched.
        name: of the LR's parameter, the one that `suggest_lr` is given.
        **range_test: settings of `Workload.range_test`: num_steps, ramp, gain_ratio, ...

    Returns:
        The prior. What it cost in steps is the study's attribute `lr_search_range_test_steps`.

    Raises:
        InvalidInputError: an argument breaks a rule, or another version of lr_search wrote the stored prior.
        UnknownNameError: there is no such schedule, or setting of a range test.

    >>> import torch
    >>> from lr_search import Workload
    >>> data = torch.linspace(-1, 1, 64).reshape(8, 8, 1)
    >>> workload = Workload(
    ...     model=lambda: torch.nn.Linear(1, 1),
    ...     optimizer=torch.optim.SGD,
    ...     loss=lambda model, x: ((model(x) - 3 * x) ** 2).mean(),
    ...     train_data=lambda: data,
    ...     valid_data=lambda: data,
    ... )
    >>> study = optuna.create_study()
    >>> prior = seed_study(study, workload, num_steps=50)
    >>> study.ask().suggest_float("lr", 1e-5, 10.0, log=True) == prior.mode
    True
    """
    require_direction(study, workload.direction)
    _require_settings(schedule, curves, lr_range, range_test)
    stored = stored_prior(study)
    if stored is not None:
        return stored
    settings = {"start_lr": lr_range[0], "end_lr": lr_range[1], **range_test}
    recorded = [workload.range_test(seed + _APART * index, **settings) for index in range(curves)]
    prior = LRPrior.from_curves(recorded, schedule=schedule, num_steps=workload.num_steps, lr_range=lr_range)
    return _stored_once(study, prior, recorded, name)


def _stored_once(study: optuna.Study, prior: LRPrior, curves: Iterable[LRCurve], name: str) -> LRPrior:
    """Leave the prior, its cost and its mode in the study, unless another worker has meanwhile."""
    stored = stored_prior(study)
    if stored is not None:
        return stored
    study.set_user_attr(STEPS_ATTRIBUTE, sum(curve.steps_charged for curve in curves))
    study.set_user_attr(PRIOR_ATTRIBUTE, prior.to_json())
    study.enqueue_trial({name: prior.mode}, skip_if_exists=True)
    return prior


def _require_settings(
    schedule: str | None, curves: int, lr_range: tuple[float, float], range_test: Mapping[str, Any]
) -> None:
    """Refuse what would fail after the range tests have run."""
    if schedule is not None:
        plugins.load_plugin(plugins.SCHEDULES, schedule)
    require(1 <= curves <= MOST_SEEDS, f"curves must be from 1 to {MOST_SEEDS:,}", curves=curves)
    low, high = lr_range
    require(0 < low < high < math.inf, "lr_range must be (low, high) with 0 < low < high", lr_range=lr_range)
    for setting in range_test:
        if setting not in RampSettings.names():
            raise unknown_name("setting of a range test", setting, RampSettings.names())
