"""What is said of trials where nobody looks at a terminal: lines of the logger `lr_search`."""

from __future__ import annotations

from collections.abc import Callable

from lr_search.executors.display.logger import LOGGER
from lr_search.executors.display.tally import Tally

STATUS_SECONDS = 60  # between status lines


class ProgressLog:
    """A line for each study that is complete, and a line on all of them at most once a minute.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()

    def completed(self, study: Tally) -> None:
        """Say what came of a study."""
        LOGGER.info(study.result())

    def stand(self, text: Callable[[], str]) -> None:
        """Say how far all have come, where the last such line is a minute old."""
        now = self._clock()
        if now - self._last >= STATUS_SECONDS:
            self._last = now
            LOGGER.info(text())
