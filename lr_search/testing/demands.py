"""What a contract demands, worded as the errors of this package are: the rule, what came, and what to do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lr_search.errors import InvalidInputError, require


def must(condition: bool, rule: str, remedy: str = "", /, **values: object) -> None:
    """Fail a test unless `condition` holds. Args: see `lr_search.errors.require`.

    >>> must(0.2 <= 0.1, "the peak must be lr", "Scale the shape by lr.", peak=0.2, lr=0.1)
    Traceback (most recent call last):
    ...
    AssertionError: the peak must be lr, but got peak=0.2, lr=0.1. Scale the shape by lr.
    """
    __tracebackhide__ = True
    try:
        require(condition, rule, remedy, **values)
    except InvalidInputError as error:
        raise AssertionError(str(error)) from None


def must_agree(
    found: npt.ArrayLike, wanted: npt.ArrayLike, rule: str, remedy: str = "", /, rtol: float = 0.0, atol: float = 0.0
) -> None:
    """Fail a test at the first number that is not the one wanted; nan is nan.

    Args:
        found: what came.
        wanted: of the same shape.
        rule: the rule in words, without the full stop.
        remedy: what to do, as a sentence.
        rtol: how far they may lie apart, relative to what is wanted.
        atol: the same, in their own unit.

    >>> must_agree([0.1, 0.2], [0.1, 0.3], "each step must have its LR")
    Traceback (most recent call last):
    ...
    AssertionError: each step must have its LR, but got at=1, found=0.2, wanted=0.3.
    """
    __tracebackhide__ = True
    one, other = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
    must(one.shape == other.shape, rule, remedy, shape=one.shape, wanted_shape=other.shape)
    far = ~np.isclose(one, other, rtol=rtol, atol=atol, equal_nan=True).ravel()
    at = int(np.argmax(far)) if far.any() else 0
    if far.any():
        must(False, rule, remedy, at=at, found=float(one.ravel()[at]), wanted=float(other.ravel()[at]))
