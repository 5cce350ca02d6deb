"""What a range test recorded, smoothed without lag, with the edges of the usable range. Knows no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from lr_search.arrays import FloatArray
from lr_search.curves.noise import step_noise
from lr_search.curves.phases import Phases, bounds, phases
from lr_search.curves.remarks import curve_repr, curve_text
from lr_search.curves.smoothing import TINY, Smoother
from lr_search.curves.training_plan import Plan
from lr_search.errors import require
from lr_search.kinds.checked import checked

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from lr_search.curves.suggest import Suggestion

Ramp = Literal["exponential", "linear"]
RampEnd = Literal["finished", "diverged", "non_finite"]


@checked
@dataclass(frozen=True, eq=False, repr=False)
class LRCurve:
    """The losses of a training whose LR rose at every step.

    Args:
        lr: (n,) the LR of each step, > 0 (the first may be 0), rising.
        loss: (n,) the training loss before each step, finite.
        gain_ratio: (n,) actual over predicted reduction of the loss on the same batch; NaN at steps where it was not measured.
        metrics: name -> (n,) other quantities recorded at each step.
        stopped: why the ramp ended: "finished" (it reached its end), "diverged", or "non_finite" (the next loss was).
        num_steps: optimizer steps it took in all; default: n.
        num_forwards: forward passes beyond those, each over the batches of a step: for the gain ratio and metrics.
        ramp: "exponential" or "linear".
        members: the curves this one was pooled from.
        optimizer: its `character`: "scaling", "gain" and "fade"; empty where nothing is known.
        group_ratios: each parameter group's LR over the first's, whose LR `lr` is; empty where not known.
        plan: the training that was to follow; what `suggest` and a prior are for.

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
    stopped: RampEnd = "finished"
    num_steps: int = 0
    num_forwards: float = 0.0
    ramp: Ramp = "exponential"
    members: tuple[LRCurve, ...] = ()
    optimizer: Mapping[str, float] = field(default_factory=dict)
    group_ratios: tuple[float, ...] = ()
    plan: Plan | None = None

    def __post_init__(self) -> None:
        for name in ("lr", "loss", *(() if self.gain_ratio is None else ("gain_ratio",))):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        metrics = {name: np.asarray(values, dtype=np.float64) for name, values in self.metrics.items()}
        object.__setattr__(self, "metrics", metrics)
        require(self.lr.ndim == 1 and len(self.lr) > 0, "lr must hold at least one step", shape=self.lr.shape)
        require(
            self.lr.shape == self.loss.shape, "lr and loss must be equally long", lr=self.lr.shape, loss=self.loss.shape
        )
        remedy = "Cut the curve off where it diverges and say stopped='non_finite'."
        require(bool(np.isfinite([self.lr, self.loss]).all()), "lr and loss must be finite", remedy)
        rising = bool((np.diff(self.lr) > 0).all()) and self.lr[0] >= 0
        require(rising, "lr must rise from step to step, and be positive")
        measured = {} if self.gain_ratio is None else {"gain_ratio": self.gain_ratio}
        for name, values in {**measured, **self.metrics}.items():
            shapes = {name: values.shape, "lr": self.lr.shape}
            require(values.shape == self.lr.shape, f"{name} must be as long as lr", **shapes)
        counts = {"num_steps": self.num_steps, "num_forwards": self.num_forwards}
        require(min(counts.values()) >= 0, "num_steps must be at least 0", **counts)
        object.__setattr__(self, "num_steps", self.num_steps or len(self.lr))

    @classmethod
    def from_arrays(cls, lr: npt.ArrayLike, loss: npt.ArrayLike) -> LRCurve:
        """A curve another program recorded; it is cut off at its first loss that is not finite.

        Args:
            lr: (n,) rising LRs.
            loss: (n,) losses.
        """
        lrs, losses = np.asarray(lr, dtype=np.float64), np.asarray(loss, dtype=np.float64)
        require(lrs.shape == losses.shape, "lr and loss must be equally long", lr=lrs.shape, loss=losses.shape)
        if not len(bad := np.flatnonzero(~np.isfinite(losses))):
            return cls(lrs, losses)
        require(bad[0] > 0, "the first loss must be finite", "Lower the LR the ramp starts at.", loss=float(losses[0]))
        return cls(lrs[: bad[0]], losses[: bad[0]], stopped="non_finite", num_steps=int(bad[0]) + 1)

    @classmethod
    def pool(cls, curves: Sequence[LRCurve]) -> LRCurve:
        """Several range tests of one training (seeds) as one curve, with their spread.

        Args:
            curves: at least one, of the same ramp.
        """
        from lr_search.curves.pooling import pool

        return pool(curves)

    @cached_property
    def _smoother(self) -> Smoother:
        return Smoother(self.lr, linear=self.ramp == "linear")

    @cached_property
    def smoothed(self) -> FloatArray:
        """(n,) the loss under a centred Gaussian kernel, which does not lag as a running mean does.

        The blow-up is capped at what ends a ramp, or it would outweigh everything near it.
        """
        most = self.start + max(self.start - self.loss.min(), 4 * self.noise)
        return self._smoother.mean(np.minimum(self.loss, most))

    @cached_property
    def smoothed_gain_ratio(self) -> FloatArray | None:
        """(n,) the gain ratio over the steps nearby: the sum of their reductions over the sum of what was predicted.

        Each step counts alike, however large its reduction, but for those of which next to nothing was predicted (a
        momentum that runs on against the gradient): they count by what was, or their quotients would drown the rest.
        """
        if self.gain_ratio is None:
            return None
        if not {"reduction", "predicted_reduction"} <= set(self.metrics):
            return self._smoother.mean(self.gain_ratio)
        known = np.isfinite(self.gain_ratio)
        reduction, predicted = (
            np.where(known, self.metrics[name], 0.0) for name in ("reduction", "predicted_reduction")
        )
        size = np.log(np.maximum(np.abs(predicted), TINY))
        usual = np.exp(np.nan_to_num(self._smoother.mean(np.where(known, size, np.nan))))
        weight = 1 / np.maximum(np.maximum(np.abs(predicted), usual), TINY)
        return self._smoother.ratio(reduction * weight, predicted * weight)

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
        return self.noise * self._smoother.noise_left()

    @cached_property
    def slope(self) -> FloatArray:
        """(n,) change of the smoothed loss per decade of LR (per unit of LR for a linear ramp)."""
        if len(self.lr) < 2:
            return np.zeros_like(self.lr)
        return np.asarray(np.gradient(self.smoothed, self._smoother.place))

    @property
    def first_lr(self) -> float:
        """The LR of the first step that had one above 0."""
        return float(next((lr for lr in self.lr[:2] if lr > 0), TINY))

    @property
    def descent(self) -> float:
        """How far the smoothed loss falls below its start."""
        return max(0.0, self.start - float(self.smoothed.min()))

    @property
    def steps_charged(self) -> int:
        """What the range test cost in optimizer steps, a forward pass of its own taken for a third of one."""
        if self.members:
            return sum(member.steps_charged for member in self.members)
        return self.num_steps + math.ceil(self.num_forwards / 3 - 1e-9)

    @property
    def spread(self) -> FloatArray:
        """(n,) the standard deviation of the loss over pooled curves; 0 for a single one."""
        from lr_search.curves.pooling import spread

        return spread(self)

    def planned(self, schedule: str | None = None, num_steps: int | None = None) -> LRCurve:
        """The curve, read for another training. Raises: as `Plan`."""
        plan = (self.plan or Plan()).but(schedule=schedule, num_steps=num_steps)
        members = tuple(replace(member, plan=plan) for member in self.members)
        return self if plan == self.plan else replace(self, plan=plan, members=members)

    def phases(self) -> Phases:
        """Where the loss begins to fall, and where it begins to rise again."""
        return phases(self)

    def bounds(
        self, metric: str | None = None, *, direction: Literal["minimize", "maximize"] | None = None
    ) -> tuple[float, float]:
        """The LR range for CLR, SGDR or one-cycle: base_lr and max_lr, off the loss alone; see `lr_search.curves.phases.bounds`.

        Where the one LR of `suggest` lies outside, its reason says so. (Smith 2017, arXiv:1506.01186, section 3.3.)

        Args:
            metric: read it off this metric, such as "valid_accuracy"; default: off the loss.
            direction: whether less of it is better; default: "maximize" for names with "acc" in them, else "minimize".
        """
        return bounds(self, metric, direction=direction)

    def suggest(
        self, rule: str | None = None, *, schedule: str | None = None, num_steps: int | None = None
    ) -> Suggestion:
        """One LR read off the curve, for that schedule and length; see `lr_search.suggest.suggest`."""
        from lr_search.curves.suggest import suggest

        return suggest(self, rule, schedule=schedule, num_steps=num_steps)

    def plot(
        self,
        ax: Axes | Sequence[Axes] | None = None,
        *,
        rule: str | None = None,
        lr_against_step: bool = False,
        legend: bool = True,
    ) -> Axes:
        """Draw loss, slope, gain ratio and metrics, with phases, suggestion, bounds and prior; needs no display.

        Args:
            ax: where: one Axes for the loss alone, several for more panels. Default: a new figure with all of them.
            rule: how the suggestion is read off the curve; default: `lr_search.suggest.DEFAULT_RULE`.
            lr_against_step: whether to add a panel with the LR at each step.
            legend: whether to say what is what.

        Returns:
            The loss's Axes; `curve.plot().figure.savefig(path)` saves the picture.

        Raises:
            InvalidInputError: there are more Axes than panels.
            UnknownNameError: no rule has that name.
        """
        from lr_search.report.plots.curve_plot import plot_curve

        return plot_curve(self, ax, rule=rule, lr_against_step=lr_against_step, legend=legend)

    def __str__(self) -> str:
        return curve_text(self)

    def __repr__(self) -> str:
        return curve_repr(self)

    def _repr_html_(self) -> str:
        from lr_search.report.notebook import curve_html

        return curve_html(self)

    def to_frame(self) -> pd.DataFrame:
        """A row a step: step, lr, loss, smoothed, slope, gain_ratio where measured, and the metrics."""
        from lr_search.curves.curve_json import frame_of

        return frame_of(self)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names; `from_json` takes them back to the last bit."""
        from lr_search.curves.curve_json import record_of

        return record_of(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LRCurve:
        """The curve that `to_json` wrote."""
        from lr_search.curves.curve_json import curve_of

        return curve_of(record)

    def save(self, path: str | Path) -> None:
        """Write the curve as JSON. Raises: OutputError: the file cannot be written."""
        from lr_search.curves.curve_json import write_curve

        write_curve(self, path)

    @classmethod
    def load(cls, path: str | Path) -> LRCurve:
        """Read a curve that `save` wrote. Raises: InvalidInputError: it is no such file."""
        from lr_search.curves.curve_json import read_curve

        return read_curve(path)
