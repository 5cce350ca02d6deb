"""The schedules without cycles laid out for a training, with `lr` as their peak. Every rule is an option."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lr_search.errors import require
from lr_search.schedules.constant import Constant
from lr_search.schedules.cosine import Cosine
from lr_search.schedules.decay import Exponential, InverseSqrt, Linear, Polynomial, StepDecay
from lr_search.schedules.search_shape import Range, searchable
from lr_search.schedules.wsd import WSD

WARMUP_SHARE = 1 / 20  # of the training, for the schedules that have a warm-up by definition


def constant(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Constant:
    """The LR held constant: the control."""
    return Constant(lr)


@searchable(drops=Range(1, 4, whole=True), gamma=Range(0.05, 0.5, log=True))
def step(
    lr: float, num_steps: int, steps_per_epoch: float | None = None, *, drops: int = 2, gamma: float = 0.1
) -> StepDecay:
    """A tenth after each third of the training: torchvision's recipe for ResNets, a drop every 30 of 90 epochs.

    Args:
        lr: the peak.
        num_steps: steps in the training.
        steps_per_epoch: not used.
        drops: how often the LR drops, at equal distances, >= 1.
        gamma: factor of a drop.
    """
    whole = isinstance(drops, int | np.integer) and 1 <= drops < num_steps
    require(whole, "drops must be a whole number from 1 to num_steps - 1", drops=drops, num_steps=num_steps)
    times = f"{drops} drop{'' if drops == 1 else 's'}"
    return StepDecay(lr, num_steps / (drops + 1), gamma, note=f"{times} at equal distances over the training.")


@searchable(final_ratio=Range(1e-3, 0.3, log=True))
def exponential(
    lr: float, num_steps: int, steps_per_epoch: float | None = None, *, final_ratio: float = 0.01
) -> Exponential:
    """Exponential decay to a hundredth by the end.

    Option: final_ratio, the last LR / lr, in (0, 1].
    """
    require(0 < final_ratio <= 1, "final_ratio must be above 0 and at most 1", final_ratio=final_ratio)
    return Exponential(lr, final_ratio ** (1 / num_steps), note=f"{final_ratio:.3g} of the peak is left at the end.")


@searchable(power=Range(0.5, 4.0, log=True))
def polynomial(
    lr: float, num_steps: int, steps_per_epoch: float | None = None, *, power: float = 2.0, final_ratio: float = 0.0
) -> Polynomial:
    """Polynomial decay of power 2 to 0.

    Options: power, > 0, and final_ratio, the last LR / lr, in [0, 1].
    """
    return Polynomial(lr, num_steps, power, _end(lr, final_ratio), note=ENDS)


def linear(lr: float, num_steps: int, steps_per_epoch: float | None = None, *, final_ratio: float = 0.0) -> Linear:
    """Linear decay to 0 (Defazio et al., 2023, arXiv:2310.07831).

    Option: final_ratio, the last LR / lr, in [0, 1].
    """
    return Linear(lr, num_steps, _end(lr, final_ratio), note=ENDS)


def cosine(lr: float, num_steps: int, steps_per_epoch: float | None = None, *, final_ratio: float = 0.0) -> Cosine:
    """A single cosine to 0 (arXiv:1608.03983).

    Option: final_ratio, the last LR / lr, in [0, 1].
    """
    return Cosine(lr, num_steps, _end(lr, final_ratio), note=ENDS)


@searchable(timescale_share=Range(0.01, 0.3, log=True))
def inverse_sqrt(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    warmup_steps: int = 0,
    timescale_share: float | None = None,
) -> InverseSqrt:
    """Inverse square root after a warm-up of a twentieth, as transformers were trained at first (arXiv:1706.03762).

    Args:
        lr: the peak.
        num_steps: steps after the warm-up.
        steps_per_epoch: not used.
        warmup_steps: steps of the warm-up, which `by_name` puts before it.
        timescale_share: the time scale / num_steps, in (0, 1]; by default the time scale is the warm-up's length, as in the
            paper, or a twentieth where there is none.
    """
    if timescale_share is None:
        note = "The scale is the warm-up's length." if warmup_steps else "The scale is a twentieth of the training."
        return InverseSqrt(lr, max(1.0, float(warmup_steps or WARMUP_SHARE * num_steps)), note)
    require(0 < timescale_share <= 1, "timescale_share must be above 0 and at most 1", timescale_share=timescale_share)
    note = f"The scale is {timescale_share:.3g} of the steps as asked for."
    return InverseSqrt(lr, max(1.0, timescale_share * num_steps), note)


@searchable(decay_share=Range(0.05, 0.5))
def wsd(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    decay_share: float = 0.2,
    final_ratio: float = 0.0,
    decay: Literal["1-sqrt", "linear"] = "1-sqrt",
) -> WSD:
    """Warm-up of a twentieth, constant, decay to 0 over the last fifth (arXiv:2404.06395, 2405.18392).

    Options: decay_share, the decay's share of the steps after the warm-up, in (0, 1]; final_ratio, the last LR / lr; decay, its form.
    """
    require(0 < decay_share <= 1, "decay_share must be above 0 and at most 1", decay_share=decay_share)
    note = f"The decay takes {decay_share:.3g} of the steps and ends with the training."
    return WSD(lr, num_steps, max(1.0, decay_share * num_steps), _end(lr, final_ratio), decay, note)


ENDS = "It ends with the training."


def _end(lr: float, final_ratio: float) -> float:
    require(0 <= final_ratio <= 1, "final_ratio must lie between 0 and 1", final_ratio=final_ratio)
    return lr * final_ratio
