"""One cycle (Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2018, arXiv:1708.07120)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import NumSteps, PositiveLR, Steps
from lr_search.schedules.base import Schedule, require_length
from lr_search.schedules.layout import Range, checked_layout, searchable
from lr_search.schedules.source import TorchCall, number, steps_text, whole


@checked
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to `max_lr` and far down again, once, while the momentum goes the other way. The numbers are torch's OneCycleLR's.

    lr: max_lr / div_factor -> max_lr -> max_lr / (div_factor * final_div_factor); momentum: max -> base -> max. The first part
    ends after pct_start * num_steps - 1 steps, the last at num_steps - 1; in between the LR follows half a cosine, or a line.
    With three_phase it goes down to where it began first, in as many steps as it went up, and then on (Smith's own form).

    Args:
        max_lr: the peak, > 0.
        num_steps: steps in the cycle, >= 1.
        pct_start: share of the steps in which the LR rises, in (0, 1), with three_phase in (0, 0.5]; more than one step.
        div_factor: peak over first LR, > 1.
        final_div_factor: first LR over last, >= 1.
        anneal: "cos" or "linear".
        three_phase: whether to go down in two parts.
        base_momentum: the momentum at the peak, from 0 to `max_momentum`; None leaves the momentum alone.
        max_momentum: the momentum at both ends, below 1.
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    Reference:
        Also: Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018, arXiv:1803.09820.

    >>> schedule = OneCycle(max_lr=1.0, num_steps=11, pct_start=6 / 11, anneal="linear")
    >>> schedule([0, 5, 10]).round(6).tolist(), schedule.momentum([0, 5, 10]).round(6).tolist()
    ([0.04, 1.0, 4e-06], [0.95, 0.85, 0.95])
    """

    max_lr: float
    num_steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    anneal: Literal["cos", "linear"] = "cos"
    three_phase: bool = False
    base_momentum: float | None = 0.85
    max_momentum: float = 0.95
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require(
            self.max_lr > 0 and math.isfinite(self.max_lr), "max_lr must be positive and finite", max_lr=self.max_lr
        )
        require_length(num_steps=self.num_steps)
        if self.three_phase:
            rule = "pct_start must be above 0 and at most 0.5, for in three phases the LR goes down as slowly as it went up"
            require(0 < self.pct_start <= 0.5, rule, pct_start=self.pct_start)
        require(0 < self.pct_start < 1, "pct_start must lie between 0 and 1", pct_start=self.pct_start)
        rise = self.pct_start * self.num_steps
        require(
            rise > 1,
            "the rise must take more than one step",
            "Train for more steps, or with a larger pct_start.",
            **{"pct_start * num_steps": rise},
        )
        require(1 < self.div_factor < math.inf, "div_factor must be above 1", div_factor=self.div_factor)
        require(1 <= self.final_div_factor < math.inf, "final_div_factor must be at least 1", got=self.final_div_factor)
        require(self.anneal in ("cos", "linear"), "anneal must be 'cos' or 'linear'", anneal=self.anneal)
        if self.base_momentum is not None:
            require(
                0 <= self.base_momentum <= self.max_momentum < 1,
                "the momenta must rise: 0 <= base_momentum <= max_momentum < 1",
                base_momentum=self.base_momentum,
                max_momentum=self.max_momentum,
            )

    def _between(self, steps: FloatArray, marks: list[float]) -> FloatArray:
        """Through `marks`, one at each end of a phase. (n,) -> (n,)."""
        rise = self.pct_start * self.num_steps
        ends = [0.0, rise - 1, *([2 * rise - 2] if self.three_phase else []), float(self.num_steps - 1)]
        steps = np.minimum(steps, ends[-1])
        phase = np.clip(np.searchsorted(ends, steps, side="left") - 1, 0, len(ends) - 2)
        begin, end = np.take(ends, phase), np.take(ends, phase + 1)
        done = (steps - begin) / (end - begin)
        share = done if self.anneal == "linear" else (1 - np.cos(np.pi * done)) / 2
        start, goal = np.take(marks, phase), np.take(marks, phase + 1)
        return np.asarray(start + (goal - start) * share)

    def values(self, steps: FloatArray) -> FloatArray:
        """Up to `max_lr`, and down to its end."""
        first = self.max_lr / self.div_factor
        return self._between(
            steps, [first, self.max_lr, *([first] if self.three_phase else []), first / self.final_div_factor]
        )

    def momenta(self, steps: FloatArray) -> FloatArray:
        """Down to `base_momentum` and up again; nan where that is None."""
        if self.base_momentum is None:
            return super().momenta(steps)
        high = self.max_momentum
        return self._between(steps, [high, self.base_momentum, *([high] if self.three_phase else []), high])

    def cycle_ends(self, num_steps: Steps) -> list[int]:
        """Its one end."""
        return [round(self.num_steps)] if self.num_steps <= num_steps else []

    def describe(self) -> str:
        """The cycle in words."""
        first = self.max_lr / self.div_factor
        momentum = (
            "" if self.base_momentum is None else f", momentum {self.max_momentum:g} to {self.base_momentum:g} and back"
        )
        rise = f"{first:.3g} to {self.max_lr:.3g} in {self.pct_start:.3g} of {self.num_steps} steps"
        back = f"down to {first:.3g} in as many, " if self.three_phase else ""
        last = f"then down to {first / self.final_div_factor:.3g}"
        form = "by cosines" if self.anneal == "cos" else "in straight lines"
        return f"one cycle {form}: {rise}, {back}{last}{momentum}. {self.note}".strip()

    def torch_call(self, num_steps: NumSteps, *, momentum: bool, groups: NumSteps) -> TorchCall | None:
        """OneCycleLR, which refuses to go on after its end."""
        steps = whole(self.num_steps)
        if steps is None or num_steps > steps:
            return None
        first_lr, moves = self.max_lr / self.div_factor, momentum and self.base_momentum is not None
        if groups == 1:
            arguments = self._torch_arguments(number(self.max_lr), steps, moves)
            return TorchCall("OneCycleLR", arguments, first_lr, one_group_only=True, moves_momentum=moves)
        # written before the schedulers, for a warm-up sets the groups' LRs to 0
        peaks = f'peaks = [{number(self.div_factor)} * group["lr"] for group in optimizer.param_groups]\n'
        arguments = self._torch_arguments("peaks", steps, moves)
        return TorchCall("OneCycleLR", arguments, first_lr, moves_momentum=moves, before=peaks)

    def _torch_arguments(self, peak: str, steps: int, moves: bool) -> list[str]:
        arguments = [f"max_lr={peak}", f"total_steps={steps}", f"pct_start={number(self.pct_start)}"]
        arguments += ['anneal_strategy="linear"'] if self.anneal == "linear" else []
        arguments += [] if moves else ["cycle_momentum=False"]
        for name in (*(("base_momentum", "max_momentum") if moves else ()), "div_factor", "final_div_factor"):
            arguments.append(f"{name}={number(getattr(self, name))}")
        return arguments + (["three_phase=True"] if self.three_phase else [])

    def factor_lines(self, lr: PositiveLR, num_steps: NumSteps) -> list[str]:
        """The phases in turn; a plain function has no word for the momentum."""
        top, rise = self.max_lr / lr, self.pct_start * self.num_steps - 1
        low = top / self.div_factor
        last = low / self.final_div_factor
        marks = [
            (0.0, low),
            (rise, top),
            *([(2 * rise, low)] if self.three_phase else []),
            (self.num_steps - 1, last),
        ]
        phases = [f"({steps_text(a)}, {steps_text(b)}, {number(x)}, {number(y)})" for (a, x), (b, y) in pairwise(marks)]
        share = "share" if self.anneal == "linear" else "(1 - math.cos(math.pi * share)) / 2"
        return [
            f"for begin, end, low, high in [{', '.join(phases)}]:  # from step to step, from factor to factor",
            "    if step <= end:",
            "        share = (step - begin) / (end - begin)",
            f"        return low + (high - low) * {share}",
            f"return {number(last)}",
        ]

    def highest_lr(self, num_steps: NumSteps) -> float:
        """The peak."""
        return self.max_lr


@checked_layout
@searchable(pct_start=Range(0.1, 0.5), div_factor=Range(5.0, 50.0, log=True))
def one_cycle(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    anneal: Literal["cos", "linear"] = "cos",
    three_phase: bool = False,
    base_momentum: float | None = 0.85,
    max_momentum: float = 0.95,
) -> OneCycle:
    """Up to lr and far down again, once, the momentum the other way (arXiv:1708.07120).

    Options as of torch's OneCycleLR.
    """
    return OneCycle(
        lr, num_steps, pct_start, div_factor, final_div_factor, anneal, three_phase, base_momentum, max_momentum,
        note="One cycle, as long as the training.",
    )  # fmt: skip
