"""Lower the LR when the objective stops improving."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lr_search.errors import InvalidInputError, quoted, require
from lr_search.kinds.checked import checked
from lr_search.kinds.direction import Direction
from lr_search.schedules.base import require_peak
from lr_search.schedules.decay import Constant
from lr_search.schedules.layout import checked_layout
from lr_search.training.controller import Controller

if TYPE_CHECKING:
    from lr_search.training.evaluation import Evaluation
    from lr_search.training.training import Training
    from lr_search.workloads.subject import Subject


@checked
@dataclass(frozen=True)
class ReduceOnPlateau(Controller):
    """Multiplies the LR by `factor` after more than `patience` evaluations in a row without a better `metric`.

    The rule and the defaults are those of torch.optim.lr_scheduler.ReduceLROnPlateau, but for the relative threshold below 0: torch
    multiplies a best of -1 by 1 - threshold to minimize, so that no better a -1 is better for ever and the LR never falls; here the
    margin is a share of the best's size. The evaluation at step 0 does not count, as torch's users call it after an epoch.

    Args:
        lr: LR at the start, > 0.
        metric: what is watched: one of the workload's metrics, or "train_loss"; default: the objective.
        direction: "minimize" or "maximize"; default: the workload's for its objective, else "minimize".
        factor: of a drop, in (0, 1).
        patience: evaluations without improvement that are let pass, >= 0.
        threshold: how much better counts, >= 0.
        threshold_mode: "rel" (better than best -+ threshold * |best|) or "abs" (better than best -+ threshold).
        cooldown: evaluations after a drop that are not counted, >= 0.
        min_lr: the LR never falls below it, >= 0.
        eps: a drop by less than this is not made, >= 0.
        note: why it was laid out so; shown by `describe()`, ignored by `==`.

    >>> ReduceOnPlateau(0.1, factor=0.5).describe()
    'constant at 0.1, times 0.5 after more than 10 evaluations without a better objective'
    """

    lr: float
    metric: str | None = None
    direction: Direction | None = None
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        require_peak(self.lr)
        require(0 < self.factor < 1, "factor must lie between 0 and 1", factor=self.factor)
        require(
            self.direction in (None, "minimize", "maximize"),
            "direction must be minimize or maximize",
            got=self.direction,
        )
        require(self.threshold_mode in ("rel", "abs"), "threshold_mode must be 'rel' or 'abs'", got=self.threshold_mode)
        for name in ("patience", "threshold", "cooldown", "min_lr", "eps"):
            require(getattr(self, name) >= 0, f"{name} must be at least 0", **{name: getattr(self, name)})

    @property
    def schedule(self) -> Constant:
        """The LR at the start, held."""
        return Constant(self.lr)

    def start(self, training: Training) -> Plateau:
        """A control of the training's workload."""
        return self.by_evaluations(training.workload)

    def by_evaluations(self, workload: Subject) -> Plateau:
        """A control with the workload's objective and direction, where none were given."""
        metric = workload.objective if self.metric is None else self.metric
        direction = self.direction or (workload.direction if metric == workload.objective else "minimize")
        return Plateau(self, metric, direction)

    def describe(self) -> str:
        """LR, factor and patience in words."""
        watched = "objective" if self.metric is None else self.metric
        evaluations = f"{self.patience} evaluation{'' if self.patience == 1 else 's'}"
        text = f"constant at {self.lr:.3g}, times {self.factor:.3g} after more than {evaluations} without a better {watched}"
        return f"{text}. {self.note}" if self.note else text


@checked_layout
def plateau(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    patience: int = 2,
    factor: float = 0.1,
    metric: str | None = None,
    direction: Direction | None = None,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_lr: float = 0.0,
) -> ReduceOnPlateau:
    """Constant, a tenth whenever the objective has not improved for 3 evaluations.

    Options as of `ReduceOnPlateau`. Its patience is 2: torch's 10 is a whole training at the usual ten evaluations.
    """
    return ReduceOnPlateau(
        lr, metric, direction, factor, patience, threshold, threshold_mode, cooldown, min_lr,
        note="patience counts evaluations, of which a training has few.",
    )  # fmt: skip


class Plateau:
    """`ReduceOnPlateau` at work on one training."""

    def __init__(self, settings: ReduceOnPlateau, metric: str, direction: Direction) -> None:
        self._settings, self._metric = settings, metric
        self._sign = 1 if direction == "minimize" else -1  # of the metric, so that less is better
        self._lr, self._best, self._bad, self._cooling = settings.lr, math.inf, 0, 0

    def __call__(self, evaluation: Evaluation) -> Constant | None:
        """A lower constant, where it is time."""
        value = self._watched(evaluation)
        if not evaluation.step:
            return None
        if self._better(value):
            self._best, self._bad = value, 0
        else:
            self._bad += 1
        if self._cooling > 0:
            self._cooling, self._bad = self._cooling - 1, 0
        if self._bad <= self._settings.patience:
            return None
        self._cooling, self._bad = self._settings.cooldown, 0
        lower = max(self._lr * self._settings.factor, self._settings.min_lr)
        if self._lr - lower <= self._settings.eps:
            return None
        self._lr = lower
        return Constant(lower)

    def _watched(self, evaluation: Evaluation) -> float:
        reported = {"train_loss": evaluation.train_loss, **evaluation.metrics}
        if self._metric not in reported:
            raise InvalidInputError(
                f"metric must be one that the workload reports, but got {quoted(self._metric)}; "
                f"reported: {', '.join(sorted(reported))}. Name one of these, or report it."
            )
        return self._sign * reported[self._metric]

    def _better(self, value: float) -> bool:
        threshold = self._settings.threshold
        if self._settings.threshold_mode == "abs" or math.isinf(self._best):
            return value < self._best - threshold
        return value < self._best * (1 - math.copysign(threshold, self._best))  # best - threshold * |best|

    def state_dict(self) -> dict[str, Any]:
        """The LR, the best value, and how long ago it was."""
        return {"lr": self._lr, "best": self._best, "bad": self._bad, "cooling": self._cooling}

    def load_state_dict(self, state: dict[str, Any]) -> Constant:
        """Go on from what `state_dict` gave. Returns: the LR that holds at that step, held."""
        self._lr, self._best, self._bad, self._cooling = (state[key] for key in ("lr", "best", "bad", "cooling"))
        return Constant(self._lr)
