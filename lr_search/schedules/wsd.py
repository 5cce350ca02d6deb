"""Warmup-stable-decay (Hu et al., "MiniCPM", 2024, arXiv:2404.06395)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import NumSteps, PositiveLR
from lr_search.schedules.base import Schedule, require_end, require_length, require_peak
from lr_search.schedules.layout import Range, checked_layout, end_lr_of, searchable, warmed
from lr_search.schedules.source import line, steps_text


@checked
@dataclass(frozen=True)
class WSD(Schedule):
    """Constant, then a decay over the last steps; the warm-up before it is `warmup`'s.

    lr(t) = lr                              up to num_steps - decay_steps, then with x = (t - num_steps + decay_steps) / decay_steps:
    lr(t) = lr - (lr - end_lr) * sqrt(x)    for decay="1-sqrt"
    lr(t) = lr - (lr - end_lr) * x          for decay="linear"

    Args:
        lr: the LR while it is constant, > 0.
        num_steps: steps to the end of the decay, >= 1.
        decay_steps: how many of them the decay takes, from 1 to `num_steps`.
        end_lr: the last LR, from 0 to `lr`.
        decay: "1-sqrt" or "linear".
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    Reference:
        Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", 2024, arXiv:2405.18392, for
        the 1-sqrt decay and its length of a fifth.

    >>> WSD(lr=1.0, num_steps=10, decay_steps=4)([0, 6, 7, 10]).tolist()
    [1.0, 1.0, 0.5, 0.0]
    """

    lr: float
    num_steps: float
    decay_steps: float
    end_lr: float = 0.0
    decay: Literal["1-sqrt", "linear"] = "1-sqrt"
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_peak(self.lr)
        require_length(num_steps=self.num_steps, decay_steps=self.decay_steps)
        require(
            self.decay_steps <= self.num_steps,
            "decay_steps must be at most num_steps",
            decay_steps=self.decay_steps,
            num_steps=self.num_steps,
        )
        require_end(self.lr, self.end_lr)
        require(self.decay in ("1-sqrt", "linear"), "decay must be '1-sqrt' or 'linear'", decay=self.decay)

    def values(self, steps: FloatArray) -> FloatArray:
        """`lr`, then down to `end_lr` by the decay's form."""
        done = np.clip((steps - self.num_steps + self.decay_steps) / self.decay_steps, 0.0, 1.0)
        fallen = np.sqrt(done) if self.decay == "1-sqrt" else done
        return np.asarray(self.lr - (self.lr - self.end_lr) * fallen)

    def describe(self) -> str:
        """Its phases in words."""
        stable = f"{self.lr:.3g} for {self.num_steps - self.decay_steps:.4g} steps"
        return f"{stable}, then down to {self.end_lr:.3g} in {self.decay_steps:.4g} ({self.decay}). {self.note}".strip()

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """The share of the decay that is done, and the fall by it."""
        begin, decay = steps_text(self.num_steps - self.decay_steps), steps_text(self.decay_steps)
        fallen = "done**0.5" if self.decay == "1-sqrt" else "done"
        return [
            f"done = min(1.0, max(0.0, (step - {begin}) / {decay}))  # share of the decay",
            f"return {line(self.lr / lr, (self.end_lr - self.lr) / lr, fallen)}",
        ]


@checked_layout
@warmed
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
    return WSD(lr, num_steps, max(1.0, decay_share * num_steps), end_lr_of(lr, final_ratio), decay, note)
