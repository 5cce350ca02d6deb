"""Several range tests of one training, from different seeds, as one curve with its spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.curves.curve import LRCurve
from lr_search.errors import require


def pool(curves: Sequence[LRCurve]) -> LRCurve:
    """The mean of the curves at each LR, for as long as at least half of them went on; they stay in `.members`.

    Args:
        curves: at least one, of the same ramp.

    Raises:
        InvalidInputError: there are none, or their LRs differ.
    """
    members = [member for curve in curves for member in (curve.members or (curve,))]
    require(len(members) > 0, "curves must hold at least one curve", got=len(members))
    longest = max(members, key=lambda member: len(member.lr))
    same = all(
        member.ramp == longest.ramp and np.allclose(member.lr, longest.lr[: len(member.lr)], rtol=1e-9)
        for member in members
    )
    require(
        same, "curves must be of the same ramp to be pooled", "Run them with the same start_lr, end_lr and num_steps."
    )
    steps = sorted(len(member.lr) for member in members)[len(members) // 2]
    names = [name for name in members[0].metrics if all(name in member.metrics for member in members)]
    measured = all(member.gain_ratio is not None for member in members)
    return LRCurve(
        lr=longest.lr[:steps],
        loss=_mean([member.loss for member in members], steps),
        gain_ratio=_mean([member.gain_ratio for member in members], steps) if measured else None,
        metrics={name: _mean([member.metrics[name] for member in members], steps) for name in names},
        stopped=Counter(member.stopped for member in members).most_common(1)[0][0],
        num_steps=sum(member.num_steps for member in members),
        num_forwards=sum(member.num_forwards for member in members),
        ramp=longest.ramp,
        members=tuple(members),
        optimizer=members[0].optimizer,
        group_ratios=members[0].group_ratios,
        plan=members[0].plan,
    )


def spread(curve: LRCurve) -> FloatArray:
    """The standard deviation of the members' losses at each step; 0 for a single curve. Returns: (n,)."""
    if len(curve.members) < 2:
        return np.zeros_like(curve.loss)
    return np.asarray(np.nanstd(_stacked([member.loss for member in curve.members], len(curve.lr)), axis=0, ddof=0))


def _stacked(rows: Sequence[Any], steps: int) -> FloatArray:
    """(members, steps), nan where a member had ended."""
    stacked = np.full((len(rows), steps), np.nan)
    for stacked_row, row in zip(stacked, rows, strict=True):
        stacked_row[: min(steps, len(row))] = row[:steps]
    return stacked


def _mean(rows: Sequence[Any], steps: int) -> FloatArray:
    """The mean over the members that have a number there. (members of (n,)) -> (steps,)."""
    values = _stacked(rows, steps)
    finite = np.isfinite(values)
    sums, counts = np.where(finite, values, 0.0).sum(axis=0), finite.sum(axis=0)
    return np.asarray(np.divide(sums, counts, out=np.full(steps, np.nan), where=counts > 0))
