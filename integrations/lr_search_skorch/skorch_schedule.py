"""A schedule within a net's training, of the user's choice or that of a trial."""

from __future__ import annotations

from numbers import Real
from typing import Any

from lr_search.errors import InvalidInputError, require
from lr_search.kinds.checked import checked
from lr_search.optimizers.param_groups import groups
from lr_search.own_loops.training_run import TrainingRun
from lr_search.rng import preserved_rng
from lr_search.schedules import base, by_name
from lr_search.state.capture import device_of
from lr_search_skorch.skorch_net import modules_of, optimizers_of, require_skorch, training_batches

require_skorch()

from skorch.callbacks import Callback  # noqa: E402

_PASTED = """from lr_search_skorch import Schedule

callbacks = [Schedule({schedule})]  # of the net, in the place of Schedule(run=run)"""
NOT_RESULTS = (
    "epoch",
    "dur",
    "train_loss",
)  # of the numbers in a row of a net's history; the last is told step by step


@checked
class Schedule(Callback):  # type: ignore[misc]
    """Sets the LR of a net before each batch by a schedule, laid out for all its epochs; or makes the net a trial.

    Args:
        schedule: a name ("cosine", ...), whose peak is the LR of the net's optimizer; or one of `lr_search.schedules`.
        run: in its place, the run of a trial: its schedule is followed, its steps are counted, and after each epoch the numbers
            in the net's history (valid_loss, valid_acc, ...) are reported, those of scoring callbacks that come before this one.

    Raises:
        InvalidInputError: a schedule and a run are given, or neither.
    """

    def __init__(self, schedule: str | base.Schedule | None = None, *, run: TrainingRun | None = None) -> None:
        rule = "Schedule needs either a schedule or a run"
        require((schedule is None) != (run is None), rule, 'Write Schedule("cosine"), or Schedule(run=run).')
        self.schedule, self.run = schedule, run

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Set the first LR."""
        optimizers = optimizers_of(net)
        self.within_epoch_ = False
        if self.run is not None:
            self.run.pasted = _PASTED
            self.scheduler_: Any = self.run.attach(optimizers[0] if len(optimizers) == 1 else optimizers)
            return
        if len(optimizers) != 1:
            raise InvalidInputError(
                f"Schedule(schedule) must be of a net with one optimizer, but got {len(optimizers)}. "
                "Give a trial's run in its place, or attach a schedule to each."
            )
        self.scheduler_ = self._laid_out(net, X, y).attach(optimizers[0])

    def _laid_out(self, net: Any, X: Any, y: Any) -> base.Schedule:
        if not isinstance(self.schedule, str):
            assert self.schedule is not None
            return self.schedule
        with preserved_rng(device_of(modules_of(net))):
            epoch = len(training_batches(net, X, y))
        lr = float(groups(optimizers_of(net))[0]["lr"])
        made = by_name(self.schedule, lr=lr, num_steps=net.max_epochs * epoch, steps_per_epoch=epoch)
        if not isinstance(made, base.Schedule):
            raise InvalidInputError(f"Schedule must follow a schedule, but got the controller {self.schedule!r}.")
        return made

    def on_epoch_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Note that an epoch is under way."""
        self.within_epoch_ = True

    def on_batch_end(self, net: Any, batch: Any = None, training: bool | None = None, **step: Any) -> None:
        """Set the next LR, after a training batch."""
        if training:
            if self.run is not None:
                self.run.loss(step["loss"])
            self.scheduler_.step()

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Report, where a trial's checkpoint has been reached."""
        self.within_epoch_ = False
        if self.run is not None and self.run.due:
            self.run.report(**_results(net.history[-1]))

    def on_train_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Let Ctrl-C end a trial: skorch takes it for a training's end."""
        if self.run is not None and self.within_epoch_:
            raise KeyboardInterrupt


def _results(row: Any) -> dict[str, float]:
    """The losses and scores in a row of a net's history: neither flags, nor counts, nor times, which differ from run to run."""
    numbers = {name: value for name, value in row.items() if isinstance(value, Real) and not isinstance(value, bool)}
    return {
        name: float(value)
        for name, value in numbers.items()
        if name not in NOT_RESULTS and not name.endswith("_batch_count")
    }
