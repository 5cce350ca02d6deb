"""A range test before a model's training: the callback finds its LR."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lr_search.curves.curve import LRCurve, RampEnd
from lr_search.curves.noise import blow_up
from lr_search.curves.training_plan import Plan
from lr_search.errors import InvalidInputError, WorkloadError, require
from lr_search.kinds.checked import checked
from lr_search.ramp.settings import RampSettings, ramp_steps
from lr_search_keras.keras_model import (
    StepLoss,
    accumulated,
    iterations_of,
    preserved_model,
    require_keras_on_torch,
    require_settable,
    steps_of_batches,
)

require_keras_on_torch()

from keras.callbacks import Callback  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@checked
class RangeTest(Callback):  # type: ignore[misc]
    """Runs a range test when `fit` begins, puts the model back, and lets it train with the LR that it suggests.

    The test is a fit of its own within the model's: Keras tells a callback no data, so it is given them. The suggestion goes by
    the losses alone, without the gain ratio. A `Schedule` stands after it: its peak is the LR that was set.

    Args:
        x: inputs, or what `fit` takes in their place and can be walked through again: a data set, a loader.
        y: targets, where `x` does not hold them.
        schedule: the name of the one that the model trains under, for which the LR is suggested.
        start_lr: LR at the first step of the ramp, > 0.
        end_lr: LR at its last; default: 10.
        num_steps: of the ramp, >= 20; default: 100, for a training shorter than 300 steps a third.
        **fit: what else the model's fit is told of these data: batch_size, sample_weight, class_weight.

    Attributes:
        curve: what was recorded, a `lr_search.LRCurve`.
        suggestion: what was read off it: lr, status, reason.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        *,
        schedule: str = "constant",
        start_lr: float = 1e-7,
        end_lr: float | None = None,
        num_steps: int | None = None,
        **fit: Any,
    ) -> None:
        super().__init__()
        rule = "x must be something that can be walked through again"
        remedy = "Give arrays, a data set or a loader: batches that a generator has given are lost to the training."
        require(not isinstance(x, Iterator), rule, remedy, got=type(x).__name__)
        self.data, self.fit_arguments, self.plan = (x, y), fit, Plan(schedule=schedule)
        self.start_lr, self.end_lr, self.num_steps = start_lr, end_lr, num_steps

    def on_train_begin(self, logs: Any = None) -> None:
        """Test, and set the LR."""
        model, batches = self.model, self.params["steps"]
        require_settable(model.optimizer)
        planned = None if batches is None else steps_of_batches(model.optimizer, batches * self.params["epochs"])
        settings = RampSettings(self.start_lr, self.end_lr, ramp_steps(self.num_steps, planned), extend=False)
        ramp, (x, y) = _Ramp(settings), self.data
        # enough, however few batches an epoch has: the ramp ends it
        epochs = settings.num_steps * accumulated(model.optimizer)
        with preserved_model(model):
            model.fit(x, y, epochs=epochs, callbacks=[ramp], verbose=0, **self.fit_arguments)
        self.curve = replace(ramp.curve(), plan=self.plan.but(num_steps=planned))
        self.suggestion = self.curve.suggest()
        model.optimizer.learning_rate = self.suggestion.lr

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curve. Returns: its Axes; `.figure.savefig(path)` saves the picture."""
        if not hasattr(self, "curve"):
            raise InvalidInputError("A range test can be drawn when it has run. Call model.fit(...) first.")
        return self.curve.plot(ax)


class _Ramp(Callback):  # type: ignore[misc]
    """The LR of each step of a fit, and the losses, until they blow up."""

    def __init__(self, settings: RampSettings) -> None:
        super().__init__()
        self._lrs, self._losses = settings.lrs(), list[float]()
        self._stopped: RampEnd = "finished"

    def on_train_begin(self, logs: Any = None) -> None:
        self._begun, self._loss = iterations_of(self.model.optimizer), StepLoss(self.model)
        self.model.optimizer.learning_rate = self._lrs[0]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._loss.begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if iterations_of(self.model.optimizer) - self._begun == len(self._losses):
            return
        self._losses.append(self._loss.since())
        if not np.isfinite(self._losses[-1]):
            self._stopped = "non_finite"
        elif blow_up(np.asarray(self._losses), first=len(self._losses) - 1) is not None:
            self._stopped = "diverged"
        if self._stopped != "finished" or len(self._losses) == len(self._lrs):
            self.model.stop_training = True
            return
        self.model.optimizer.learning_rate = self._lrs[len(self._losses)]
        self.model.reset_metrics()  # a running mean over a blow-up would drown what follows in rounding
        self._loss.begin()

    def curve(self) -> LRCurve:
        """What was recorded."""
        steps = len(self._losses)
        if self._stopped == "finished" and steps < len(self._lrs):
            raise WorkloadError(
                f"The range test needs data for {len(self._lrs)} steps, but they ended after {steps}. "
                "Give data that can be walked through again and again, or num_steps=."
            )
        recorded = steps - (self._stopped == "non_finite")
        if not recorded:
            raise WorkloadError(f"The first loss must be finite, but got {self._losses[0]}. Lower start_lr.")
        lrs, losses = self._lrs[:recorded], np.asarray(self._losses[:recorded])
        return LRCurve(lrs, losses, stopped=self._stopped, num_steps=steps)
