"""A ramp from its start to its end; on beyond its end where nothing broke; with `extend`, again from a lower start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.curves.calibrated import rule_kind
from lr_search.curves.curve import LRCurve, Ramp
from lr_search.curves.suggest import end_to_move
from lr_search.errors import user_code
from lr_search.ramp.run import RampRun
from lr_search.ramp.settings import RampSettings

END_FACTOR, HIGHEST_LR = 10.0, 1e4  # how `extend` moves the ramp's end: by a decade at a time, so far at most
START_FACTOR, LOWEST_LR = 1e-3, 1e-12  # how `extend` moves the ramp's start: three decades at a time, so far at most


@user_code
def run_ramp(begin: Callable[[], RampRun], settings: RampSettings) -> LRCurve:
    """Run one ramp; where it is to be extended, move its ends, at the same pace of the LR.

    Args:
        begin: makes the run, from the weights the ramp begins with; called again for each new start.
        settings: the ramp's ends, its steps from one to the other, and whether to move them.
    """
    return restarted_where_too_high(lambda lrs: _climbed(begin, lrs, settings), settings)


def restarted_where_too_high(climbed: Callable[[FloatArray], LRCurve], settings: RampSettings) -> LRCurve:
    """The curve of a ramp that begins again lower where its start was too high.

    Args:
        climbed: the LRs of the steps -> the curve, from the weights the ramp begins with.
        settings: of the ramp.
    """
    lrs = settings.lrs()
    curve = climbed(lrs)
    lowest = settings.start_lr
    while begins_too_high(curve, settings, lowest):
        per_step = lrs[1] / lrs[0]
        more = int(np.ceil(-np.log(START_FACTOR) / np.log(per_step)))
        lowest = lowest * per_step**-more
        lrs = np.concatenate([lowest * per_step ** np.arange(more), lrs])
        restarted = climbed(lrs)
        curve = replace(
            restarted,
            num_steps=restarted.num_steps + curve.num_steps,
            num_forwards=restarted.num_forwards + curve.num_forwards,
        )
    return curve


def begins_too_high(curve: LRCurve, settings: RampSettings, lowest: float | None = None) -> bool:
    """Whether to begin again below `lowest`, the LR of the first step so far; default: where the ramp is set to start."""
    lowest = settings.start_lr if lowest is None else lowest
    if not settings.extend or settings.ramp != "exponential" or lowest * START_FACTOR < LOWEST_LR:
        return False
    return end_to_move(curve) == "start"


def _climbed(begin: Callable[[], RampRun], lrs: FloatArray, settings: RampSettings) -> LRCurve:
    """Take the ramp's steps, and more while the loss is still falling at its end."""
    run = begin()
    try:
        run.go(lrs)
        run.require_sound(begin)
        curve = run.curve()
        while ends_too_low(curve, lrs, settings):
            more = lrs_beyond(lrs, settings.ramp)
            lrs = np.concatenate([lrs, more])
            run.go(more)
            run.require_sound(begin)
            curve = run.curve()
        return curve
    finally:
        run.close()


def ends_too_low(curve: LRCurve, lrs: FloatArray, settings: RampSettings) -> bool:
    """Whether to go on beyond the end so far."""
    return may_go_on(curve, settings) and bool(lrs[-1] * END_FACTOR <= HIGHEST_LR * (1 + 1e-9))


def may_go_on(curve: LRCurve, settings: RampSettings) -> bool:
    """Whether nothing broke on the ramp so far: unasked, by the gain ratio alone, since a loss that falls still says less."""
    asked = rule_kind(curve) == "gain" if settings.extend is None else settings.extend
    return asked and end_to_move(curve) == "end"


def lrs_beyond(lrs: FloatArray, ramp: Ramp) -> FloatArray:
    """The steps after those, (more,): a decade of them, or as wide a ramp again where it is linear."""
    if ramp == "linear":
        return np.asarray(lrs[-1] + (lrs[1] - lrs[0]) * np.arange(1, len(lrs) + 1))
    per_step = lrs[1] / lrs[0]
    return np.asarray(lrs[-1] * per_step ** np.arange(1, np.ceil(np.log(END_FACTOR) / np.log(per_step)) + 1))
