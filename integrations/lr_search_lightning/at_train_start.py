"""A callback that does something where a fit is set up, in the place of its training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lr_search.errors import WorkloadError
from lr_search_lightning.lightning_names import Callback, home_of, lightning_object


class AtTrainStart(Callback):  # type: ignore[misc]  # of whichever package is installed
    """Calls a function before the fit's first step, and ends the fit.

    Args:
        function: (trainer) -> anything.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._found: list[Any] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The fit is set up."""
        self._found.append(self._function(trainer))
        home = home_of(trainer, "trainer", "Trainer")
        raise lightning_object(
            home, "utilities.exceptions", "_TunerExitException"
        )  # as Lightning's own tuner leaves a fit

    @property
    def found(self) -> Any:
        """What the function returned. Raises: WorkloadError: the fit was never so far."""
        if not self._found:
            raise WorkloadError("The fit must have training batches and steps, but it ended before its first one.")
        return self._found[0]
