"""The prior that a study holds, so that all its workers share one."""

from __future__ import annotations

import optuna

from lr_search.curves.prior import PRIOR_ATTRIBUTE, LRPrior


def stored_prior(study: optuna.Study) -> LRPrior | None:
    """The prior that `seed_study` left in the study; None where there is none.

    Raises:
        InvalidInputError: another version of lr_search wrote it.

    >>> stored_prior(optuna.create_study()) is None
    True
    """
    record = study.user_attrs.get(PRIOR_ATTRIBUTE)
    return None if record is None else LRPrior.from_json(record)
