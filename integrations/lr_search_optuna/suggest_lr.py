"""A learning rate for a trial of anyone's study, placed by a prior."""

from __future__ import annotations

import sys

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.trial import BaseTrial

from lr_search.curves.prior import LRPrior
from lr_search.errors import InvalidInputError, quoted
from lr_search.kinds.checked import checked
from lr_search.samplers import PointSampler, RangeTestSampler
from lr_search_optuna.dashboard.stored import stored_prior

SEED = 0  # the same for every worker
ANY_LR = (sys.float_info.min, sys.float_info.max)


@checked
def suggest_lr(trial: BaseTrial, prior: LRPrior | None = None, name: str = "lr") -> float:
    """The LR of a trial, by the prior, whatever sampler the study has for its other parameters.

    It is an ordinary log-scaled float of the study over [prior.low, prior.high]: `study.enqueue_trial({"lr": 0.01})` works and
    wins, and so does an LR that the study's own sampler was made for.

    Args:
        trial: of `study.optimize` or `study.ask`; or a FixedTrial or FrozenTrial, which holds its LR.
        prior: where the LR may lie; default: the one that `seed_study` stored in the study.
        name: of the parameter.

    Raises:
        InvalidInputError: there is no prior, or the parameter is there already as something else.

    >>> study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    >>> prior = LRPrior(low=1e-5, high=10.0, mode=0.01, log10_std=0.5)
    >>> suggest_lr(study.ask(), prior)
    0.01
    >>> study.enqueue_trial({"lr": 0.5})
    >>> suggest_lr(study.ask(), prior)
    0.5
    """
    if name in trial.distributions:  # suggested before, or frozen
        _require_log_float(name, trial.distributions[name])
        return float(trial.params[name])
    if not isinstance(trial, optuna.Trial):
        low, high = ANY_LR if prior is None else (prior.low, prior.high)
        return trial.suggest_float(name, low, high, log=True)
    prior = _prior_of(trial) if prior is None else prior
    if not _places(trial.study.sampler, name):
        _place(trial, prior, name)
    try:
        return trial.suggest_float(name, prior.low, prior.high, log=True)
    except ValueError as error:  # another trial of the study has it otherwise
        raise _not_a_log_float(name, f"{error}") from error


def _prior_of(trial: optuna.Trial) -> LRPrior:
    prior = stored_prior(trial.study)
    if prior is None:
        raise InvalidInputError(
            f"suggest_lr needs a prior, but the study {trial.study.study_name!r} holds none. "
            "Call seed_study(study, workload) first, or give one: suggest_lr(trial, LRPrior.around(1e-3))."
        )
    return prior


def _places(sampler: BaseSampler, name: str) -> bool:
    """Whether the study's own sampler was made to place this parameter."""
    if isinstance(sampler, PartialFixedSampler):
        return name in sampler._fixed_params
    return isinstance(sampler, PointSampler) and name in sampler.params


def _place(trial: optuna.Trial, prior: LRPrior, name: str) -> None:
    """Let the trial find the LR among what its sampler placed; other trials, in other threads, are left alone."""
    distribution = prior.distribution()
    frozen = trial.storage.get_trial(trial._trial_id)
    lr = RangeTestSampler(prior, name, seed=SEED).sample_independent(trial.study, frozen, name, distribution)
    placed = {**trial.relative_params, name: lr}  # reading them makes the search space too
    trial._relative_params = placed
    trial.relative_search_space = {**(trial.relative_search_space or {}), name: distribution}


def _require_log_float(name: str, distribution: BaseDistribution) -> None:
    if not isinstance(distribution, FloatDistribution) or not distribution.log:
        raise _not_a_log_float(name, f"the trial has it as {distribution}")


def _not_a_log_float(name: str, came: str) -> InvalidInputError:
    return InvalidInputError(
        f"The parameter {quoted(name)} must be a log-scaled float in every trial of the study, but got: {came.rstrip('.')}. "
        "Give the LR another name, suggest_lr(trial, name=...), or begin a new study."
    )
