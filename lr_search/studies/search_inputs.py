"""What a study's strategy makes its sampler from; made once, however many processes work on the study."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import optuna

from lr_search import plugins
from lr_search.curves.curve import LRCurve
from lr_search.curves.prior import PRIOR_ATTRIBUTE, LRPrior
from lr_search.curves.probe import Probe
from lr_search.samplers.strategies import Search, Strategy
from lr_search.storage.foreign import as_written
from lr_search.storage.working.working_storage import kept
from lr_search.studies.plan import StudyPlan

Found = Callable[[], Sequence[LRCurve | Probe]]


def search_for(
    plan: StudyPlan, study: optuna.Study, strategy: Strategy, num_trials: Callable[[], int], findings: Found | None
) -> Search:
    """What the strategy is given.

    Args:
        plan: of the study.
        study: Optuna's, which keeps what must not change when it goes on.
        strategy: the plan's.
        num_trials: how many full trainings the budget pays for.
        findings: what range tests or a probe found, where the study waited for them.
    """
    prior = _prior(plan, study, findings) if strategy.needs_curves else None
    largest_lr = None if strategy.probe is None else kept(study, "largest_lr", lambda: _largest_lr(findings))
    # a larger budget extends a grid rather than moving it: its first size is kept
    first_size = kept(study, "num_trials", lambda: max(1, num_trials()))
    epoch_end = plan.epoch_end() if strategy.pruner is not None else None
    return Search(
        plan.seed,
        first_size,
        prior,
        largest_lr,
        plan.default_lr,
        trial_steps=plan.trial_steps,
        epoch_end=epoch_end,
        epoch_steps=None if epoch_end is None else plan.steps_at(epoch_end),
    )


def _prior(plan: StudyPlan, study: optuna.Study, findings: Found | None) -> LRPrior:
    def make_prior() -> dict[str, float]:
        assert findings is not None
        curves = [result for result in findings() if isinstance(result, LRCurve)]
        schedule = plan.schedule if plan.schedule in plugins.registered(plugins.SCHEDULES) else None
        prior = LRPrior.from_curves(
            curves, schedule=schedule, num_steps=plan.workload.num_steps, lr_range=plan.lr_range
        )
        return prior.to_json()

    record = kept(study, PRIOR_ATTRIBUTE, make_prior)
    with as_written(f"The prior of {plan.name!r}"):
        return LRPrior.from_json(record)


def _largest_lr(findings: Found | None) -> float | None:
    assert findings is not None
    return next(result.largest_lr for result in findings() if isinstance(result, Probe))
