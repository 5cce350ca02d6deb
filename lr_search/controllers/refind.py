"""Find the LR again at each cycle's end: the usable range moves as a training goes on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lr_search.curves.curve import LRCurve
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Steps
from lr_search.ramp.settings import RampSettings
from lr_search.schedules.base import Schedule
from lr_search.schedules.exp_range import ExpRange
from lr_search.schedules.layout import checked_layout
from lr_search.schedules.named import by_name
from lr_search.schedules.sgdr import SGDR
from lr_search.schedules.triangular import Triangular, Triangular2
from lr_search.training.controller import Controller

if TYPE_CHECKING:
    from lr_search.training.evaluation import Evaluation
    from lr_search.training.training import Training

Cyclic = Triangular | Triangular2 | ExpRange | SGDR
CYCLES_OF = ("triangular", "triangular2", "exp_range", "sgdr")  # the schedules that have such cycles
BELOW, ABOVE = 1e-3, 1e2  # of the present peak: where a ramp begins and ends
RAMP_STEPS = 60  # as many a decade as the usual range test of 8 decades in 100 steps


@checked
@dataclass(frozen=True)
class Refind(Controller):
    """A cyclic schedule whose bounds are found again at each cycle's end, by a range test from the state reached there.

    The range test ramps from a thousandth of the present peak to a hundred times it, and puts everything back; what it cost is
    charged to the training. Its suggestion becomes the next cycle's peak, and base_lr keeps its ratio to it; or its `bounds()`
    become the bounds. The cycles keep their places. No test is run after the last cycle.

    Args:
        cycles: Triangular, Triangular2, ExpRange or SGDR, with the first cycle's bounds.
        read: "suggestion" (the peak by the default rule, which reads a trained network's curve too) or "bounds" (Smith's
            reading of the loss, which needs a loss that still falls in the ramp).
        num_steps: steps in a ramp, >= 20.
        gain_ratio: whether ramps measure it; default: where the loss comes out the same when evaluated again.
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    Reference:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186, section 3.3, for the
        test; to repeat it is common advice without a source.

    >>> controller = Refind(Triangular(base_lr=0.025, max_lr=0.1, step_size=50))
    >>> controller.schedule.max_lr, controller.extra_steps(num_steps=400)  # 3 tests of 60 steps and 61 forward passes
    (0.1, 243)
    """

    cycles: Cyclic
    read: Literal["suggestion", "bounds"] = "suggestion"
    num_steps: int = RAMP_STEPS
    gain_ratio: bool | None = None
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        self._range_test()  # raises where an argument breaks a rule

    def _range_test(self) -> RampSettings:
        """The range test at a cycle's end, for a peak of 1."""
        return RampSettings(BELOW, ABOVE, self.num_steps, gain_ratio=self.gain_ratio)

    @property
    def schedule(self) -> Schedule:
        """The cycles with the bounds of the first."""
        return self.cycles

    def start(self, training: Training) -> Finder:
        """A control that runs its range tests on this training."""
        return Finder(self, training)

    def extra_steps(self, num_steps: Steps) -> int:
        """What the range tests at the cycles' ends cost at most."""
        tests = sum(end < num_steps for end in self.cycles.cycle_ends(num_steps))
        return tests * self._range_test().most_steps()

    def describe(self) -> str:
        """The cycles in words, and how their bounds are found."""
        measured = (
            "the peak by a range test's suggestion" if self.read == "suggestion" else "the bounds by a range test"
        )
        text = f"{self.cycles.describe().rstrip('.')}; {measured} of {self.num_steps} steps at each cycle's end"
        return f"{text}. {self.note}" if self.note else text


@checked_layout
def refind(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    cycles_of: str = "triangular",
    read: Any = "suggestion",
    ramp_steps: int = RAMP_STEPS,
    gain_ratio: bool | None = None,
    **options: Any,
) -> Refind:
    """Triangular cycles whose peak is found again by a range test at each cycle's end; the tests are charged.

    Args:
        lr: the first cycle's peak.
        num_steps: steps in the training.
        steps_per_epoch: steps in one pass over the data.
        cycles_of: the schedule whose cycles they are: triangular, triangular2, exp_range or sgdr.
        read: "suggestion" or "bounds".
        ramp_steps: steps in a range test.
        gain_ratio: whether it is measured.
        **options: options of that schedule: cycles, base_ratio, ...
    """
    require(cycles_of in CYCLES_OF, f"cycles_of must be one of {', '.join(CYCLES_OF)}", cycles_of=cycles_of)
    cycles: Any = by_name(cycles_of, lr, num_steps, steps_per_epoch, **options)
    return Refind(cycles, read, ramp_steps, gain_ratio)


class Finder:
    """`Refind` at work on one training."""

    def __init__(self, settings: Refind, training: Training) -> None:
        self._settings, self._training = settings, training
        self._bounds = (settings.cycles.base_lr, settings.cycles.max_lr)

    def __call__(self, evaluation: Evaluation) -> Schedule | None:
        """At a cycle's end: the cycles between new bounds. Else None."""
        if not evaluation.end_of_cycle:
            return None
        peak, settings = self._bounds[1], self._settings
        curve = self._training.range_test(
            start_lr=BELOW * peak, end_lr=ABOVE * peak, num_steps=settings.num_steps, gain_ratio=settings.gain_ratio
        )
        self._bounds = self._read(curve)
        return self._schedule()

    def _read(self, curve: LRCurve) -> tuple[float, float]:
        if self._settings.read == "bounds":
            return curve.bounds()
        cycles = self._settings.cycles
        peak = curve.suggest().lr
        return cycles.base_lr / cycles.max_lr * peak, peak

    def _schedule(self) -> Schedule:
        base_lr, max_lr = self._bounds
        return dataclasses.replace(self._settings.cycles, base_lr=base_lr, max_lr=max_lr)

    def state_dict(self) -> dict[str, Any]:
        """The present bounds."""
        return {"bounds": list(self._bounds)}

    def load_state_dict(self, state: dict[str, Any]) -> Schedule:
        """Go on from what `state_dict` gave. Returns: the cycles between the bounds that hold at that step."""
        self._bounds = tuple(state["bounds"])
        return self._schedule()
