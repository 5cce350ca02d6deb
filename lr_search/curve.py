"""What a range test recorded, smoothed without lag, with the edges of the usable range. Knows no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from lr_search.errors import InvalidInputError, OutputError, require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from lr_search.suggest import Suggestion

FloatArray: TypeAlias = npt.NDArray[np.float64]
Stopped = Literal["finished", "diverged", "non_finite"]

SMOOTHING_DECADES = 0.2  # standard deviation of the Gaussian kernel over log10(lr)
SMOOTHING_SHARE = 0.025  # the same over the LR of a linear ramp, as a share of its range
FORMAT = 1


@dataclass(frozen=True, eq=False)
class LRCurve:
    """The losses of a training whose LR rose at every step.

    Args:
        lr: (n,) the LR of each step, > 0 (the first may be 0), rising.
        loss: (n,) the training loss before each step, finite.
        gain_ratio: (n,) actual over predicted reduction of the loss on the same batch, where it was measured.
        metrics: name -> (n,) other quantities recorded at each step.
        stopped: why the ramp ended: "finished" (it reached its end), "diverged", or "non_finite" (the next loss was).
        num_steps: steps it took in all; default: n.
        ramp: "exponential" or "linear".

    Raises:
        InvalidInputError: the arrays differ in length, are empty, hold a value that is not finite, or the LR does not rise.

    >>> curve = LRCurve.from_arrays(lr=[0.001, 0.01, 0.1, 1.0], loss=[2.3, 2.2, 0.9, 1.4])
    >>> len(curve.lr), curve.stopped
    (4, 'finished')
    """

    lr: FloatArray
    loss: FloatArray
    gain_ratio: FloatArray | None = None
    metrics: Mapping[str, FloatArray] = field(default_factory=dict)
    stopped: Stopped = "finished"
    num_steps: int = 0
    ramp: str = "exponential"

    def __post_init__(self) -> None:
        for name in ("lr", "loss"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if self.gain_ratio is not None:
            object.__setattr__(self, "gain_ratio", np.asarray(self.gain_ratio, dtype=np.float64))
        object.__setattr__(self, "metrics", {name: np.asarray(values) for name, values in self.metrics.items()})
        require(self.lr.ndim == 1 and len(self.lr) > 0, "lr must hold at least one step", shape=self.lr.shape)
        require(
            self.lr.shape == self.loss.shape, "lr and loss must be equally long", lr=self.lr.shape, loss=self.loss.shape
        )
        finite = bool(np.isfinite(self.lr).all() and np.isfinite(self.loss).all())
        require(
            finite, "lr and loss must be finite", "Cut the curve off where it diverges and say stopped='non_finite'."
        )
        require(
            bool((np.diff(self.lr) > 0).all()) and self.lr[0] >= 0, "lr must rise from step to step, and be positive"
        )
        for name, values in {"gain_ratio": self.gain_ratio, **self.metrics}.items():
            require(
                values is None or np.asarray(values).shape == self.lr.shape,
                f"{name} must be as long as lr",
                **{name: None if values is None else np.asarray(values).shape, "lr": self.lr.shape},
            )
        require(self.stopped in get_args(Stopped), f"stopped must be one of {get_args(Stopped)}", stopped=self.stopped)
        require(self.ramp in ("exponential", "linear"), "ramp must be 'exponential' or 'linear'", ramp=self.ramp)
        if not self.num_steps:
            object.__setattr__(self, "num_steps", len(self.lr))

    @classmethod
    def from_arrays(cls, lr: npt.ArrayLike, loss: npt.ArrayLike) -> LRCurve:
        """A curve another program recorded; it is cut off at its first loss that is not finite.

        Args:
            lr: (n,) rising LRs.
            loss: (n,) losses.
        """
        lrs, losses = np.asarray(lr, dtype=np.float64), np.asarray(loss, dtype=np.float64)
        require(lrs.shape == losses.shape, "lr and loss must be equally long", lr=lrs.shape, loss=losses.shape)
        bad = np.flatnonzero(~np.isfinite(losses))
        if not len(bad):
            return cls(lrs, losses)
        require(bad[0] > 0, "the first loss must be finite", "Lower the LR the ramp starts at.", loss=float(losses[0]))
        return cls(lrs[: bad[0]], losses[: bad[0]], stopped="non_finite", num_steps=int(bad[0]) + 1)

    @cached_property
    def smoothed(self) -> FloatArray:
        """(n,) the loss under a centred Gaussian kernel, which does not lag as a running mean does.

        The blow-up is capped at what ends a ramp, or it would outweigh everything near it.
        """
        return self._smooth(np.minimum(self.loss, self.start + max(self.start - self.loss.min(), 4 * self.noise)))

    def _smooth(self, values: FloatArray) -> FloatArray:
        if self.ramp == "linear":
            place, width = self.lr, SMOOTHING_SHARE * (self.lr[-1] - self.lr[0])
        else:
            place, width = np.log10(np.maximum(self.lr, np.finfo(float).tiny)), SMOOTHING_DECADES
        reach = (place[:, None] - place[None, :]) / max(width, np.finfo(float).tiny)
        kernel = np.exp(-0.5 * reach**2)
        return np.asarray(kernel @ values / kernel.sum(axis=1))

    @cached_property
    def start(self) -> float:
        """The loss before the LR mattered: the median of the first tenth."""
        return float(np.median(self.loss[: max(3, len(self.loss) // 10)]))

    @cached_property
    def noise(self) -> float:
        """The standard deviation of the loss from batch to batch, by the median of its changes from step to step."""
        return step_noise(self.loss)

    @cached_property
    def smoothed_noise(self) -> float:
        """The standard deviation that the noise leaves in the smoothed loss: about noise / sqrt(losses averaged over)."""
        middle = len(self.loss) // 2
        response = self._smooth(np.eye(1, len(self.loss), middle)[0])  # what one loss weighs in its neighbours
        return self.noise * float(np.sqrt(np.sum(response**2)))

    @cached_property
    def slope(self) -> FloatArray:
        """(n,) change of the smoothed loss per decade of LR (per unit of LR for a linear ramp)."""
        if len(self.lr) < 2:
            return np.zeros_like(self.lr)
        place = self.lr if self.ramp == "linear" else np.log10(np.maximum(self.lr, np.finfo(float).tiny))
        return np.asarray(np.gradient(self.smoothed, place))

    @property
    def first_lr(self) -> float:
        """The LR of the first step that had one above 0."""
        return float(next((lr for lr in self.lr[:2] if lr > 0), np.finfo(float).tiny))

    @property
    def descent(self) -> float:
        """How far the smoothed loss falls below its start."""
        return max(0.0, self.start - float(self.smoothed.min()))

    def bounds(self) -> tuple[float, float]:
        """The LR range for CLR, SGDR or one-cycle: where the loss starts to fall, and where it stops falling.

        base_lr is where a tenth of the descent is done, max_lr where nine tenths are; if only max_lr is clear,
        base_lr = max_lr / 4.

        Reference:
            Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186, section 3.3.
        """
        lowest = int(np.argmin(self.smoothed))
        falling = self.smoothed[: lowest + 1]
        max_lr = max(self._lr_at(falling, self.start - 0.9 * self.descent), self.first_lr)
        base_lr = self._lr_at(falling, self.start - 0.1 * self.descent)
        return (base_lr if 0 < base_lr < max_lr / 3 else max_lr / 4), max_lr

    def _lr_at(self, falling: FloatArray, level: float) -> float:
        """The first LR at which the smoothed loss is down to `level`."""
        reached = np.flatnonzero(falling <= level)
        return float(self.lr[reached[0]] if len(reached) else self.lr[len(falling) - 1])

    def suggest(self, rule: str | None = None) -> Suggestion:
        """One LR read off the curve.

        Args:
            rule: a name in `lr_search.suggest.RULES`; default: `lr_search.suggest.DEFAULT_RULE`.

        Raises:
            UnknownNameError: no rule has that name.
        """
        from lr_search.suggest import suggest

        return suggest(self, rule)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw loss, smoothed loss, suggestion, bounds and prior. Args: ax: where; default: a new figure's."""
        from lr_search.report.curve_figure import plot_curve

        return plot_curve(self, ax)

    def to_frame(self) -> pd.DataFrame:
        """A row a step: step, lr, loss, smoothed, slope, gain_ratio where measured, and the metrics."""
        import pandas as pd

        columns: dict[str, Any] = {"step": np.arange(len(self.lr)), "lr": self.lr, "loss": self.loss}
        columns |= {"smoothed": self.smoothed, "slope": self.slope}
        if self.gain_ratio is not None:
            columns["gain_ratio"] = self.gain_ratio
        return pd.DataFrame(columns | dict(self.metrics))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` takes them back to the last bit."""
        return {
            "format": FORMAT,
            "lr": self.lr.tolist(),
            "loss": self.loss.tolist(),
            "gain_ratio": None if self.gain_ratio is None else self.gain_ratio.tolist(),
            "metrics": {name: np.asarray(values).tolist() for name, values in self.metrics.items()},
            "stopped": self.stopped,
            "num_steps": self.num_steps,
            "ramp": self.ramp,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LRCurve:
        """The curve that `to_json` wrote."""
        require(record.get("format") == FORMAT, f"a curve must have format {FORMAT}", format=record.get("format"))
        gain_ratio = record["gain_ratio"]
        return cls(
            lr=np.asarray(record["lr"]),
            loss=np.asarray(record["loss"]),
            gain_ratio=None if gain_ratio is None else np.asarray(gain_ratio),
            metrics={name: np.asarray(values) for name, values in record["metrics"].items()},
            stopped=record["stopped"],
            num_steps=record["num_steps"],
            ramp=record["ramp"],
        )

    def save(self, path: str | Path) -> None:
        """Write the curve as JSON. Raises: OutputError: the file cannot be written."""
        try:
            Path(path).write_text(json.dumps(self.to_json()))
        except OSError as error:
            raise OutputError(
                f"The curve must go to a file that can be written, but got {path}: {error.strerror}."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> LRCurve:
        """Read a curve that `save` wrote. Raises: InvalidInputError: it is no such file."""
        try:
            return cls.from_json(json.loads(Path(path).read_text()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidInputError(f"path must be a file that LRCurve.save wrote, but got {path}: {error}") from error


def step_noise(loss: FloatArray) -> float:
    """The standard deviation of the noise from one step to the next: 1.4826 x median |change| / sqrt(2). (n,) -> float."""
    if len(loss) < 2:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(loss))) / np.sqrt(2))


def blow_up(loss: FloatArray, first: int = 0) -> int | None:
    """The first step, from `first` on, at which a ramp's loss has blown up; None if it has not.

    It has when the median of the last three losses lies above the start by more than the loss had fallen below the start,
    plus 8 standard deviations of the noise (more in the first 9 steps, whose few changes may be small by chance).
    Differences alone count, so that it holds for losses near zero and below.

    Args:
        loss: (n,) the losses so far, finite.
        first: steps before it are known not to have.
    """
    if len(loss) < 5:
        return None
    middle = np.median(np.lib.stride_tricks.sliding_window_view(loss, 3), axis=1)  # (n - 2,), of steps k-2, k-1, k
    best = np.minimum.accumulate(middle)
    start = float(np.median(loss[:3]))
    for step in range(max(first, 4), len(loss)):
        noise = step_noise(loss[: step - 2])  # without the rise itself
        margin = max(start - best[step - 2], 0.01 * abs(start)) + 8 * 2 ** max(0, 9 - step) * noise
        if middle[step - 2] > start + margin:
            return step
    return None
