"""A schedule that comes down as 1/step."""

from dataclasses import dataclass

from lr_search.arrays import FloatArray
from lr_search.schedules import Schedule
from lr_search.schedules.base import require_length, require_peak
from lr_search.schedules.layout import Range, searchable
from lr_search.schedules.source import number


@dataclass(frozen=True)
class Hyperbolic(Schedule):
    """lr(t) = lr / (1 + t / scale)."""

    lr: float
    scale: float

    def __post_init__(self) -> None:
        require_peak(self.lr)
        require_length(scale=self.scale)

    def values(self, steps: FloatArray) -> FloatArray:
        return self.lr / (1 + steps / self.scale)

    def describe(self) -> str:
        return f"from {self.lr:.3g} down as 1/step, on a scale of {self.scale:.3g} steps"

    def factor_lines(self, lr: float, num_steps: int) -> list[str]:
        return [f"return {number(self.lr / lr)} / (1 + step / {self.scale!r})"]


@searchable(scale_share=Range(0.01, 1.0, log=True))
def hyperbolic(
    lr: float, num_steps: int, steps_per_epoch: float | None = None, *, scale_share: float = 0.1
) -> Hyperbolic:
    """Down as 1/step, on a scale of a share of the training."""
    return Hyperbolic(lr, max(1.0, scale_share * num_steps))
