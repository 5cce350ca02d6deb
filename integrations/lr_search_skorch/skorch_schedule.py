"""A schedule within a net's training, of the user's choice or that of a trial."""

from __future__ import annotations

from numbers import Real
from typing import Any

from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.optimizers.param_groups import group_ratios, groups, set_lr, set_momentum
from lr_search.rng import preserved_rng
from lr_search.schedules import base, by_name
from lr_search.state.capture import device_of
from lr_search_skorch.skorch_net import modules_of, optimizers_of, require_skorch, training_batches

require_skorch()

from skorch.callbacks import Callback  # noqa: E402

NOT_RESULTS = ("epoch", "dur")  # of the numbers in a row of a net's history


@checked
class Schedule(Callback):  # type: ignore[misc]
    """Sets the LR of a net before each batch by a schedule, laid out for all its epochs.

    Args:
        schedule: a name ("cosine", ...), whose peak is the LR of the net's optimizer; or a schedule of `lr_search.schedules`.
        run: in its place, a trial's run: its schedule is followed, its steps are counted, and after each epoch the numbers in
            the net's history (valid_loss, valid_acc, ...) are reported; scoring callbacks must come before this one.
    """

    def __init__(self, schedule: str | base.Schedule | None = None, *, run: Any = None) -> None:
        require((schedule is None) != (run is None), "Schedule needs a schedule or a run, and not both", schedule=schedule)
        self.schedule, self.run = schedule, run
