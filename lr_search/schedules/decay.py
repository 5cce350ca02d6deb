"""No decay, and decay by a formula that has no end: in steps, exponential, by the inverse square root."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import NumSteps, PositiveLR, Steps
from lr_search.schedules.base import Schedule, require_length, require_peak
from lr_search.schedules.layout import WARMUP_SHARE, Range, checked_layout, searchable, warmed
from lr_search.schedules.source import TorchCall, line, number, steps_text, whole

MOST_MILESTONES = 12  # drops at uneven distances are listed up to this many


@checked
@dataclass(frozen=True)
class Constant(Schedule):
    """The same LR at every step: the control that every other schedule must beat.

    Args:
        lr: the LR, > 0.

    >>> Constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        require_peak(self.lr)

    def values(self, steps: FloatArray) -> FloatArray:
        """lr(t) = lr."""
        return np.full(steps.shape, self.lr)

    def describe(self) -> str:
        """The LR in words."""
        return f"constant at {self.lr:.3g}"

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall:
        """ConstantLR, which a constant alone does not need."""
        return TorchCall("ConstantLR", ["factor=1.0"], self.lr)

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """One number."""
        return [f"return {number(self.lr / lr)}"]


@checked_layout
def constant(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Constant:
    """The LR held constant: the control."""
    return Constant(lr)


@checked
@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiplies the LR by `gamma` every `step_size` steps. For uneven stairs, `join` constants.

    lr(t) = lr * gamma^floor(t / step_size)

    Args:
        lr: LR at step 0, > 0.
        step_size: steps between two drops, >= 1; may be fractional.
        gamma: factor of a drop, in (0, 1].
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> StepDecay(lr=1.0, step_size=10, gamma=0.5)([0, 9, 10, 25]).tolist()
    [1.0, 1.0, 0.5, 0.25]
    """

    lr: float
    step_size: float
    gamma: float = 0.1
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_peak(self.lr)
        require_length(step_size=self.step_size)
        _require_gamma(self.gamma)

    def values(self, steps: FloatArray) -> FloatArray:
        """lr(t) = lr * gamma^floor(t / step_size)."""
        # 1e-9: a step_size of num_steps / 3 may round to just beyond the step it is meant for
        return np.asarray(self.lr * self.gamma ** np.floor(steps / self.step_size + 1e-9))

    def describe(self) -> str:
        """LR and drops in words."""
        return f"steps down from {self.lr:.3g}, times {self.gamma:.3g} every {self.step_size:.4g} steps. {self.note}".strip()

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall | None:
        """StepLR; MultiStepLR for a few drops at distances that are no whole numbers."""
        size, gamma = whole(self.step_size), f"gamma={number(self.gamma)}"
        if size is not None:
            return TorchCall("StepLR", [f"step_size={size}", gamma], self.lr)
        if num_steps / self.step_size > MOST_MILESTONES:
            return None
        drops = range(1, MOST_MILESTONES + 1)
        at = [math.ceil((drop - 1e-9) * self.step_size) for drop in drops]  # 1e-9: as in `values`
        return TorchCall("MultiStepLR", [f"milestones={[step for step in at if step < num_steps]}", gamma], self.lr)

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """A power of the drops so far."""
        drops = f"int(step / {steps_text(self.step_size)} + 1e-9)"
        return [f"return {line(0, self.lr / lr, f'{number(self.gamma)} ** {drops}')}"]


@checked_layout
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
    require(1 <= drops < num_steps, "drops must be from 1 to num_steps - 1", drops=drops, num_steps=num_steps)
    times = f"{drops} drop{'' if drops == 1 else 's'}"
    return StepDecay(lr, num_steps / (drops + 1), gamma, note=f"{times} at equal distances over the training.")


@checked
@dataclass(frozen=True)
class Exponential(Schedule):
    """Multiplies the LR by `gamma` at every step.

    lr(t) = lr * gamma^t

    Args:
        lr: LR at step 0, > 0.
        gamma: factor a step, in (0, 1].
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> Exponential(lr=1.0, gamma=0.5)([0, 1, 2]).tolist()
    [1.0, 0.5, 0.25]
    """

    lr: float
    gamma: float
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_peak(self.lr)
        _require_gamma(self.gamma)

    def values(self, steps: FloatArray) -> FloatArray:
        """lr(t) = lr * gamma^t."""
        return np.asarray(self.lr * self.gamma**steps)

    def describe(self) -> str:
        """LR and factor in words."""
        return f"exponential from {self.lr:.3g}, times {self.gamma:.6g} a step. {self.note}".strip()

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall:
        """ExponentialLR."""
        return TorchCall("ExponentialLR", [f"gamma={number(self.gamma)}"], self.lr)

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """A power of the step."""
        return [f"return {line(0, self.lr / lr, f'{number(self.gamma)}**step')}"]


@checked_layout
@searchable(final_ratio=Range(1e-3, 0.3, log=True))
def exponential(
    lr: float, num_steps: int, steps_per_epoch: float | None = None, *, final_ratio: float = 0.01
) -> Exponential:
    """Exponential decay to a hundredth by the end.

    Option: final_ratio, the last LR / lr, in (0, 1].
    """
    require(0 < final_ratio <= 1, "final_ratio must be above 0 and at most 1", final_ratio=final_ratio)
    return Exponential(lr, final_ratio ** (1 / num_steps), note=f"{final_ratio:.3g} of the peak is left at the end.")


def _require_gamma(gamma: float) -> None:
    require(0 < gamma <= 1, "gamma must be above 0 and at most 1", gamma=gamma)


@checked
@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """Falls as the inverse square root of the step; under `warmup` of `timescale` steps it is the transformer's.

    lr(t) = lr * sqrt(timescale / (t + timescale))

    Args:
        lr: LR at step 0, > 0.
        timescale: steps after which the LR has fallen by sqrt(2), >= 1.
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 5.3.

    >>> InverseSqrt(lr=1.0, timescale=100)([0, 300]).tolist()
    [1.0, 0.5]
    """

    lr: float
    timescale: float
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_peak(self.lr)
        require_length(timescale=self.timescale)

    def values(self, steps: FloatArray) -> FloatArray:
        """lr(t) = lr * sqrt(timescale / (t + timescale))."""
        return np.asarray(self.lr * np.sqrt(self.timescale / (steps + self.timescale)))

    def describe(self) -> str:
        """LR and time scale in words."""
        return f"inverse square root from {self.lr:.3g} on a scale of {self.timescale:.4g} steps. {self.note}".strip()

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """The root of the time scale over the step and the time scale."""
        scale = steps_text(self.timescale)
        return [f"return {line(0, self.lr / lr, f'({scale} / (step + {scale})) ** 0.5')}"]


@checked_layout
@warmed
@searchable(timescale_share=Range(0.01, 0.3, log=True))
def inverse_sqrt(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    warmup_steps: Steps = 0,
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
