"""A function that reports, turned into one that is asked for its reports."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from lr_search.training.evaluation import Evaluation

_CLOSING_SECONDS = 10.0  # for a function to let Stop pass


class FunctionThread:
    """It runs in a thread of its own, and waits at each report.

    Args:
        train: is given the function to report to; runs in the thread.
    """

    def __init__(self, train: Callable[[Callable[[Evaluation], bool]], None]) -> None:
        self._train = train
        self._reports: SimpleQueue[Evaluation | None] = SimpleQueue()
        self._verdicts: SimpleQueue[bool] = SimpleQueue()
        self._error: BaseException | None = None
        self._waits = False
        self._thread = threading.Thread(target=self._run, name="lr_search training function", daemon=True)

    def _run(self) -> None:
        try:
            self._train(self._report)
        except BaseException as error:
            self._error = error
        self._reports.put(None)

    def _report(self, evaluation: Evaluation) -> bool:
        self._reports.put(evaluation)
        return self._verdicts.get()

    def next(self) -> Evaluation | None:
        """Let it go on to its next report. Returns: that; None where it has ended. Raises: what the function raised."""
        if self._thread.ident is None:
            self._thread.start()
        elif self._waits:
            self._verdicts.put(False)
        evaluation = self._reports.get()
        self._waits = evaluation is not None
        if evaluation is None and self._error is not None:
            raise self._error
        return evaluation

    def close(self) -> None:
        """End the function where it waits, as pruned."""
        if self._waits:
            self._verdicts.put(True)
            self._waits = False
        if self._thread.ident is not None:
            self._thread.join(_CLOSING_SECONDS)
