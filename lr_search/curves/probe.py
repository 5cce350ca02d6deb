"""The descending probe's ladder of LRs, and the losses measured at them. Knows no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.checked import checked

if TYPE_CHECKING:
    import pandas as pd


_FORMAT = 1
LEAST_LADDER_STEPS = 4  # the second half of them is looked at
MOST = 0.9  # of the steps looked at must have a lower loss
LEAST_FALL = 1e-6  # relative to the loss: what is less may be rounding


@checked
@dataclass(frozen=True)
class Ladder:
    """Which LRs a descending probe tries, and for how long each.

    Args:
        num_steps: optimizer steps at each LR, >= 4.
        factor: from one LR down to the next, > 1.

    >>> Ladder(factor=10.0).lrs(0.005, 1.0).tolist()
    [1.0, 0.1, 0.01]
    """

    num_steps: int = 10
    factor: float = 10**0.5

    def __post_init__(self) -> None:
        require(
            self.num_steps >= LEAST_LADDER_STEPS,
            f"num_steps must be at least {LEAST_LADDER_STEPS}",
            num_steps=self.num_steps,
        )
        require(1 < self.factor < math.inf, "factor must be above 1", factor=self.factor)

    def lrs(self, low: float, high: float) -> FloatArray:
        """From `high` down, by `factor` each, to the last that is not below `low`. Returns: (rungs,)."""
        require(
            0 < low < high < math.inf, "the range of the LR must be (low, high) with 0 < low < high", got=(low, high)
        )
        rungs = int(math.log(high / low) / math.log(self.factor) + 1e-9)
        return np.asarray(high / self.factor ** np.arange(rungs + 1)).clip(min=low)

    def most_steps(self, low: float, high: float) -> int:
        """What a probe costs where no LR is usable: every rung, and the losses of the untrained weights."""
        return self.num_steps * (len(self.lrs(low, high)) + 1)

    def describe(self) -> str:
        """The numbers, for a study's name and its fingerprint."""
        return f"{self.num_steps} steps, down by {self.factor:.4g}"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `Ladder(**record)` takes them back."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Probe:
    """The losses that a descending probe measured, and the largest LR at which they fell.

    Args:
        lr: (rungs,) the LRs that were tried, falling.
        loss: (rungs, num_steps) the training loss before each step; nan from the first that was not finite.
        untrained: (num_steps,) the initial weights' loss on the same batches.

    The last LR is the largest usable one, if the loss falls there; the probe ends with it.
    """

    lr: FloatArray
    loss: FloatArray
    untrained: FloatArray

    @property
    def largest_lr(self) -> float | None:
        """The largest LR whose loss falls; None where it falls at none."""
        return float(self.lr[-1]) if falls(self.loss[-1], self.untrained) else None

    @property
    def steps_charged(self) -> int:
        """Optimizer steps: those at each rung, and those at LR 0."""
        return self.loss.size + self.untrained.size

    @property
    def reason(self) -> str:
        """The largest LR at which the loss falls, in words."""
        if self.largest_lr is None:
            return f"The loss falls at no learning rate from {self.lr[0]:.3g} to {self.lr[-1]:.3g} in {self.loss.shape[1]} steps."
        above = "" if len(self.lr) == 1 else f", not at {self.lr[-2]:.3g}"
        edge = " It is the first that was tried: a larger one may be usable." if len(self.lr) == 1 else ""
        return f"The loss falls at {self.lr[-1]:.3g}{above}.{edge}"

    def to_frame(self) -> pd.DataFrame:
        """A row a step of each LR: lr, step, loss, and the untrained weights' loss on the same batch."""
        import pandas as pd

        rungs, steps = self.loss.shape
        return pd.DataFrame(
            {
                "lr": np.repeat(self.lr, steps),
                "step": np.tile(np.arange(steps), rungs),
                "loss": self.loss.ravel(),
                "untrained": np.tile(self.untrained, rungs),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` takes them back to the last bit."""
        return {
            "format": _FORMAT,
            "lr": self.lr.tolist(),
            "loss": [[None if math.isnan(value) else value for value in row] for row in self.loss.tolist()],
            "untrained": self.untrained.tolist(),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Probe:
        """The probe that `to_json` wrote. Raises: InvalidInputError: another version wrote it."""
        require(record.get("format") == _FORMAT, f"a probe must have format {_FORMAT}", format=record.get("format"))
        return cls(*(np.asarray(record[name], dtype=np.float64) for name in ("lr", "loss", "untrained")))


def falls(loss: FloatArray, untrained: FloatArray) -> bool:
    """Whether training at an LR has made the loss fall.

    The losses are compared with those of the untrained weights on the same batches, so that batches that differ do not blur
    the fall: over the second half of the steps at least nine in ten must be lower (of 5 steps: all, which chance brings
    about once in 32 times), and their mean, by more than rounding.

    Args:
        loss: (steps,) before each step; nan where it was not finite.
        untrained: (steps,) of the initial weights.
    """
    if not np.isfinite(loss).all():
        return False
    half = len(loss) // 2
    fall = (untrained - loss)[half:]
    return bool((fall > 0).mean() >= MOST and fall.mean() > LEAST_FALL * np.abs(untrained[half:]).mean())
