"""Provisional: where the best LR of a full training lies, from pilots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lr_search.curves.prior import LRPrior
from lr_search.samplers.gaussian_process import believe, standardized
from lr_search.samplers.strategies import PilotResult

STEP = 0.5  # decades between a rung's first pilots


@dataclass(frozen=True)
class TargetBelief:
    """What pilots tell of the LR at the full length.

    Args:
        lr: of least expected regret.
        log10_std: of where the best lies, in decades.
        exponent: of the length: the best LR moves as T^exponent.
        remarks: what makes it doubtful, in words.
    """

    lr: float
    log10_std: float
    exponent: float
    remarks: tuple[str, ...] = ()


def target_belief(
    pilots: Sequence[PilotResult], prior: LRPrior, *, target_steps: int, schedule: str | None
) -> TargetBelief:
    """The belief after the pilots. Args: prior: of the range tests; target_steps: of the full training; schedule: its name."""
    finite = [pilot for pilot in pilots if np.isfinite(pilot.value)]
    if not finite:
        return TargetBelief(prior.mode, prior.log10_std, 0.0, ("no pilot came to an end",))
    lengths = [pilot.num_steps for pilot in pilots]
    main = max(set(lengths), key=lambda length: (lengths.count(length) >= 3, length))
    rung = [pilot for pilot in pilots if pilot.num_steps == main]
    places = np.log10([pilot.lr for pilot in rung])
    at = np.linspace(places.min() - 0.25, places.max() + 0.25, 81)
    at = at[(at >= np.log10(prior.low)) & (at <= np.log10(prior.high))]
    mean = believe(places, standardized(np.array([pilot.value for pilot in rung])), at).mean
    return TargetBelief(float(10 ** at[int(mean.argmin())]), 0.25, 0.0)


def first_pilots(prior: LRPrior) -> list[float]:
    """The LRs of a rung's first three pilots: the prior's mode, above it and below it; where one lies outside, further to the other side."""
    places = [0.0, STEP, -STEP]
    mode, low, high = np.log10([prior.mode, prior.low, prior.high])
    inside = [mode + each if low <= mode + each <= high else mode - 2 * each for each in places]
    return [float(10 ** np.clip(each, low, high)) for each in inside]
