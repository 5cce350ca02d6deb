"""What an earlier study shows of the best LR, as a prior."""

from __future__ import annotations

import numpy as np
from optuna.distributions import FloatDistribution
from optuna.study import Study

from lr_search.curves.prior import LRPrior
from lr_search.errors import InvalidInputError, quoted, require
from lr_search.samplers.gaussian_process import MIXED_NOISES, NOISES, believe, paths, standardized
from lr_search.samplers.trial_results import results_of

PLACES = 121
DRAWS = 400
_ALIKE = 0.02  # standard deviations
LEAST_STD = 0.15  # decades: another seed alone moves the best LR that far


def prior_of_study(study: Study, param: str) -> LRPrior:
    """A prior whose mode is the best LR by a Gaussian process through the study's trials, as wide as that is uncertain.

    The width is that of the best LRs of draws of the whole objective (as in Thompson sampling).

    Args:
        study: of one objective.
        param: the name of the LR.

    Raises:
        InvalidInputError: the study has several objectives, no finished trial with that parameter, or it is no log float.
    """
    require(len(study.directions) == 1, "the study must have one objective", directions=len(study.directions))
    low, high = _range(study, param)
    results = results_of(study, param)
    finite = int(np.isfinite(results.values).sum())
    rule = f"the study must hold at least one finished trial with the parameter {quoted(param)} that did not diverge"
    require(finite > 0, rule, "Run it first, or use LRPrior.around.", trials=len(results.values), of_these=finite)
    at = np.linspace(np.log10(low), np.log10(high), PLACES)
    values, tried = standardized(results.values), float(results.places[int(results.values.argmin())])
    noises = MIXED_NOISES if results.mixed else NOISES
    expected = believe(results.places, values, np.append(at, tried), noises).mean
    # the best that was tried, unless one between is expected to be better
    mode = tried if expected[:-1].min() > expected[-1] - _ALIKE else float(at[int(expected[:-1].argmin())])
    best = at[paths(results.places, values, at, DRAWS, seed=0, noises=noises).argmin(axis=1)]
    width = max(LEAST_STD, float(np.sqrt(np.mean((best - mode) ** 2))))
    return LRPrior(low, high, float(np.clip(10**mode, low, high)), width)


def _range(study: Study, param: str) -> tuple[float, float]:
    """The widest range of the parameter that its trials had."""
    distributions = [
        trial.distributions[param] for trial in study.get_trials(deepcopy=False) if param in trial.distributions
    ]
    if not distributions:
        raise InvalidInputError(
            f"The study must hold a finished trial with the parameter {quoted(param)}, but it has none of that name. "
            "Run it first, give param= the name of its LR, or use LRPrior.around."
        )
    for distribution in distributions:
        if not isinstance(distribution, FloatDistribution) or not distribution.log:
            raise InvalidInputError(
                f"The parameter {quoted(param)} must be a log-scaled float, but got {distribution}. "
                "Suggest it with trial.suggest_float(name, low, high, log=True)."
            )
    floats = [distribution for distribution in distributions if isinstance(distribution, FloatDistribution)]
    return min(distribution.low for distribution in floats), max(distribution.high for distribution in floats)
