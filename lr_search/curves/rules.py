"""Rules that read one learning rate off a curve. Each is a small function `LRCurve -> float`.

The peers' rules keep their names and constants. Where a peer reads a running mean of the loss (an exponential one, which
lags behind the LR), they read `curve.smoothed`, which does not lag. Every rule gives an LR above 0 from a tenth of the
ramp's first to its last, on the shortest curves too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lr_search.arrays import FloatArray, IntArray
from lr_search.curves.gain_crossing import gain_crossing
from lr_search.curves.smoothing import TINY
from lr_search.errors import require

if TYPE_CHECKING:
    from lr_search.curves.curve import LRCurve


SLIDE_STEPS = 15  # fastai's lr_diff
SLIDE_THRESHOLD = 0.005  # fastai's thresh, in units of the loss
AVERAGED_STEPS = 20  # Surmenok's sma
SKIP_END = 5  # steps that fastai and Surmenok drop at the ramp's end
BELOW_HALF = 0.8  # decades from the LR of gain ratio 1/2 down to the best one: the median over 26 small tasks


def minimum(curve: LRCurve) -> float:
    """A tenth of the LR at the lowest smoothed loss (fastai's `minimum`).

    As in fastai's `lr_find`, the first tenth of the steps and the last 5 are left out, here and in `slide`, `steep` and
    `valley`. (fastai takes the tenth of the steps planned, this of the steps recorded: fewer where a ramp was cut off.)

    Reference:
        fastai 2.8.12, fastai/callback/schedule.py.
    """
    lr, loss = _fastai_points(curve)
    return _usable(curve, lr[np.argmin(loss)]) / 10


def slide(curve: LRCurve) -> float:
    """The LR to which an interval slides down from the ramp's end until its two slopes agree (fastai's `slide`).

    The interval spans 15 steps (on a shorter curve: all of it). While the changes of the smoothed loss per step at its two
    ends differ by more than 0.005, it moves down one step; its lower end is the LR (times fastai's adjust_value, 1). The
    threshold is in units of the loss: a rescaled loss gives another LR.

    Reference:
        fastai 2.8.12, fastai/callback/schedule.py.
    """
    lr, loss = _fastai_points(curve)
    if len(lr) < 2:
        return _usable(curve, lr[0])
    slopes, width = np.gradient(loss), min(SLIDE_STEPS, len(lr) - 1)
    agree = np.abs(slopes[width:] - slopes[: len(lr) - width]) <= SLIDE_THRESHOLD  # by the interval's lower end
    agreeing = np.flatnonzero(agree)
    last_apart = int(agreeing[-1]) + 1 if len(agreeing) else 0
    return _usable(curve, lr[min(last_apart, len(agree) - 1)])


def steep(curve: LRCurve) -> float:
    """The LR at which the smoothed loss falls fastest per decade, anywhere on the ramp (fastai's `steep`).

    The change from each step to the next over the change of log LR. Unlike `steepest` it takes one-sided differences, drops
    the ramp's ends as `minimum` does, and looks beyond the lowest loss too, at a fall from one hump into a second dip.

    Reference:
        fastai 2.8.12, fastai/callback/schedule.py.
    """
    lr, loss = _fastai_points(curve)
    if len(lr) < 2:
        return _usable(curve, lr[0])
    return _usable(curve, lr[np.argmin(np.diff(loss) / np.diff(np.log(np.maximum(lr, TINY))))])


def steepest(curve: LRCurve) -> float:
    """The LR at which the smoothed loss falls fastest per decade, before its minimum (Ignite's `lr_suggestion`).

    Central differences, between the first step and that of the lowest smoothed loss (which it is itself where nothing lies
    between), per decade of LR, or per unit on a linear ramp. The peers take them per step, which on such ramps is the same.
    torch-lr-finder's "steepest gradient" looks beyond the lowest loss too, without the first 10 and last 5 steps.
    Lightning's takes the change per unit of LR, which favours the lowest LRs. fastai's is `steep`.

    Reference:
        PyTorch-Ignite 0.5.5, ignite/handlers/lr_finder.py; torch-lr-finder 0.2.2, torch_lr_finder/lr_finder.py.
    """
    lowest = int(np.argmin(curve.smoothed))
    if lowest < 2:
        return _usable(curve, curve.lr[lowest])
    return _usable(curve, curve.lr[1 + np.argmin(curve.slope[1:lowest])])


def valley(curve: LRCurve) -> float:
    """The middle of the longest descent (fastai's `valley`: the longest decreasing subsequence of the smoothed loss).

    The subsequence's last step and its length say where the descent lies; the LR is a third and a sixth of it in.

    Reference:
        fastai 2.8.12, fastai/callback/schedule.py.
    """
    lr, loss = _fastai_points(curve)
    lengths = _descent_lengths(loss)
    end = int(np.argmax(lengths))
    length = int(lengths[end])
    return _usable(curve, lr[max(0, end - length + length // 3 + length // 6)])


def moving_average(curve: LRCurve) -> float:
    """The LR at the minimum of the moving average of the loss's change per step (Surmenok 2017, the first write-up).

    d(i) = (loss(i) - loss(i - 20)) / 20, the mean of the last 20 changes of the raw loss; the LR is that of the step i with
    the lowest d(i), so that it lies at the end of its 20 steps. The first 20 steps and the last 5 are left out. On a curve
    of fewer than 40 steps half of them are averaged over.

    Reference:
        Pavel Surmenok, "Estimating an Optimal Learning Rate For a Deep Neural Network", 2017 (Towards Data Science), and its
        code, surmenok/keras_lr_finder; the idea is Leslie N. Smith's, arXiv:1506.01186, section 3.3.
    """
    steps = len(curve.lr)
    width = min(AVERAGED_STEPS, steps // 2)
    end = steps - SKIP_END if steps - SKIP_END > width else steps
    change = curve.loss[width:end] - curve.loss[: end - width]
    return _usable(curve, curve.lr[width + np.argmin(change)])


def gain_ratio(curve: LRCurve) -> float:
    """0.8 decades below the LR at which the gain ratio falls below 1/2 (from the curve's own measure, not from its loss).

    Free of the noise between batches, and there on plateaus too. Over 26 small tasks of 300 to 400 steps the best LR lay
    0.8 decades below that LR in the median. Where the ratio does not fall below 1/2, that LR is taken for the ramp's last.

    Raises:
        InvalidInputError: the curve has no gain ratio.
    """
    require(
        curve.gain_ratio is not None,
        "the rule gain_ratio needs a curve with a gain ratio, but this one has none",
        "Run range_test(..., gain_ratio=True), or choose another rule.",
    )
    half = gain_crossing(curve, 0.5)
    return _usable(curve, curve.lr[-1] if half is None else half) / 10**BELOW_HALF


SIMPLE_RULES: dict[str, Callable[[LRCurve], float]] = {
    "minimum": minimum,
    "slide": slide,
    "steep": steep,
    "steepest": steepest,
    "valley": valley,
    "moving_average": moving_average,
    "gain_ratio": gain_ratio,
}


def _fastai_points(curve: LRCurve) -> tuple[FloatArray, FloatArray]:
    """LR and smoothed loss without the first tenth of the steps and the last 5; all of them where fewer than 2 are left."""
    steps = len(curve.lr)
    kept = slice(steps // 10, steps - SKIP_END) if steps - SKIP_END - steps // 10 >= 2 else slice(None)
    return curve.lr[kept], curve.smoothed[kept]


def _usable(curve: LRCurve, lr: float) -> float:
    """The LR, or the ramp's first above 0 in place of the 0 that a linear ramp may start at."""
    return max(float(lr), curve.first_lr)


def _descent_lengths(loss: FloatArray) -> IntArray:
    """(n,) the length of the longest decreasing subsequence that ends at each step, by patience sorting."""
    tails: list[float] = []
    lengths = np.empty(len(loss), dtype=np.int64)
    for step, value in enumerate((-loss).tolist()):
        place = bisect_left(tails, value)
        tails[place : place + 1] = [value]
        lengths[step] = place + 1
    return lengths
