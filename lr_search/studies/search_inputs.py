"""What a study's strategy makes its sampler from; made once, however many processes work on the study."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from lr_search import plugins
from lr_search.curves.curve import LRCurve
from lr_search.curves.prior import PRIOR_ATTRIBUTE, LRPrior
from lr_search.curves.probe import Probe
from lr_search.samplers.strategies import PARAM, PilotResult, Search, Strategy
from lr_search.storage.foreign import as_written
from lr_search.storage.keys import EVALUATIONS
from lr_search.storage.working.working_storage import kept
from lr_search.studies.plan import StudyPlan
from lr_search.workloads.subject import Subject

Found = Callable[[], Sequence[LRCurve | Probe]]


def search_for(
    plan: StudyPlan,
    study: optuna.Study,
    strategy: Strategy,
    num_trials: Callable[[], int],
    findings: Found | None,
    pilots: Callable[[], Sequence[PilotResult]] = tuple,
) -> Search:
    """What the strategy is given.

    Args:
        plan: of the study.
        study: Optuna's, which keeps what must not change when it goes on.
        strategy: the plan's.
        num_trials: how many full trainings the budget pays for.
        findings: what range tests or a probe found, where the study waited for them.
        pilots: what pilots came to, where it waited for them.
    """
    largest_lr = None if strategy.probe is None else kept(study, "largest_lr", lambda: _largest_lr(findings))
    # a larger budget extends a grid rather than moving it: its first size is kept
    first_size = kept(study, "num_trials", lambda: max(1, num_trials()))
    epoch_end = plan.epoch_end() if strategy.pruner is not None else None
    search = Search(
        plan.seed,
        first_size,
        None,
        largest_lr,
        plan.default_lr,
        trial_steps=plan.trial_steps,
        epoch_end=epoch_end,
        epoch_steps=None if epoch_end is None else plan.steps_at(epoch_end),
        num_steps=plan.workload.num_steps,
        target_steps=plan.target_steps or plan.workload.num_steps,
        steps_per_epoch=plan.workload.steps_per_epoch,
        schedule="" if plan.layout is None else plan.layout.name,
        pilots=pilots(),
    )
    return replace(search, prior=_prior(plan, study, search, findings)) if strategy.needs_curves else search


def _prior(plan: StudyPlan, study: optuna.Study, search: Search, findings: Found | None) -> LRPrior:
    """Of the full training: what the range tests tell; of a search that pilots came before, what these tell too."""

    def make_prior() -> dict[str, float]:
        assert findings is not None
        curves = [result for result in findings() if isinstance(result, LRCurve)]
        schedule = plan.schedule if plan.schedule in plugins.registered(plugins.SCHEDULES) else None
        prior = LRPrior.from_curves(curves, schedule=schedule, num_steps=search.target_steps, lr_range=plan.lr_range)
        if plan.kind == "search" and plan.strategy is not None and plan.strategy.pilots is not None:
            prior = plan.strategy.pilots.prior(replace(search, prior=prior))
        return prior.to_json()

    record = kept(study, PRIOR_ATTRIBUTE, make_prior)
    with as_written(f"The prior of {plan.name!r}"):
        return LRPrior.from_json(record)


def pilot_result(trial: FrozenTrial, record: Mapping[str, Any], workload: Subject) -> PilotResult:
    """What a pilot came to, lower is better. Args: record: of its outcome; workload: the pilot's."""
    sign = 1.0 if workload.direction == "minimize" else -1.0
    untrained = record[EVALUATIONS]["metrics"].get(workload.objective) or [math.nan]
    return PilotResult(trial.params[PARAM], sign * trial.values[0], workload.num_steps, sign * untrained[0])


def _largest_lr(findings: Found | None) -> float | None:
    assert findings is not None
    return next(result.largest_lr for result in findings() if isinstance(result, Probe))
