"""A schedule within a model's training, of the user's choice or that of a trial."""

from __future__ import annotations

from typing import Any

from lr_search.errors import InvalidInputError, require
from lr_search.kinds.checked import checked
from lr_search.own_loops.training_run import TrainingRun
from lr_search.schedules import base, by_name
from lr_search_keras.keras_model import (
    StepLoss,
    iterations_of,
    lr_of,
    require_keras_on_torch,
    require_settable,
    set_momentum_of,
    steps_of_batches,
)

require_keras_on_torch()

from keras.callbacks import Callback  # noqa: E402

_PASTED = """from lr_search_keras import Schedule

callbacks = [Schedule({schedule})]  # of model.fit, in the place of Schedule(run=run)"""


@checked
class Schedule(Callback):  # type: ignore[misc]
    """Sets the LR of a model before each step by a schedule, laid out for all epochs of the fit; or makes the fit a trial.

    Args:
        schedule: a name ("cosine", ...), whose peak is the LR of the model's optimizer; or one of `lr_search.schedules`.
        run: in its place, the run of a trial: its schedule is followed, its steps are counted, and after each epoch the fit's
            logs (val_loss, loss, and metrics) are reported.

    Raises:
        InvalidInputError: a schedule and a run are given, or neither.
    """

    def __init__(self, schedule: str | base.Schedule | None = None, *, run: TrainingRun | None = None) -> None:
        super().__init__()
        rule = "Schedule needs either a schedule or a run"
        require((schedule is None) != (run is None), rule, 'Write Schedule("cosine"), or Schedule(run=run).')
        self.schedule, self.run = schedule, run

    def on_train_begin(self, logs: Any = None) -> None:
        """Set the first LR."""
        optimizer = self.model.optimizer
        require_settable(optimizer)
        self._begun, self._step = iterations_of(optimizer), 0
        self._followed = self._laid_out() if self.run is None else self.run.schedule
        if self.run is not None:
            self.run.pasted, self._loss = _PASTED, StepLoss(self.model)
        self._set()

    def _laid_out(self) -> base.Schedule:
        if not isinstance(self.schedule, str):
            assert self.schedule is not None
            return self.schedule
        batches, epochs = self.params["steps"], self.params["epochs"]
        if batches is None:
            raise InvalidInputError(
                "A schedule by name must know how many batches an epoch has, but the fit's data do not tell. "
                "Give fit(..., steps_per_epoch=...), or a schedule of lr_search.schedules."
            )
        accumulated = steps_of_batches(self.model.optimizer, batches * epochs)
        made = by_name(
            self.schedule, lr=lr_of(self.model.optimizer), num_steps=accumulated, steps_per_epoch=accumulated / epochs
        )
        if not isinstance(made, base.Schedule):
            raise InvalidInputError(f"Schedule must follow a schedule, but got the controller {self.schedule!r}.")
        return made

    def _set(self) -> None:
        schedule = self._followed if self.run is None else self.run.schedule
        self.model.optimizer.learning_rate = schedule(self._step)
        momentum = schedule.momentum(self._step)
        if momentum is not None:
            set_momentum_of(self.model.optimizer, momentum)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keras begins its running mean of the loss anew."""
        if self.run is not None:
            self._loss.begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Set the next LR, where a step was taken."""
        if iterations_of(self.model.optimizer) - self._begun == self._step:
            return
        self._step += 1
        if self.run is not None:
            self.run.loss(self._loss.since())
            self.run.step()
            if self.run.done:
                self.model.stop_training = True  # after the validation of this epoch, which is reported
        self._set()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Report, where a trial's checkpoint has been reached."""
        if self.run is not None and self.run.due:
            self.run.report(**{name: float(value) for name, value in (logs or {}).items()})
            self._set()  # a controller may have changed it
